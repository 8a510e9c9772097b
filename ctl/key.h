/* ctl/key.h - keys as they are written on a command line; shared by cmd_key.c and cmd_keys.c. */
#ifndef KEY_H
#define KEY_H

#include "ctl/ctl.h"

/* Appends the bytes of a key; may_be_empty for a prefix. CTL_GO_ON, or an exit code after saying why. */
int key_parse(const char *command, const char *text, bool encoded, bool may_be_empty, struct rk_buf *ret);
/* For people: escaped as output_escape() does, or percent-encoded. Heap. */
char *key_text(struct rk_slice key, bool encoded);

#endif

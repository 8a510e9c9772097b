/* lib/mvcc/mvcc_command.h - decoding commands, encoding answers. Private to lib/mvcc. */
#ifndef MVCC_COMMAND_H
#define MVCC_COMMAND_H

#include "lib/mvcc/mvcc.h"

enum mvcc_command_class { /* numbers are in the log: never reuse one */
                          MVCC_CLASS_WRITE = 1,
                          MVCC_CLASS_NUMBERED_WRITE = 2,
                          MVCC_CLASS_SESSION = 3,
};

struct mvcc_command {
    struct mvcc_origin origin;
    enum mvcc_command_class class;
    struct mvcc_number number;       /* NUMBERED_WRITE; SESSION: the session */
    enum mvcc_session_change change; /* SESSION */
    uint32_t ms;
    uint32_t fingerprint;               /* of count and ops: tells whether two commands ask for the same */
    uint32_t count;                     /* 0 for SESSION */
    struct mvcc_op ops[RK_TXN_OPS_MAX]; /* views into the payload */
};

/* Takes what mvcc_command_encode() made, of any operations; whether they are good is for
 * mvcc_command_check(). 0 or -EBADMSG. */
int mvcc_command_decode(struct rk_slice payload, struct mvcc_command *ret) RK_MUST_CHECK;
void mvcc_answer_encode(const struct mvcc_answer *answer, struct rk_buf *ret);

#endif

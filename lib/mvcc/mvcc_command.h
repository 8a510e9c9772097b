/* lib/mvcc/mvcc_command.h - decoding commands, encoding answers. Private to lib/mvcc. */
#ifndef MVCC_COMMAND_H
#define MVCC_COMMAND_H

#include "lib/mvcc/mvcc.h"

struct mvcc_command {
    struct mvcc_origin origin;
    uint32_t count;
    struct mvcc_op ops[RK_TXN_OPS_MAX]; /* views into the payload */
};

/* Takes what mvcc_command_encode() made, of any operations; whether they are good is for
 * mvcc_command_check(). 0 or -EBADMSG. */
int mvcc_command_decode(struct rk_slice payload, struct mvcc_command *ret) RK_MUST_CHECK;
void mvcc_answer_encode(const struct mvcc_answer *answer, struct rk_buf *ret);

#endif

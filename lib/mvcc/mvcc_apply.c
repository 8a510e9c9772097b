/* lib/mvcc/mvcc_apply.c - entries of the log become rows.
 *
 * Applying is a pure function of the entries: what it reads are the rows that
 * earlier entries made, so that every member that has applied the same entries
 * has the same rows, byte for byte, however the entries were batched into
 * transactions. The meta rows are written once per transaction, since a batch is
 * seen whole or not at all. A command that was applied before is not applied again:
 * mvcc_once.h. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_command.h"
#include "lib/mvcc/mvcc_hash.h"
#include "lib/mvcc/mvcc_scan.h"
#include "lib/mvcc/mvcc_state.h"

/* The changes of one command. */
struct change {
    struct mvcc *mvcc;
    uint64_t revision; /* that they make, if there are any */
    uint32_t sub;      /* changes so far */
};

int mvcc_begin(struct mvcc *mvcc)
{
    rk_assert(!mvcc->in_txn);
    rk_assert(!mvcc->install_pending);
    if (mvcc->failed)
        return mvcc->failed;
    int r = store_rows_begin(mvcc->rows);
    if (r != 0)
        return mvcc_fail(mvcc, mvcc_store_error(r));
    mvcc->in_txn = true;
    return 0;
}

int mvcc_commit(struct mvcc *mvcc)
{
    rk_assert(mvcc->in_txn);
    mvcc_cursor_closep(&mvcc->cursor);
    if (mvcc->failed)
        return mvcc->failed;
    int r = mvcc_put_meta(mvcc);
    if (r < 0)
        return mvcc_fail(mvcc, r);
    mvcc->in_txn = false; /* a commit that fails has ended the transaction too */
    r = store_rows_commit(mvcc->rows);
    return r == 0 ? 0 : mvcc_fail(mvcc, mvcc_store_error(r));
}

/* One cursor serves a whole transaction: opening one costs about as much as a seek. */
static int need_cursor(struct mvcc *mvcc)
{
    if (mvcc->cursor)
        return 0;
    int r = store_cursor_open(mvcc->rows, &mvcc->cursor);
    return r == 0 ? 0 : mvcc_store_error(r);
}

/* The newest version of a key; a tombstone when there is none. The views in it are good until the cursor
 * moves. */
static int get_newest(struct mvcc *mvcc, struct rk_slice key, struct mvcc_row *ret)
{
    mvcc_row_versions(&mvcc->row_key, mvcc->group, key);
    int r = store_cursor_seek(mvcc->cursor, rk_buf_slice(&mvcc->row_key));
    *ret = (struct mvcc_row){.tombstone = true};
    if (r == STORE_E_END)
        return 0;
    if (r != 0)
        return mvcc_store_error(r);
    struct rk_slice row_key = store_cursor_key(mvcc->cursor);
    if (!rk_slice_has_prefix(row_key, rk_buf_slice(&mvcc->row_key)))
        return 0;
    return mvcc_row_decode_value(row_key, store_cursor_value(mvcc->cursor), ret);
}

static int put_change(struct change *change, struct mvcc_row *row)
{
    row->revision = change->revision;
    row->sub = change->sub;
    int r = mvcc_put_row(change->mvcc, row);
    if (r < 0)
        return r;
    change->mvcc->applied.hash += mvcc_hash_row(row);
    change->sub++;
    return 0;
}

static int apply_put(struct change *change, const struct mvcc_op *op)
{
    struct mvcc_row old;
    int r = get_newest(change->mvcc, op->key, &old);
    if (r < 0)
        return r;
    rk_assert(old.revision <
              change->revision); /* one change per key and revision, and no version from later on */
    struct mvcc_row row = {.key = op->key, .value = op->value, .lease = op->lease};
    row.create_revision = old.tombstone ? change->revision : old.create_revision;
    row.version = old.version + 1;
    r = put_change(change, &row);
    if (r < 0)
        return r;
    change->mvcc->applied.keys += old.tombstone;
    return 0;
}

/* Where the scan stands. */
static int delete_here(struct change *change, const struct mvcc_scan *scan, struct rk_buf *key_buf,
                       uint64_t *deleted)
{
    struct mvcc_row old;
    int r = mvcc_row_decode(store_cursor_key(scan->cursor), store_cursor_value(scan->cursor), key_buf, &old);
    if (r < 0 || old.tombstone)
        return r;
    rk_assert(old.revision < change->revision);
    struct mvcc_row row = {.key = old.key, .tombstone = true};
    r = put_change(change, &row);
    if (r < 0)
        return r;
    if (change->mvcc->applied.keys == 0)
        return -EBADMSG; /* more live keys than were counted */
    change->mvcc->applied.keys--;
    ++*deleted;
    return 0;
}

static int apply_delete(struct change *change, const struct mvcc_op *op, uint64_t *ret_deleted)
{
    RK_CLEANUP(mvcc_scan_deinit) struct mvcc_scan scan;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key_buf = {0};
    struct mvcc *mvcc = change->mvcc;
    mvcc_scan_init(&scan, mvcc->cursor, mvcc->group, op->key, op->end, MVCC_REVISION_NEWEST, true);
    uint64_t deleted = 0;
    int r;
    while ((r = mvcc_scan_next(&scan)) > 0) {
        r = delete_here(change, &scan, &key_buf, &deleted);
        if (r < 0)
            break;
    }
    if (r < 0)
        return r;
    *ret_deleted = deleted;
    return 0;
}

static int apply_ops(struct mvcc *mvcc, const struct mvcc_command *command, struct mvcc_answer *answer)
{
    struct change change = {.mvcc = mvcc, .revision = mvcc->applied.revision + 1};
    int r = need_cursor(mvcc);
    for (uint32_t i = 0; i < command->count && r == 0; i++) {
        answer->deleted[i] = 0;
        if (command->ops[i].kind == MVCC_OP_PUT)
            r = apply_put(&change, &command->ops[i]);
        else
            r = apply_delete(&change, &command->ops[i], &answer->deleted[i]);
    }
    if (r < 0)
        return r;
    answer->op_count = command->count;
    if (change.sub > 0)
        mvcc->applied.revision = change.revision;
    return 0;
}

/* The contract of all entries: in order, none twice, none left out. */
static void check_position(const struct mvcc *mvcc, uint64_t index, uint64_t term)
{
    rk_assert(mvcc->in_txn);
    rk_assert(index == mvcc->applied.index + 1);
    rk_assert(term >= mvcc->applied.term);
}

static void set_position(struct mvcc *mvcc, uint64_t index, uint64_t term)
{
    mvcc->applied.index = index;
    mvcc->applied.term = term;
    mvcc->applied_dirty = true;
}

static int carry_out(struct mvcc *mvcc, uint64_t index, const struct mvcc_command *command,
                     struct mvcc_answer *answer)
{
    int r = 0;
    if (command->class == MVCC_CLASS_SESSION)
        mvcc_session_change(&mvcc->once, index, command);
    else
        r = apply_ops(mvcc, command, answer);
    if (r < 0)
        return r;
    answer->revision = mvcc->applied.revision;
    mvcc_once_done(&mvcc->once, index, command, answer);
    return 0;
}

int mvcc_apply_command(struct mvcc *mvcc, uint64_t index, uint64_t term, struct rk_slice payload,
                       struct rk_buf *ret_answer)
{
    check_position(mvcc, index, term);
    if (mvcc->failed)
        return mvcc->failed;
    struct mvcc_command command;
    struct mvcc_answer answer;
    answer.op_count = 0;
    answer.revision = 0;
    if (mvcc_command_decode(payload, &command) < 0)
        answer.outcome = MVCC_E_MALFORMED;
    else
        answer.outcome =
            command.class == MVCC_CLASS_SESSION ? MVCC_OK : mvcc_command_check(command.ops, command.count);
    if (answer.outcome == MVCC_OK && mvcc_once_admit(&mvcc->once, index, &command, &answer)) {
        int r = carry_out(mvcc, index, &command, &answer);
        if (r < 0)
            return mvcc_fail(mvcc, r);
    }
    set_position(mvcc, index, term);
    if (answer.outcome != MVCC_OK)
        answer.revision = mvcc->applied.revision;
    mvcc_answer_encode(&answer, ret_answer);
    return 0;
}

int mvcc_apply_noop(struct mvcc *mvcc, uint64_t index, uint64_t term)
{
    check_position(mvcc, index, term);
    if (mvcc->failed)
        return mvcc->failed;
    set_position(mvcc, index, term);
    return 0;
}

int mvcc_apply_members(struct mvcc *mvcc, uint64_t index, uint64_t term, struct rk_slice members)
{
    check_position(mvcc, index, term);
    if (mvcc->failed)
        return mvcc->failed;
    set_position(mvcc, index, term);
    mvcc_set_members(mvcc, index, members);
    return 0;
}

int mvcc_bootstrap(struct mvcc *mvcc, uint64_t index, uint64_t term, struct rk_slice members)
{
    rk_assert(mvcc->applied.index == 0 && mvcc->applied.keys == 0);
    int r = mvcc_begin(mvcc);
    if (r < 0)
        return r;
    set_position(mvcc, index, term);
    mvcc_set_members(mvcc, index, members);
    return mvcc_commit(mvcc);
}

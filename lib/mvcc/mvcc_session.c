/* lib/mvcc/mvcc_session.c - client sessions: a client that got no answer asks again, and gets the first one.
 *
 * A client opens a session and numbers its writes from 1 up. The session keeps the
 * answers of the last RK_SESSION_WINDOW numbers:
 *
 *   a number above the highest       is carried out, and is the highest now
 *   in the window, answered          gets that answer again; nothing is done
 *   in the window, never seen        is carried out (a client may have several under way)
 *   below the window                 is refused
 *   answered, but for another write  is refused: the client has mixed up its numbers
 *
 * Sessions end by request, when nobody has used them for their time to live, and when
 * there are RK_SESSIONS_MAX and one more is opened: then the one that was used last
 * farthest back in the log goes. Time is that of TICK entries, which the leader
 * proposes; all members see it pass alike. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_once.h"

static struct mvcc_session *find(const struct mvcc_once *once, uint64_t id)
{
    return rk_map_get(&once->sessions, id);
}

static void repeat(const struct mvcc_session_answer *known, struct mvcc_answer *answer)
{
    struct rk_reader r = rk_reader(rk_blob_slice(known->deleted));
    answer->outcome = MVCC_OK;
    answer->revision = known->revision;
    answer->op_count = known->op_count;
    for (uint32_t i = 0; i < known->op_count; i++)
        answer->deleted[i] = rk_reader_left(&r) > 0 ? rk_get_u64(&r) : 0;
}

enum mvcc_command_outcome mvcc_session_check(const struct mvcc_once *once, const struct mvcc_command *command,
                                             struct mvcc_answer *answer, bool *ret_known)
{
    const struct mvcc_session *session = find(once, command->number.session);
    uint64_t sequence = command->number.sequence;
    *ret_known = false;
    if (!session)
        return MVCC_E_NO_SESSION;
    if (session->highest >= RK_SESSION_WINDOW && sequence <= session->highest - RK_SESSION_WINDOW)
        return MVCC_E_SEQUENCE_OLD;
    const struct mvcc_session_answer *known = &session->answers[sequence % RK_SESSION_WINDOW];
    if (known->sequence != sequence)
        return MVCC_OK;
    if (known->fingerprint != command->fingerprint)
        return MVCC_E_SEQUENCE_REUSED;
    *ret_known = true;
    repeat(known, answer);
    return MVCC_OK;
}

static void touch(struct mvcc_once *once, struct mvcc_session *session, uint64_t index)
{
    session->last_index = index;
    session->deadline_ms = once->clock_ms + session->ttl_ms;
    if (rk_list_empty(&session->link))
        rk_list_push_back(&once->dirty_sessions, &session->link);
}

static struct rk_blob *pack_deleted(const struct mvcc_answer *answer)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    uint32_t count = answer->op_count;
    while (count > 0 && answer->deleted[count - 1] == 0)
        count--;
    for (uint32_t i = 0; i < count; i++)
        rk_put_u64(&buf, answer->deleted[i]);
    return count > 0 ? rk_blob_copy(rk_buf_slice(&buf)) : NULL;
}

void mvcc_session_touch(struct mvcc_once *once, uint64_t index, uint64_t id)
{
    touch(once, find(once, id), index);
}

void mvcc_session_take(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                       const struct mvcc_answer *answer)
{
    struct mvcc_session *session = find(once, command->number.session);
    uint64_t sequence = command->number.sequence;
    struct mvcc_session_answer *slot = &session->answers[sequence % RK_SESSION_WINDOW];
    touch(once, session, index);
    rk_blob_unref(slot->deleted);
    *slot = (struct mvcc_session_answer){
        .sequence = sequence,
        .fingerprint = command->fingerprint,
        .revision = answer->revision,
        .op_count = answer->op_count,
        .deleted = pack_deleted(answer),
    };
    session->highest = rk_max_u64(session->highest, sequence);
}

/* ---- coming and going ------------------------------------------------------------------ */

static void end(struct mvcc_once *once, struct mvcc_session *session)
{
    rk_map_remove(&once->sessions, session->id);
    rk_list_remove(&session->link);
    rk_list_push_back(&once->gone_sessions, &session->link);
}

static void end_least_recently_used(struct mvcc_once *once)
{
    struct mvcc_session *oldest = NULL;
    struct rk_map_slot *slot;
    size_t cursor = 0;
    while ((slot = rk_map_next(&once->sessions, &cursor))) {
        struct mvcc_session *session = slot->value;
        if (!oldest || session->last_index < oldest->last_index)
            oldest = session;
    }
    end(once, oldest);
}

static void open_session(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command)
{
    struct mvcc_session *session = RK_NEW(struct mvcc_session);
    if (once->sessions.count >= RK_SESSIONS_MAX)
        end_least_recently_used(once);
    session->id = command->number.session;
    session->ttl_ms = command->ms;
    rk_list_init(&session->link);
    rk_map_put(&once->sessions, session->id, session);
    touch(once, session, index);
}

/* The map must not change while it is walked. Rows are deleted in an order of no importance. */
static void tick(struct mvcc_once *once, uint32_t ms)
{
    struct mvcc_session *late[RK_SESSIONS_MAX];
    size_t count = 0, cursor = 0;
    struct rk_map_slot *slot;
    once->clock_ms += ms;
    once->clock_dirty = true;
    while ((slot = rk_map_next(&once->sessions, &cursor))) {
        struct mvcc_session *session = slot->value;
        if (session->deadline_ms <= once->clock_ms)
            late[count++] = session;
    }
    for (size_t i = 0; i < count; i++)
        end(once, late[i]);
}

enum mvcc_command_outcome mvcc_session_change_check(const struct mvcc_once *once,
                                                    const struct mvcc_command *command)
{
    bool there = find(once, command->number.session);
    if (command->change == MVCC_SESSION_OPEN && there)
        return MVCC_E_APPLIED_BEFORE;
    return command->change == MVCC_SESSION_END && !there ? MVCC_E_NO_SESSION : MVCC_OK;
}

void mvcc_session_change(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command)
{
    if (command->change == MVCC_SESSION_TICK)
        tick(once, command->ms);
    else if (command->change == MVCC_SESSION_OPEN)
        open_session(once, index, command);
    else
        end(once, find(once, command->number.session));
}

void mvcc_session_free(struct mvcc_session *session)
{
    for (size_t i = 0; i < RK_SESSION_WINDOW; i++)
        rk_blob_unref(session->answers[i].deleted);
    free(session);
}

/* ---- bytes ------------------------------------------------------------------------------- */

static void put_answer(struct rk_buf *out, const struct mvcc_session_answer *answer)
{
    rk_put_u64(out, answer->sequence);
    if (answer->sequence == 0)
        return;
    rk_put_u32(out, answer->fingerprint);
    rk_put_u64(out, answer->revision);
    rk_put_u32(out, answer->op_count);
    rk_put_block(out, rk_blob_slice(answer->deleted));
}

void mvcc_session_put(struct rk_buf *out, const struct mvcc_session *session)
{
    rk_put_u64(out, session->id);
    rk_put_u32(out, session->ttl_ms);
    rk_put_u64(out, session->deadline_ms);
    rk_put_u64(out, session->last_index);
    rk_put_u64(out, session->highest);
    for (size_t i = 0; i < RK_SESSION_WINDOW; i++)
        put_answer(out, &session->answers[i]);
}

/* An answer at place i of a session whose highest number is known. */
static void get_answer(struct rk_reader *r, size_t i, uint64_t highest, struct mvcc_session_answer *ret)
{
    struct rk_slice deleted;
    ret->sequence = rk_get_u64(r);
    if (ret->sequence == 0)
        return;
    ret->fingerprint = rk_get_u32(r);
    ret->revision = rk_get_u64(r);
    ret->op_count = rk_get_u32(r);
    deleted = rk_get_block(r, 8 * RK_TXN_OPS_MAX);
    bool in_window = ret->sequence <= highest && highest - ret->sequence < RK_SESSION_WINDOW;
    if (ret->sequence % RK_SESSION_WINDOW != i || !in_window || ret->revision == 0 || deleted.len % 8 != 0 ||
        ret->op_count > RK_TXN_OPS_MAX || deleted.len / 8 > ret->op_count)
        rk_reader_fail(r);
    else if (deleted.len > 0)
        ret->deleted = rk_blob_copy(deleted);
}

int mvcc_session_get(struct rk_reader *r, struct mvcc_session **ret)
{
    struct mvcc_session *session = RK_NEW(struct mvcc_session);
    session->id = rk_get_u64(r);
    session->ttl_ms = rk_get_u32(r);
    session->deadline_ms = rk_get_u64(r);
    session->last_index = rk_get_u64(r);
    session->highest = rk_get_u64(r);
    rk_list_init(&session->link);
    for (size_t i = 0; i < RK_SESSION_WINDOW && rk_reader_ok(r); i++)
        get_answer(r, i, session->highest, &session->answers[i]);
    bool has_highest = session->highest == 0 ||
                       session->answers[session->highest % RK_SESSION_WINDOW].sequence == session->highest;
    if (!rk_reader_ok(r) || session->last_index == 0 || !has_highest ||
        session->ttl_ms < RK_SESSION_TTL_MS_MIN || session->ttl_ms > RK_SESSION_TTL_MS_MAX) {
        mvcc_session_free(session);
        return -EBADMSG;
    }
    *ret = session;
    return 0;
}

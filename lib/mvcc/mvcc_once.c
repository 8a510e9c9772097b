/* lib/mvcc/mvcc_once.c - the two tables together: asked before a command is applied, kept in rows, carried in
 * snapshots. */
#include "lib/mvcc/mvcc_once.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_state.h"
#include "lib/mvcc/mvcc_stream.h"

/* ---- life ------------------------------------------------------------------------------ */

void mvcc_once_init(struct mvcc_once *once)
{
    *once = (struct mvcc_once){0};
    rk_list_init(&once->dirty_origins);
    rk_list_init(&once->dirty_sessions);
    rk_list_init(&once->gone_origins);
    rk_list_init(&once->gone_sessions);
}

static void free_gone(struct mvcc_once *once)
{
    struct rk_list *it;
    while ((it = rk_list_pop_front(&once->gone_origins)))
        free(RK_LIST_ITEM(it, struct mvcc_origin_state, link));
    while ((it = rk_list_pop_front(&once->gone_sessions)))
        mvcc_session_free(RK_LIST_ITEM(it, struct mvcc_session, link));
}

void mvcc_once_deinit(struct mvcc_once *once)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;
    free_gone(once);
    while ((slot = rk_map_next(&once->origins, &cursor)))
        free(slot->value);
    cursor = 0;
    while ((slot = rk_map_next(&once->sessions, &cursor)))
        mvcc_session_free(slot->value);
    rk_map_deinit(&once->origins);
    rk_map_deinit(&once->sessions);
}

/* ---- apply ------------------------------------------------------------------------------- */

/* Its session answers a numbered write that was answered before; everything else is known by its origin. */
static bool answered_before(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                            struct mvcc_answer *answer)
{
    bool known = false;
    if (command->class == MVCC_CLASS_NUMBERED_WRITE)
        answer->outcome = mvcc_session_check(once, command, answer, &known);
    else if (command->class == MVCC_CLASS_SESSION)
        answer->outcome = mvcc_session_change_check(once, command);
    if (RK_PLANT(DEDUP_BY_SESSION_SKIPPED))
        known = false;
    if (known)
        mvcc_session_touch(once, index, command->number.session);
    return known || answer->outcome != MVCC_OK;
}

bool mvcc_once_admit(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                     struct mvcc_answer *answer)
{
    if (answered_before(once, index, command, answer))
        return false;
    switch (RK_PLANT(DEDUP_BY_ORIGIN_SKIPPED) ? MVCC_DEDUP_NEW : mvcc_dedup_check(once, &command->origin)) {
    case MVCC_DEDUP_SEEN:
        answer->outcome = MVCC_E_APPLIED_BEFORE;
        return false;
    case MVCC_DEDUP_OLD:
        answer->outcome = MVCC_E_TOO_OLD;
        return false;
    case MVCC_DEDUP_NEW:
        break;
    }
    return true;
}

void mvcc_once_done(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                    const struct mvcc_answer *answer)
{
    mvcc_dedup_take(once, index, &command->origin);
    if (command->class == MVCC_CLASS_NUMBERED_WRITE)
        mvcc_session_take(once, index, command, answer);
}

/* ---- rows --------------------------------------------------------------------------------- */

static int put_row(struct mvcc *mvcc)
{
    int r = store_rows_put(mvcc->rows, rk_buf_slice(&mvcc->row_key), rk_buf_slice(&mvcc->row_value));
    return r == 0 ? 0 : mvcc_store_error(r);
}

/* A row that came and went between two commits was never written. */
static int del_row(struct mvcc *mvcc, enum mvcc_table table, uint64_t id)
{
    mvcc_once_key(&mvcc->row_key, mvcc->group, table, id);
    int r = store_rows_del(mvcc->rows, rk_buf_slice(&mvcc->row_key));
    return r == 0 || r == STORE_E_NOT_FOUND ? 0 : mvcc_store_error(r);
}

static int del_gone(struct mvcc *mvcc)
{
    int r = 0;
    RK_LIST_FOR_EACH (it, &mvcc->once.gone_origins)
        if (r == 0)
            r = del_row(mvcc, MVCC_TABLE_ORIGINS, RK_LIST_ITEM(it, struct mvcc_origin_state, link)->member);
    RK_LIST_FOR_EACH (it, &mvcc->once.gone_sessions)
        if (r == 0)
            r = del_row(mvcc, MVCC_TABLE_SESSIONS, RK_LIST_ITEM(it, struct mvcc_session, link)->id);
    free_gone(&mvcc->once);
    return r;
}

static int put_origin(struct mvcc *mvcc, const struct mvcc_origin_state *origin)
{
    if (origin->hot)
        return del_row(mvcc, MVCC_TABLE_ORIGINS, origin->member);
    mvcc_once_key(&mvcc->row_key, mvcc->group, MVCC_TABLE_ORIGINS, origin->member);
    mvcc_once_value(&mvcc->row_value);
    mvcc_dedup_put(&mvcc->row_value, origin);
    return put_row(mvcc);
}

static int put_origins(struct mvcc *mvcc)
{
    struct rk_list *it;
    int r = 0;
    while (r == 0 && (it = rk_list_pop_front(&mvcc->once.dirty_origins)))
        r = put_origin(mvcc, RK_LIST_ITEM(it, struct mvcc_origin_state, link));
    return r;
}

static int put_sessions(struct mvcc *mvcc)
{
    struct rk_list *it;
    int r = 0;
    while (r == 0 && (it = rk_list_pop_front(&mvcc->once.dirty_sessions))) {
        const struct mvcc_session *session = RK_LIST_ITEM(it, struct mvcc_session, link);
        mvcc_once_key(&mvcc->row_key, mvcc->group, MVCC_TABLE_SESSIONS, session->id);
        mvcc_once_value(&mvcc->row_value);
        mvcc_session_put(&mvcc->row_value, session);
        r = put_row(mvcc);
    }
    return r;
}

static int put_clock(struct mvcc *mvcc)
{
    if (!mvcc->once.clock_dirty)
        return 0;
    mvcc->once.clock_dirty = false;
    mvcc_meta_key(&mvcc->row_key, mvcc->group, MVCC_META_CLOCK);
    mvcc_once_value(&mvcc->row_value);
    rk_put_u64(&mvcc->row_value, mvcc->once.clock_ms);
    return put_row(mvcc);
}

int mvcc_once_put(struct mvcc *mvcc)
{
    int r = del_gone(mvcc); /* before the puts: an id may have come back */
    if (r == 0)
        r = put_origins(mvcc);
    if (r == 0)
        r = put_sessions(mvcc);
    return r == 0 ? put_clock(mvcc) : r;
}

/* ---- records --------------------------------------------------------------------------------- */

/* Whether it is of the state that it came with. */
static bool session_fits(const struct mvcc_session *session, uint64_t clock_ms, uint64_t index,
                         uint64_t revision)
{
    for (size_t i = 0; i < RK_SESSION_WINDOW; i++)
        if (session->answers[i].revision > revision)
            return false;
    return session->last_index <= index && session->deadline_ms > clock_ms &&
           session->deadline_ms - clock_ms <= session->ttl_ms;
}

static int take_origin(struct rk_reader *r, uint64_t index, struct mvcc_once *into)
{
    struct mvcc_origin_state *origin;
    if (mvcc_dedup_get(r, &origin) < 0)
        return -EBADMSG;
    if (origin->last_index > index || (into && !mvcc_dedup_add(into, origin))) {
        free(origin);
        return -EBADMSG;
    }
    if (into)
        rk_list_push_back(&into->dirty_origins, &origin->link);
    else
        free(origin);
    return 0;
}

static int take_session(struct rk_reader *r, uint64_t clock_ms, uint64_t index, uint64_t revision,
                        struct mvcc_once *into)
{
    struct mvcc_session *session;
    if (mvcc_session_get(r, &session) < 0)
        return -EBADMSG;
    bool good = session_fits(session, clock_ms, index, revision);
    if (!good || !into) {
        mvcc_session_free(session);
        return good ? 0 : -EBADMSG;
    }
    rk_assert(!rk_map_put(&into->sessions, session->id, session));
    rk_list_push_back(&into->dirty_sessions, &session->link);
    return 0;
}

static int take_clock(struct rk_reader *r, struct mvcc_once_seen *seen, struct mvcc_once *into)
{
    seen->clock_ms = rk_get_u64(r);
    if (!rk_reader_ok(r) || seen->clock_ms == 0)
        return -EBADMSG;
    if (into) {
        into->clock_ms = seen->clock_ms;
        into->clock_dirty = true;
    }
    return 0;
}

/* Both begin with their id. Ids ascend, so none comes twice. */
static int take_id(struct rk_reader *r, struct mvcc_once_seen *seen, uint32_t max)
{
    if (rk_reader_left(r) < 8)
        return -EBADMSG;
    uint64_t id = rk_load_u64(r->pos);
    if ((seen->count > 0 && id <= seen->id) || seen->count >= max)
        return -EBADMSG;
    seen->id = id;
    seen->count++;
    return 0;
}

int mvcc_once_take_record(struct rk_reader *r, struct mvcc_once_seen *seen, uint64_t index, uint64_t revision,
                          struct mvcc_once *into)
{
    enum mvcc_once_kind kind = (enum mvcc_once_kind)rk_get_u8(r);
    if (kind < seen->kind || (kind == MVCC_ONCE_CLOCK && seen->kind == kind))
        return -EBADMSG;
    if (kind != seen->kind)
        seen->count = 0;
    seen->kind = kind;
    switch (kind) {
    case MVCC_ONCE_CLOCK:
        return take_clock(r, seen, into);
    case MVCC_ONCE_ORIGIN:
        return take_id(r, seen, RK_ORIGINS_MAX) < 0 ? -EBADMSG : take_origin(r, index, into);
    case MVCC_ONCE_SESSION:
        return take_id(r, seen, RK_SESSIONS_MAX) < 0 ? -EBADMSG
                                                     : take_session(r, seen->clock_ms, index, revision, into);
    }
    return -EBADMSG;
}

/* ---- hot origins ------------------------------------------------------------------------------ */

static struct mvcc_origin_state *latest_cold(const struct mvcc_once *once)
{
    struct mvcc_origin_state *latest = NULL;
    struct rk_map_slot *slot;
    size_t cursor = 0;
    while ((slot = rk_map_next(&once->origins, &cursor))) {
        struct mvcc_origin_state *origin = slot->value;
        if (!origin->hot && (!latest || origin->last_index > latest->last_index))
            latest = origin;
    }
    return latest;
}

/* Which origins are hot follows from when they proposed, so nothing else has to say it. */
void mvcc_once_heat(struct mvcc_once *once)
{
    struct mvcc_origin_state *hot[MVCC_ONCE_HOT];
    uint32_t count = 0;
    while (count < MVCC_ONCE_HOT && (hot[count] = latest_cold(once)))
        hot[count++]->hot = true;
    for (uint32_t i = 0; i < count; i++)
        once->hot[i] = hot[i];
    once->hot_count = count;
}

/* In an order that changes rarely: what is equal to the row before is not logged again. */
void mvcc_once_put_hot(const struct mvcc_once *once, struct rk_buf *out)
{
    const struct mvcc_origin_state *sorted[MVCC_ONCE_HOT];
    for (uint32_t i = 0; i < once->hot_count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1]->member > once->hot[i]->member; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = once->hot[i];
    }
    for (uint32_t i = 0; i < once->hot_count; i++)
        mvcc_dedup_put(out, sorted[i]);
}

int mvcc_once_get_hot(struct mvcc_once *once, uint64_t index, struct rk_slice bytes)
{
    struct rk_reader r = rk_reader(bytes);
    while (rk_reader_left(&r) > 0)
        if (once->origins.count >= MVCC_ONCE_HOT || take_origin(&r, index, once) < 0)
            return -EBADMSG;
    return 0;
}

/* ---- at open ------------------------------------------------------------------------------------ */

static int load_row(struct mvcc *mvcc, enum mvcc_table table, struct rk_slice key, struct rk_slice value)
{
    const size_t prefix = 5; /* group and table */
    struct rk_reader r;
    int result = mvcc_once_value_begin(value, &r);
    if (result < 0 || key.len != prefix + 8 || rk_reader_left(&r) < 8 ||
        rk_load_u64(key.data + prefix) != rk_load_u64(r.pos))
        return -EBADMSG;
    if (table == MVCC_TABLE_ORIGINS)
        result = take_origin(&r, mvcc->applied.index, &mvcc->once);
    else
        result =
            take_session(&r, mvcc->once.clock_ms, mvcc->applied.index, mvcc->applied.revision, &mvcc->once);
    return result == 0 && rk_reader_done(&r) ? 0 : -EBADMSG;
}

static int load_table(struct mvcc *mvcc, enum mvcc_table table)
{
    RK_CLEANUP(mvcc_cursor_closep) struct store_cursor *cursor = NULL;
    int r = store_cursor_open(mvcc->rows, &cursor);
    if (r != 0)
        return mvcc_store_error(r);
    mvcc_row_table(&mvcc->row_key, mvcc->group, table);
    r = store_cursor_seek(cursor, rk_buf_slice(&mvcc->row_key));
    while (r == 0 && rk_slice_has_prefix(store_cursor_key(cursor), rk_buf_slice(&mvcc->row_key))) {
        r = load_row(mvcc, table, store_cursor_key(cursor), store_cursor_value(cursor));
        if (r == 0)
            r = store_cursor_next(cursor);
    }
    return r == 0 || r == STORE_E_END ? 0 : mvcc_store_error(r);
}

static int load_clock(struct mvcc *mvcc)
{
    struct rk_reader r;
    mvcc_meta_key(&mvcc->row_key, mvcc->group, MVCC_META_CLOCK);
    int result = store_rows_get(mvcc->rows, rk_buf_slice(&mvcc->row_key), &mvcc->row_value);
    if (result == STORE_E_NOT_FOUND)
        return 0;
    if (result != 0)
        return mvcc_store_error(result);
    if (mvcc_once_value_begin(rk_buf_slice(&mvcc->row_value), &r) < 0)
        return -EBADMSG;
    mvcc->once.clock_ms = rk_get_u64(&r);
    return rk_reader_done(&r) ? 0 : -EBADMSG;
}

/* What was read is what is there: nothing of it has to be written. */
static void all_clean(struct rk_list *dirty)
{
    while (rk_list_pop_front(dirty)) {}
}

int mvcc_once_load(struct mvcc *mvcc)
{
    int r = load_clock(mvcc);
    if (r == 0)
        r = load_table(mvcc, MVCC_TABLE_ORIGINS);
    if (r == 0)
        r = load_table(mvcc, MVCC_TABLE_SESSIONS);
    mvcc_once_heat(&mvcc->once);
    all_clean(&mvcc->once.dirty_origins);
    all_clean(&mvcc->once.dirty_sessions);
    return r;
}

/* ---- out into a stream --------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t sorted_ids(const struct rk_map *map, uint64_t *ids)
{
    struct rk_map_slot *slot;
    size_t cursor = 0, count = 0;
    while ((slot = rk_map_next(map, &cursor)))
        ids[count++] = slot->key;
    qsort(ids, count, sizeof(ids[0]), compare_ids);
    return count;
}

static void close_block(struct rk_buf *records, size_t min_bytes, struct rk_buf *out, uint32_t *crc)
{
    if (records->len < min_bytes)
        return;
    mvcc_stream_put_once(out, rk_buf_slice(records), crc);
    rk_buf_clear(records);
}

void mvcc_once_put_blocks(const struct mvcc_once *once, struct rk_buf *out, uint32_t *crc)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf records = {0};
    uint64_t ids[RK_SESSIONS_MAX > RK_ORIGINS_MAX ? RK_SESSIONS_MAX : RK_ORIGINS_MAX];
    if (once->clock_ms > 0) {
        rk_put_u8(&records, MVCC_ONCE_CLOCK);
        rk_put_u64(&records, once->clock_ms);
    }
    size_t count = sorted_ids(&once->origins, ids);
    for (size_t i = 0; i < count; i++) {
        rk_put_u8(&records, MVCC_ONCE_ORIGIN);
        mvcc_dedup_put(&records, rk_map_get(&once->origins, ids[i]));
    }
    count = sorted_ids(&once->sessions, ids);
    for (size_t i = 0; i < count; i++) {
        rk_put_u8(&records, MVCC_ONCE_SESSION);
        mvcc_session_put(&records, rk_map_get(&once->sessions, ids[i]));
        close_block(&records, RK_SNAPSHOT_CHUNK_BYTES, out, crc);
    }
    close_block(&records, 1, out, crc);
}

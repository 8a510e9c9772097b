/* lib/mvcc/mvcc_dedup.c - a proposal of a member is applied once, however often it is in the log.
 *
 * Every proposal carries its origin: the member that accepted it, the member's
 * incarnation (one more at each start) and a number that goes up by one with each
 * proposal. One that is sent twice, or proposed again, so comes to apply again with
 * the same origin. Proposals of one member may overtake each other, since several
 * threads make them, so the highest number is not enough: a window behind it says
 * which were applied. What is older than the window is refused: nobody can tell, and
 * "perhaps" must not become "twice". A new incarnation ends the old one: whoever
 * waited for the old one's proposals has gone with it.
 *
 * The table is bounded: when RK_ORIGINS_MAX members are known, the one whose last
 * proposal is farthest back in the log gives way. There are fewer members than that
 * at any time, so it has left the cluster, and others have come, many times over. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_once.h"

static uint64_t bit(uint64_t sequence)
{
    return 1ULL << (sequence % 64);
}

static uint64_t *word(struct mvcc_origin_state *origin, uint64_t sequence)
{
    return &origin->seen[sequence % RK_ORIGIN_WINDOW / 64];
}

static bool behind_window(uint64_t highest, uint64_t sequence)
{
    return highest >= RK_ORIGIN_WINDOW && sequence <= highest - RK_ORIGIN_WINDOW;
}

enum mvcc_dedup mvcc_dedup_check(const struct mvcc_once *once, const struct mvcc_origin *origin)
{
    struct mvcc_origin_state *known = rk_map_get(&once->origins, origin->member);
    if (!known || origin->incarnation > known->incarnation)
        return MVCC_DEDUP_NEW;
    if (origin->incarnation < known->incarnation || behind_window(known->highest, origin->sequence))
        return MVCC_DEDUP_OLD;
    if (origin->sequence > known->highest)
        return MVCC_DEDUP_NEW;
    return *word(known, origin->sequence) & bit(origin->sequence) ? MVCC_DEDUP_SEEN : MVCC_DEDUP_NEW;
}

static void forget_oldest(struct mvcc_once *once)
{
    struct mvcc_origin_state *oldest = NULL;
    struct rk_map_slot *slot;
    size_t cursor = 0;
    while ((slot = rk_map_next(&once->origins, &cursor))) {
        struct mvcc_origin_state *origin = slot->value;
        if (!oldest || origin->last_index < oldest->last_index)
            oldest = origin;
    }
    rk_assert(!oldest->hot);
    rk_map_remove(&once->origins, oldest->member);
    rk_list_remove(&oldest->link);
    rk_list_push_back(&once->gone_origins, &oldest->link);
}

static struct mvcc_origin_state *make(struct mvcc_once *once, uint64_t member)
{
    struct mvcc_origin_state *made = RK_NEW(struct mvcc_origin_state);
    if (once->origins.count >= RK_ORIGINS_MAX)
        forget_oldest(once);
    made->member = member;
    memset(made->seen, 0xff, sizeof(made->seen)); /* numbers before 1: there are none to come */
    rk_list_init(&made->link);
    rk_map_put(&once->origins, member, made);
    return made;
}

static void raise_highest(struct mvcc_origin_state *origin, uint64_t sequence)
{
    if (sequence - origin->highest >= RK_ORIGIN_WINDOW)
        memset(origin->seen, 0, sizeof(origin->seen));
    else
        for (uint64_t i = origin->highest + 1; i <= sequence; i++)
            *word(origin, i) &= ~bit(i);
    origin->highest = sequence;
}

static void change_row(struct mvcc_once *once, struct mvcc_origin_state *origin, bool hot)
{
    origin->hot = hot;
    if (rk_list_empty(&origin->link))
        rk_list_push_back(&once->dirty_origins, &origin->link);
}

static void heat(struct mvcc_once *once, struct mvcc_origin_state *origin)
{
    uint32_t at = 0;
    while (at < once->hot_count && once->hot[at] != origin)
        at++;
    if (at == MVCC_ONCE_HOT)
        change_row(once, once->hot[--at], false);
    else if (at == once->hot_count)
        once->hot_count++;
    for (; at > 0; at--)
        once->hot[at] = once->hot[at - 1];
    once->hot[0] = origin;
    if (!origin->hot)
        change_row(once, origin, true);
}

bool mvcc_dedup_add(struct mvcc_once *once, struct mvcc_origin_state *origin)
{
    if (rk_map_get(&once->origins, origin->member))
        return false;
    rk_map_put(&once->origins, origin->member, origin);
    return true;
}

void mvcc_dedup_take(struct mvcc_once *once, uint64_t index, const struct mvcc_origin *origin)
{
    struct mvcc_origin_state *known = rk_map_get(&once->origins, origin->member);
    if (!known)
        known = make(once, origin->member);
    if (origin->incarnation > known->incarnation) {
        memset(known->seen, 0xff, sizeof(known->seen));
        known->highest = 0;
    }
    known->incarnation = origin->incarnation;
    known->last_index = index;
    if (origin->sequence > known->highest)
        raise_highest(known, origin->sequence);
    *word(known, origin->sequence) |= bit(origin->sequence);
    heat(once, known);
}

/* Nearly always all of a word was seen: those are left out. */
void mvcc_dedup_put(struct rk_buf *out, const struct mvcc_origin_state *origin)
{
    uint16_t holes = 0;
    rk_put_u64(out, origin->member);
    rk_put_u64(out, origin->incarnation);
    rk_put_u64(out, origin->highest);
    rk_put_u64(out, origin->last_index);
    for (size_t i = 0; i < RK_ARRAY_LEN(origin->seen); i++)
        if (origin->seen[i] != UINT64_MAX)
            holes |= (uint16_t)(1u << i);
    rk_put_u16(out, holes);
    for (size_t i = 0; i < RK_ARRAY_LEN(origin->seen); i++)
        if (origin->seen[i] != UINT64_MAX)
            rk_put_u64(out, origin->seen[i]);
}

int mvcc_dedup_get(struct rk_reader *r, struct mvcc_origin_state **ret)
{
    struct mvcc_origin_state got = {.member = rk_get_u64(r)};
    got.incarnation = rk_get_u64(r);
    got.highest = rk_get_u64(r);
    got.last_index = rk_get_u64(r);
    uint16_t holes = rk_get_u16(r);
    for (size_t i = 0; i < RK_ARRAY_LEN(got.seen); i++) {
        bool hole = holes & 1u << i;
        got.seen[i] = hole ? rk_get_u64(r) : UINT64_MAX;
        if (hole && got.seen[i] == UINT64_MAX)
            return -EBADMSG;
    }
    if (!rk_reader_ok(r) || got.last_index == 0 || !(*word(&got, got.highest) & bit(got.highest)))
        return -EBADMSG;
    struct mvcc_origin_state *made = RK_NEW(struct mvcc_origin_state);
    *made = got;
    rk_list_init(&made->link);
    *ret = made;
    return 0;
}

_Static_assert(RK_ORIGIN_WINDOW / 64 <= 16, "a bit for each word");

/* lib/base/rk_map.c - hash map from a 64-bit key to a pointer.
 *
 * Linear probing with at most three quarters of the slots in use. A removal
 * moves the followers of its run back, so there are no tombstones and a map that
 * churns for years stays as fast as a new one. The order of a walk depends on
 * the keys and their history only, never on addresses or chance. */
#include "lib/base/rk_map.h"

#include "lib/base/rk_assert.h"

#define CAP_MIN 16u

/* Neighbouring ids must not be neighbouring slots, or runs grow long. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static size_t home(const struct rk_map *map, uint64_t key)
{
    return (size_t)mix(key) & (map->cap - 1);
}

/* The slot of key, or the empty slot where it would go; there is always an empty one. */
static struct rk_map_slot *find(const struct rk_map *map, uint64_t key)
{
    size_t i = home(map, key);
    while (map->slots[i].value && map->slots[i].key != key)
        i = (i + 1) & (map->cap - 1);
    return &map->slots[i];
}

static void grow(struct rk_map *map)
{
    struct rk_map old = *map;
    map->cap = old.cap > 0 ? old.cap * 2 : CAP_MIN;
    map->slots = RK_NEW_ARRAY(struct rk_map_slot, map->cap);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value)
            *find(map, old.slots[i].key) = old.slots[i];
    }
    free(old.slots);
}

void rk_map_deinit(struct rk_map *map)
{
    free(map->slots);
    *map = (struct rk_map){0};
}

void *rk_map_get(const struct rk_map *map, uint64_t key)
{
    return map->cap > 0 ? find(map, key)->value : NULL;
}

void *rk_map_put(struct rk_map *map, uint64_t key, void *value)
{
    rk_assert(value);
    if ((map->count + 1) > map->cap / 4 * 3)
        grow(map);
    struct rk_map_slot *slot = find(map, key);
    void *old = slot->value;
    *slot = (struct rk_map_slot){.key = key, .value = value};
    map->count += old ? 0 : 1;
    return old;
}

/* Fills the hole with the next entry of the run that may stand there: one whose home is not after the hole.
 */
static void close_hole(struct rk_map *map, size_t hole)
{
    size_t mask = map->cap - 1;
    for (size_t i = (hole + 1) & mask; map->slots[i].value; i = (i + 1) & mask) {
        size_t distance = (i - home(map, map->slots[i].key)) & mask;
        if (distance >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct rk_map_slot){0};
}

void *rk_map_remove(struct rk_map *map, uint64_t key)
{
    if (map->cap == 0)
        return NULL;
    struct rk_map_slot *slot = find(map, key);
    void *old = slot->value;
    if (old) {
        close_hole(map, (size_t)(slot - map->slots));
        map->count--;
    }
    return old;
}

struct rk_map_slot *rk_map_next(const struct rk_map *map, size_t *cursor)
{
    while (*cursor < map->cap) {
        struct rk_map_slot *slot = &map->slots[(*cursor)++];
        if (slot->value)
            return slot;
    }
    return NULL;
}

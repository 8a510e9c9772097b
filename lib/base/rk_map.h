/* lib/base/rk_map.h - hash map from a 64-bit key to a pointer (open addressing, grows by itself). */
#ifndef RK_MAP_H
#define RK_MAP_H

#include "lib/base/rk_util.h"

struct rk_map_slot {
    uint64_t key;
    void *value; /* NULL: empty slot */
};

struct rk_map {
    struct rk_map_slot *slots;
    size_t count, cap; /* cap is zero or a power of two */
};

void rk_map_deinit(struct rk_map *map);
void *rk_map_get(const struct rk_map *map, uint64_t key); /* NULL when absent */
/* Stores value (not NULL) and returns the value that it replaced, or NULL. */
void *rk_map_put(struct rk_map *map, uint64_t key, void *value);
void *rk_map_remove(struct rk_map *map, uint64_t key); /* returns what was there, or NULL */
/* Walks all entries: *cursor starts at 0; returns NULL at the end. Do not change the map meanwhile. */
struct rk_map_slot *rk_map_next(const struct rk_map *map, size_t *cursor);

#endif

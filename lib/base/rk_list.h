/* lib/base/rk_list.h - intrusive doubly linked list. An initialised head points at itself. */
#ifndef RK_LIST_H
#define RK_LIST_H

#include "lib/base/rk_util.h"

struct rk_list {
    struct rk_list *next, *prev;
};

static inline void rk_list_init(struct rk_list *l)
{
    l->next = l->prev = l;
}

static inline bool rk_list_empty(const struct rk_list *l)
{
    return l->next == l;
}

static inline void rk_list_push_back(struct rk_list *head, struct rk_list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}

static inline void rk_list_push_front(struct rk_list *head, struct rk_list *item)
{
    rk_list_push_back(head->next, item);
}

/* Unlinks; the item is left initialised, so removing twice is harmless. */
static inline void rk_list_remove(struct rk_list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    rk_list_init(item);
}

/* Returns NULL when the list is empty. */
static inline struct rk_list *rk_list_pop_front(struct rk_list *head)
{
    struct rk_list *item = head->next;
    if (item == head)
        return NULL;
    rk_list_remove(item);
    return item;
}

/* Moves all of src behind dst's last item; src is left empty. */
static inline void rk_list_splice_back(struct rk_list *dst, struct rk_list *src)
{
    if (rk_list_empty(src))
        return;
    src->next->prev = dst->prev;
    dst->prev->next = src->next;
    src->prev->next = dst;
    dst->prev = src->prev;
    rk_list_init(src);
}

#define RK_LIST_FOR_EACH(it, head) for (struct rk_list *it = (head)->next; it != (head); it = it->next)
#define RK_LIST_FOR_EACH_SAFE(it, head)                                                                      \
    for (struct rk_list *it = (head)->next, *it##_next = it->next; it != (head);                             \
         it = it##_next, it##_next = it->next)
#define RK_LIST_ITEM(it, type, field) RK_CONTAINER_OF(it, type, field)

#endif

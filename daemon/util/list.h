/* list.h - an intrusive doubly linked ring.  The head is a node of its own; a node that is in no list points
 * to itself or is all zero, so that list_remove() may be called twice. */
#pragma once

#include "proto/base.h"

struct list {
    struct list *prev, *next;
};

#define list_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* Walks the list; the current entry, and only it, may be removed and freed on the way. */
#define LIST_FOREACH(var, head, member)                                                                      \
    for (__typeof__(var) var##_next = ((var) = list_entry((head)->next, __typeof__(*(var)), member),         \
                                      list_entry((var)->member.next, __typeof__(*(var)), member));           \
         &(var)->member != (head);                                                                           \
         (var) = var##_next, var##_next = list_entry((var)->member.next, __typeof__(*(var)), member))

static inline void list_init(struct list *head)
{
    head->prev = head->next = head;
}
static inline bool list_is_empty(const struct list *head)
{
    return !head->next || head->next == head;
}

static inline void list_push(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

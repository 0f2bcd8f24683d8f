/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intrusive doubly linked list. The link sits inside the element, so linking never allocates and never fails.
 * A link that is in no list points at itself: list_unlink() is idempotent and legal on an initialised link.
 */
#pragma once

#include "common/base.h"

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(l) ((struct list){&(l), &(l)})

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_unlink(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* Appends `l`, which must be in no list. */
static inline void list_push(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/* Everything in *from goes to the end of *to, in its order. */
static inline void list_move_all(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *first = from->next;
		list_unlink(first);
		list_push(to, first);
	}
}

static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

/* `it` may be unlinked or freed within the body. */
#define list_for_each_safe(it, head) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

/*
 * heap: what is first by a number, mostly a time. Its nodes stand in the entries themselves, so an entry is taken out
 *or moved without a search.
 *
 *	struct held { struct heap_node by_time; ... };
 *	struct held *first = HEAP_ENTRY(heap_first(&h), struct held, by_time);
 */
#ifndef COMMON_HEAP_H
#define COMMON_HEAP_H

#include "common/base.h"

struct heap_node {
	int64_t key;
	size_t place; /* in the heap, from 1; 0: in none */
};

struct heap { /* zeroed: empty */
	struct heap_node **v;
	size_t count, cap;
};

#define HEAP_ENTRY(node, type, member) ((node) != NULL ? (type *)(void *)((char *)(node)-offsetof(type, member)) : NULL)

void heap_free(struct heap *h);
/* Puts it in, or moves it if it is there. Those of equal keys come out in any order. */
void heap_set(struct heap *h, struct heap_node *n, int64_t key);
/* Nothing if it is in none. */
void heap_remove(struct heap *h, struct heap_node *n);

/* The one of the lowest key; NULL: empty. */
static inline struct heap_node *
heap_first(const struct heap *h)
{
	return h->count > 0 ? h->v[0] : NULL;
}

#endif

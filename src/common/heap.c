/*
 * heap: what is first by a number. See heap.h.
 */
#include "common/heap.h"

#include "common/mem.h"

void
heap_free(struct heap *h)
{
	free(h->v);
	*h = (struct heap){0};
}

static void
put(struct heap *h, struct heap_node *n, size_t at)
{
	h->v[at] = n;
	n->place = at + 1;
}

static void
sift_up(struct heap *h, struct heap_node *n, size_t at)
{
	while (at > 0 && h->v[(at - 1) / 2]->key > n->key) {
		put(h, h->v[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	put(h, n, at);
}

static void
sift_down(struct heap *h, struct heap_node *n, size_t at)
{
	size_t child;

	while ((child = 2 * at + 1) < h->count) {
		if (child + 1 < h->count && h->v[child + 1]->key < h->v[child]->key)
			child++;
		if (h->v[child]->key >= n->key)
			break;
		put(h, h->v[child], at);
		at = child;
	}
	put(h, n, at);
}

static void
sift(struct heap *h, struct heap_node *n, size_t at)
{
	if (at > 0 && h->v[(at - 1) / 2]->key > n->key)
		sift_up(h, n, at);
	else
		sift_down(h, n, at);
}

void
heap_set(struct heap *h, struct heap_node *n, int64_t key)
{
	n->key = key;
	if (n->place > 0) {
		sift(h, n, n->place - 1);
		return;
	}
	if (h->count == h->cap) {
		h->cap = h->cap == 0 ? 64 : h->cap * 2;
		h->v = xrealloc(h->v, h->cap * sizeof(h->v[0]));
	}
	h->count++;
	sift_up(h, n, h->count - 1);
}

void
heap_remove(struct heap *h, struct heap_node *n)
{
	size_t at = n->place;
	struct heap_node *last;

	if (at == 0)
		return;
	n->place = 0;
	last = h->v[--h->count];
	if (last != n)
		sift(h, last, at - 1);
}

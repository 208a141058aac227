/*
 * timer_heap: the timer messages that wait. See timer_heap.h.
 *
 * Runs in:    the broker process.
 * Cost:       a heap of four branches: a million entries are ten levels, with 32 MB.
 */
#include "workers/broker/timer_heap.h"

#include <stdlib.h>

#include "common/mem.h"

#define HEAP_FIRST  1024
#define BRANCHES    4
#define BLOCK_BITS  12 /* 4096 queue offsets have one count */
#define BLOCK_FIRST 64

void
timer_heap_free(struct timer_heap *h)
{
	free(h->v);
	free(h->block);
	*h = (struct timer_heap){0};
}

/* ---- the heap */

static bool
before(const struct timer_entry *a, const struct timer_entry *b)
{
	return timer_before(a->due_ms, a->at, b->due_ms, b->at);
}

void
timer_heap_put_back(struct timer_heap *h, const struct timer_entry *e)
{
	size_t i = h->count, up;

	if (h->count == h->cap) {
		h->cap = h->cap == 0 ? HEAP_FIRST : h->cap * 2;
		h->v = xrealloc(h->v, h->cap * sizeof(h->v[0]));
	}
	h->count++;
	for (; i > 0; i = up) {
		up = (i - 1) / BRANCHES;
		if (!before(e, &h->v[up]))
			break;
		h->v[i] = h->v[up];
	}
	h->v[i] = *e;
}

const struct timer_entry *
timer_heap_top(const struct timer_heap *h)
{
	return h->count > 0 ? &h->v[0] : NULL;
}

static size_t
first_child(const struct timer_heap *h, size_t i)
{
	size_t child = i * BRANCHES + 1, best = child;

	for (size_t c = child + 1; c < child + BRANCHES && c < h->count; c++)
		if (before(&h->v[c], &h->v[best]))
			best = c;
	return best;
}

struct timer_entry
timer_heap_pop(struct timer_heap *h)
{
	struct timer_entry top = h->v[0], last = h->v[--h->count];
	size_t i = 0, child;

	while (i * BRANCHES + 1 < h->count) {
		child = first_child(h, i);
		if (!before(&h->v[child], &last))
			break;
		h->v[i] = h->v[child];
		i = child;
	}
	h->v[i] = last;
	return top;
}

/* ---- the lowest place */

static void
drop_empty(struct timer_heap *h)
{
	while (h->empty < h->blocks && h->block[h->empty] == 0)
		h->empty++;
	if (h->empty == 0 || h->empty < h->blocks / 2)
		return;
	memmove(h->block, h->block + h->empty, (h->blocks - h->empty) * sizeof(h->block[0]));
	h->blocks -= h->empty;
	h->first += (int64_t)h->empty;
	h->empty = 0;
}

/* The queue is read upwards, so there is always a block, or one comes behind the last. */
static uint32_t *
block_of(struct timer_heap *h, int64_t at)
{
	int64_t n = at >> BLOCK_BITS;
	size_t i;

	if (h->blocks == 0)
		h->first = n;
	ensure(n >= h->first);
	i = (size_t)(n - h->first);
	if (i >= h->block_cap) {
		h->block_cap = MAX_OF(i + 1, MAX_OF(h->block_cap * 2, (size_t)BLOCK_FIRST));
		h->block = xrealloc(h->block, h->block_cap * sizeof(h->block[0]));
	}
	for (; h->blocks <= i; h->blocks++)
		h->block[h->blocks] = 0;
	return &h->block[i];
}

void
timer_heap_add(struct timer_heap *h, const struct timer_entry *e)
{
	++*block_of(h, e->at);
	timer_heap_put_back(h, e);
}

void
timer_heap_finish(struct timer_heap *h, int64_t at)
{
	--*block_of(h, at);
}

int64_t
timer_heap_low(struct timer_heap *h, int64_t none)
{
	drop_empty(h);
	return h->empty < h->blocks ? MIN_OF((h->first + (int64_t)h->empty) << BLOCK_BITS, none) : none;
}

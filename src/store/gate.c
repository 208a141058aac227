/*
 * gate: the list of what is to be read from the disk first.
 */
#include "store/gate.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void
gate_forget(struct cold_list *g)
{
	for (unsigned i = 0; i < g->count; i++)
		free(g->range[i].file);
	g->count = g->noted = 0;
}

void
gate_close(struct cold_list *g)
{
	gate_forget(g);
	g->closed = true;
}

void
gate_open(struct cold_list *g)
{
	g->closed = false;
}

static bool
is_same_file(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Does it touch or overlap the range that was noted last? Then that grows. */
static bool
joins_last(struct cold_list *g, const char *file, int64_t at, int64_t to)
{
	struct cold_range *last = g->count > 0 ? &g->range[g->count - 1] : NULL;

	if (last == NULL || !is_same_file(last->file, file) || at < last->at || at > last->at + last->len)
		return false;
	last->len = MAX_OF(last->len, to - last->at);
	return true;
}

void
gate_note(struct cold_list *g, const char *file, int64_t at, int64_t len, int64_t end)
{
	int64_t to = MIN_OF(at + MAX_OF(len, (int64_t)GATE_BYTES), end);

	g->noted++;
	if (at >= to || joins_last(g, file, at, to) || g->count == GATE_RANGES)
		return;
	g->range[g->count++] = (struct cold_range){file != NULL ? xstrdup(file) : NULL, at, to - at};
}

/*
 * mem: allocation that does not fail, and arenas.
 *
 * x* calls stop the worker when there is no memory: a worker's memory is bounded by design, so this is a fault of ours.
 * Sizes that come from a peer are checked against a limit before they get here.
 */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stdlib.h>

#include "common/base.h"

void	*xmalloc(size_t n) MUST_CHECK;
void	*xcalloc(size_t n, size_t size) MUST_CHECK;
void	*xrealloc(void *p, size_t n) MUST_CHECK;
char	*xstrdup(const char *s) MUST_CHECK;          /* NULL stays NULL */
char	*xstrndup(const char *s, size_t n) MUST_CHECK;
char	*xslicedup(struct slice s) MUST_CHECK;       /* terminated copy */
char	*xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) MUST_CHECK;

/* What lives as long as a request or a turn: many small pieces, freed at once. Zeroed struct = empty arena. */
struct arena {
	struct arena_block	*head;
};
void	*arena_alloc(struct arena *a, size_t n) MUST_CHECK; /* aligned to 16, not zeroed */
char	*arena_slicedup(struct arena *a, struct slice s);   /* terminated */
void	 arena_reset(struct arena *a);                       /* keeps one block for the next use */
void	 arena_free(struct arena *a);

#endif

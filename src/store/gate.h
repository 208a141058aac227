/*
 * gate: reads that must not wait for the disk.
 *
 * While it is closed, a part of the store that would have to come from the disk is not read: it is noted here and
 * answered as if it were not there. Whoever closed the gate looks at what was noted: nothing, and the answers are true;
 * something, and they are thrown away, the ranges brought into the page cache by warm, and the same asked again.
 *
 * Runs in:    the broker.
 */
#ifndef STORE_GATE_H
#define STORE_GATE_H

#include "common/base.h"

#define GATE_RANGES 32
#define GATE_BYTES  (64 << 10) /* at least so much around what is wanted: its neighbours are most likely wanted next */

struct cold_range {
	char	*file;		/* path of a queue or index file; NULL: the log */
	int64_t	 at, len;	/* in the log, or in the file */
};

struct cold_list {
	bool		  closed;
	unsigned	  noted; /* reads that were not done since the gate was closed */
	unsigned	  count; /* what does not fit is found the next time */
	struct cold_range range[GATE_RANGES];
};

/* Closes the gate; what was noted before is forgotten. */
void	gate_close(struct cold_list *g);
void	gate_open(struct cold_list *g);	  /* what was noted stays until the next close */
void	gate_forget(struct cold_list *g); /* frees what was noted */
/* Notes GATE_BYTES or more of the file (copied), or of the log, from `at` on, but not beyond `end`. Neighbours become one. */
void	gate_note(struct cold_list *g, const char *file, int64_t at, int64_t len, int64_t end);

static inline bool
gate_is_closed(const struct cold_list *g)
{
	return g != NULL && g->closed;
}

#endif

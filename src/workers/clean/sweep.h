/*
 * sweep: removes consume queue and index files that lie wholly below the log's first byte.
 */
#ifndef WORKERS_CLEAN_SWEEP_H
#define WORKERS_CLEAN_SWEEP_H

#include <dirent.h>
#include <limits.h>

#include "store/segs.h"

enum sweep_result {
	SWEEP_DONE,    /* all queues have been looked at */
	SWEEP_MORE,    /* call again */
	SWEEP_REMOVED  /* a file went: call again after the pause */
};

/* A walk over consumequeue/<topic>/<queue id>/, a few queues a step. */
struct sweep {
	char		 root[PATH_MAX]; /* the consumequeue directory */
	int64_t		 file_bytes;
	int64_t		 min;		 /* of the log */
	DIR		*topics, *queues; /* where the walk stands; NULL: not begun, none open */
	char		 topic[NAME_MAX + 1];
	struct segs	 queue;		 /* being emptied; dir NULL: none */
	bool		 active;
};
void	sweep_init(struct sweep *s, const char *root, int64_t file_bytes);
void	sweep_begin(struct sweep *s, int64_t min);
enum sweep_result	sweep_step(struct sweep *s);
void	sweep_end(struct sweep *s);

/* Index files but the last whose newest entry lies below min. Returns how many went. */
unsigned	sweep_index(const char *dir, int64_t min);

#endif

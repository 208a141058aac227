/*
 * flush: parts of the flush process.
 */
#ifndef WORKERS_FLUSH_FLUSH_H
#define WORKERS_FLUSH_FLUSH_H

#include <limits.h>

#include "common/worker.h"
#include "store/checkpoint.h"
#include "store/segs.h"
#include "workers/flush/group.h"

int	flush_run(struct worker *w);

/* ---- logsync: the commit log up to a position */

struct logsync {
	struct segs	 segs;	/* names only */
	int		 fd;	/* of the segment that was synced last; -1 none */
	int64_t		 fd_from;
	bool		 new_name;	/* a segment was opened since the directory was synced */
};
void	logsync_init(struct logsync *l, const char *dir, int64_t file_bytes);
void	logsync_free(struct logsync *l);
/* Puts from..to on stable storage. 0 or errno with the file and what failed in e. Not to be tried again after a failure. */
int	logsync_range(struct logsync *l, int64_t from, int64_t to, struct err *e) MUST_CHECK;

/* ---- marks: queue and index files, and the checkpoint behind them */

struct mark {
	int64_t	id, store_ms, log_offset, index_ms;
	int64_t	life; /* shm flush.life to which its files were told */
};
struct mark_step { /* in the order in which they came */
	char		*path;	/* a file to sync, or NULL: the mark */
	int		 fd;	/* of the file once it is begun, else -1 */
	int64_t		 at, bytes; /* how far its pages are written out, and its size */
	struct mark	 mark;
};
struct marks {
	struct mark_step	*steps;
	size_t			 first, count, cap;
	char			 checkpoint_path[PATH_MAX];
	struct checkpoint	 checkpoint; /* as it stands in the file */
};
enum rc	marks_init(struct marks *m, const char *checkpoint_path, struct err *e) MUST_CHECK;
void	marks_free(struct marks *m);
void	marks_add_file(struct marks *m, const char *path);
void	marks_add_mark(struct marks *m, const struct mark *mark);
static inline bool
marks_pending(const struct marks *m)
{
	return m->count > 0;
}
/*
 * Does one bounded step: writes out a part of one file, syncs it, or writes the checkpoint for a mark (*done = its id; else
 * 0). flushed_ms is the store time up to which the log itself is synced. 0 or errno, sentence in e.
 */
int	marks_step(struct marks *m, int64_t flushed_ms, int64_t *done, struct err *e) MUST_CHECK;
/* Writes the checkpoint if flushed_ms is another than what it says. 0 or errno. */
int	marks_write_checkpoint(struct marks *m, int64_t flushed_ms, struct err *e) MUST_CHECK;

#endif

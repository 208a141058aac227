/*
 * prepare: the next segment of the log, zero-filled ahead of the writer under <log>/prepare/.
 *
 * It is written as <digits>.tmp, synced, and renamed to <digits>: a name without .tmp is a whole file. The broker takes it
 * by rename; when none is ready it makes its own. One segment ahead, never more.
 */
#ifndef WORKERS_CLEAN_PREPARE_H
#define WORKERS_CLEAN_PREPARE_H

#include <limits.h>

#include "common/clock.h"
#include "store/segs.h"

#define PREPARE_CHUNK (1 << 20)

enum prepare_state {
	PREPARE_NONE,	 /* nothing is there */
	PREPARE_FILLING, /* the .tmp is being written */
	PREPARE_READY,	 /* the file is there for the writer */
	PREPARE_GAVE_UP	 /* no space for this one: the writer has to do without */
};

struct prepare {
	const struct segs	*segs;
	enum prepare_state	 state;
	int64_t			 from;	/* of the segment that state is about */
	int64_t			 done;	/* bytes written */
	int			 fd;
	/* Leave out the zeros where the file system could reserve the blocks: they pay only where a sync waits for them, and
	 * cost as much writing as the log itself. */
	bool			 reserve_only;
};
void	prepare_init(struct prepare *p, const struct segs *segs);
/*
 * Start of the segment in use. With appended just at a segment's end the writer has not entered the next one: it may be
 * about to take the file that is ready.
 */
int64_t	prepare_active(const struct segs *segs, int64_t appended);
/* After a start: removes what a crash left, but keeps a whole file for the segment that begins at next. */
void	prepare_adopt(struct prepare *p, int64_t next);
/*
 * Start of the segment to make ready now, or -1. rolled: the writer has filled a segment since we run, so the next one
 * will be needed; else half of the first must be in use.
 */
int64_t	prepare_wanted(const struct prepare *p, int64_t appended, bool rolled);
/* RC_OK: filling. RC_FULL, RC_IO: not now, sentence in e. */
enum rc	prepare_begin(struct prepare *p, int64_t from, struct err *e) MUST_CHECK;
/* One chunk. RC_AGAIN: more to do. RC_OK: ready. RC_FULL, RC_IO: removed again, sentence in e. */
enum rc	prepare_step(struct prepare *p, struct err *e) MUST_CHECK;
/* Milliseconds until the next chunk: 0 when the writer is close behind. */
int64_t	prepare_pause_ms(const struct prepare *p, int64_t appended);
/* The writer went on without it, or we are stopping: nothing stays behind. */
void	prepare_drop(struct prepare *p);
/* The directory too: at a clean end. */
void	prepare_remove_all(struct prepare *p);

#endif

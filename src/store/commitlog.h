/*
 * commitlog: the bytes of the log: the records of one turn are staged in memory and written with one write per segment;
 * what is in the files is read through maps.
 *
 * Runs in:    the broker. On a slave ha writes the files, and this part only reads.
 * Owns:       the segments from the one that holds `end` on.
 * Must not:   write through a map; sync anything while the loop runs.
 * If it dies: any prefix of a turn's bytes may be in the files, behind the published end.
 */
#ifndef STORE_COMMITLOG_H
#define STORE_COMMITLOG_H

#include "common/base.h"
#include "store/fillahead.h"
#include "store/segs.h"

#define TURN_BYTES (16u << 20) /* a turn's buffer grows beyond this only for a batch that needs it */

struct log_map { /* one segment as it is read */
	int64_t		 from;
	const char	*p;
};

struct log_piece { /* staged bytes that stand together in one segment */
	int64_t		 from;	/* in the log */
	size_t		 at, len; /* in the buffer */
};

/* Bytes of the log that were found in memory a moment ago; each slot serves places of its own. */
#define RESIDENT_SLOTS 256
struct resident_range {
	int64_t	from, to, until_ms;
};

struct commitlog {
	struct segs	 segs;
	struct log_map	*maps;	/* ascending */
	size_t		 map_count, map_cap;
	struct log_map	 hot;	/* the one that was read last; p NULL: none */
	struct resident_range resident[RESIDENT_SLOTS];
	int		 fd;	/* of the segment that is written; -1: none is open */
	int64_t		 fd_from;
	bool		 fill_wanted; /* records are synced as they come: see fillahead.h */
	struct fillahead fill;
	int64_t		 min, end; /* whole records stand in [min, end) */
	char		*turn;	/* staged bytes */
	size_t		 turn_len, turn_cap;
	struct log_piece *pieces;
	size_t		 piece_count, piece_cap;
	int64_t		 staged_end;
	int64_t		 rolled_to; /* the writer has entered the segment that begins here; -1: nothing new, the store resets it */
	bool		 broken; /* a failed turn's bytes could not be taken back: no more writes */
};

/* Lists the directory. RC_INVAL, RC_BADDATA, RC_IO: sentence in e. min is the first segment's start; end is not known yet. */
enum rc	commitlog_open(struct commitlog *l, const char *dir, int64_t segment_bytes, struct err *e) MUST_CHECK;
void	commitlog_close(struct commitlog *l);
/* After recovery: whole records end here; the next turn begins here. */
void	commitlog_set_end(struct commitlog *l, int64_t end);

bool	commitlog_has_room(const struct commitlog *l, size_t n); /* in the turn's buffer */
/*
 * Room for n bytes that stand together in one segment: *out is where to encode them (valid until the next call), *at their
 * place in the log. RC_AGAIN: the turn's buffer is full, commit first. RC_LIMIT: no segment is large enough.
 */
enum rc	commitlog_stage(struct commitlog *l, size_t n, char **out, int64_t *at) MUST_CHECK;
/* Writes what is staged. Otherwise than RC_OK nothing of it is left in the files, or (broken) nothing is ever written again. */
enum rc	commitlog_write(struct commitlog *l, struct err *e) MUST_CHECK;
void	commitlog_unstage(struct commitlog *l);
/*
 * On a slave, in ha: the master's bytes as they are, within one segment, written at the log's end, which moves behind them. n 0: only opens
 * (or makes) the segment that they will stand in. RC_FULL, RC_IO: none of them count; sentence in e.
 */
enum rc	commitlog_copy(struct commitlog *l, const char *p, size_t n, struct err *e) MUST_CHECK;
/* Zeroes the bytes from the log's end up to `to` of its segment: what was copied and is no whole record. */
enum rc	commitlog_clear(struct commitlog *l, int64_t to, struct err *e) MUST_CHECK;

/*
 * The bytes from `at` up to the end of what its segment holds, *n of them. NULL: not in the log, or
 * it cannot be mapped (logged). Valid until commitlog_forget.
 */
const char	*commitlog_read(struct commitlog *l, int64_t at, size_t *n);
/* Exactly n bytes within one segment, or NULL. */
const char	*commitlog_bytes(struct commitlog *l, int64_t at, size_t n);
/* Everything below `min` has been removed by clean: unmaps it. */
void	commitlog_forget(struct commitlog *l, int64_t min);
/* Are these bytes in the page cache? */
bool	commitlog_resident(struct commitlog *l, int64_t at, size_t n);

/*
 * For recovery: the log ends at `end`. Removes later segments and zeroes what stands behind the end in its segment, so that
 * nothing stale is taken for a record: all of it, or (quiet_max > 0) until so many bytes in a row are zero. *changed: something
 * was written or removed.
 */
enum rc	commitlog_cut(struct commitlog *l, int64_t end, int64_t quiet_max, bool *changed, struct err *e) MUST_CHECK;
/* fdatasync of the segment that holds `at`; not while the loop runs. */
enum rc	commitlog_sync(struct commitlog *l, int64_t at, struct err *e) MUST_CHECK;

#endif

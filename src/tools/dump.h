/*
 * dump: parts of rmqdump, which reads a store and changes nothing in it.
 */
#ifndef TOOLS_DUMP_H
#define TOOLS_DUMP_H

#include <limits.h>

#include "common/base.h"
#include "common/buf.h"
#include "common/message.h"
#include "store/segs.h"

#define DUMP_OK	     0
#define DUMP_DAMAGED 1 /* check found something */
#define DUMP_FAILED  2 /* wrong use, or files that cannot be read */

struct dump_opts {
	const char	*root;	/* storePathRootDir */
	const char	*name;	/* config: one file */
	bool		 json;
	int64_t		 from;	/* -1: from the start */
	int64_t		 count;	/* 0: all */
	const char	*topic;	/* NULL: all */
	int32_t		 queue;	/* -1: all */
	int32_t		 slots;	/* of an index file; 0: by its size */
};

int	dump_log(const struct dump_opts *o);
int	dump_queue(const struct dump_opts *o);
int	dump_index(const struct dump_opts *o);
int	dump_checkpoint(const struct dump_opts *o);
int	dump_config(const struct dump_opts *o);
int	dump_check(const struct dump_opts *o);

/* Says it on stderr; returns DUMP_FAILED. */
int	dump_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- files of equal size, mapped one at a time */

struct dump_files {
	struct segs	 segs;
	char		*map;
	int64_t		 map_from;
};
/* RC_NOTFOUND: no files. */
enum rc	dump_files_open(struct dump_files *f, const char *dir, struct err *e) MUST_CHECK;
void	dump_files_close(struct dump_files *f);
/* Bytes from `at` to the end of its file. SLICE_NONE: no such file. Valid until the next call. */
struct slice	dump_files_at(struct dump_files *f, int64_t at);

/* ---- the log */

/*
 * Reads what begins at `at`. RC_OK: a record whose own offset is `at`. RC_NOTFOUND: filler; m->size = bytes to the
 * segment's end. RC_BADDATA: no record. RC_CLOSED: no file holds `at`. check_crc: a body that does not fit is RC_BADDATA.
 */
enum rc	log_record(struct dump_files *log, int64_t at, bool check_crc, struct message *m) MUST_CHECK;
/* Eight zero bytes begin there, or the log's files end: nothing was written. */
bool	log_is_blank(struct dump_files *log, int64_t at);
/* The next place behind `at` in this segment where a whole record stands; -1: none. */
int64_t	log_resync(struct dump_files *log, int64_t at);

/* ---- units of a queue */

#define UNIT_BYTES	20
#define UNIT_BLANK_SIZE 0x7FFFFFFF

struct unit {
	int64_t	physical, tags_code;
	int32_t	size;
};
void	unit_read(struct unit *u, const char *p);
bool	unit_is_blank(const struct unit *u);
/* False: nothing was ever written there. */
static inline bool
unit_is_used(const struct unit *u)
{
	return u->physical >= 0 && u->size > 0;
}

/* Calls each consumequeue/<topic>/<id> that the options ask for, in order. Stops when each() answers other than RC_OK. */
enum rc	queues_each(const struct dump_opts *o, enum rc (*each)(void *arg, const char *topic, int32_t id, const char *dir),
	    void *arg, struct err *e) MUST_CHECK;

/* ---- index files */

struct index_view {
	char		 path[2 * PATH_MAX];
	const char	*map;
	size_t		 bytes;
	int64_t		 begin_ms, end_ms, begin_offset, end_offset;
	int32_t		 slots, entries, used_slots, next; /* next: number of the next entry, at least 1 */
};
struct index_entry {
	uint32_t	hash;
	int64_t		offset, store_ms;
	int32_t		prev;
};
/* Calls each file, oldest first. */
enum rc	index_each(const struct dump_opts *o, enum rc (*each)(void *arg, const struct index_view *v), void *arg,
	    struct err *e) MUST_CHECK;
void	index_entry_read(const struct index_view *v, int32_t number, struct index_entry *out);
int32_t	index_slot_read(const struct index_view *v, int32_t slot);
/* Hash of topic#key as the index has it. */
uint32_t	index_hash_of(struct slice topic, struct slice key);

/* ---- text */

#define TIME_TEXT 32
/* "2026-11-20 10:15:03.123", local time; "-" for 0. */
const char	*time_text(int64_t ms, char out[TIME_TEXT]);
/* For a cell of a table: what is no printable ASCII or UTF-8 becomes '?', longer text is cut. */
void	put_cell(struct slice s, size_t width);

#endif

/*
 * cqueue: one consume queue: 20-byte units (log offset i64, record size i32, tags code i64) in files of equal size; the
 * place of a unit is its queue offset.
 *
 * Runs in:    the broker; the files are the original's.
 * Must not:   map or keep open what is not used: a broker may have 200,000 queues.
 * If it dies: units that are in the files are there; recovery cuts what the log does not confirm and dispatches the rest again.
 */
#ifndef STORE_CQUEUE_H
#define STORE_CQUEUE_H

#include "common/base.h"
#include "store/gate.h"

#define CQ_UNIT	      20
#define CQ_TAIL_UNITS 32	  /* newest units kept in memory: what a consumer that keeps up reads */
#define CQ_BLANK_SIZE 0x7FFFFFFF /* record size in units that stand for none, before a queue's first */
#define CQ_APPEND_MAX 512
#define CQ_NONE	      (-1)

struct cq_unit {
	int64_t	offset;	/* queue offset that its record says; not in the file */
	int64_t	physical;
	int64_t	tags_code;
	int32_t	size;
};

struct cq_topic { /* one name for all its queues */
	char			*name;
	uint32_t		 len, hash;
	uint32_t		 index_hash; /* Java's hash of "topic#" */
	bool			 delayed;    /* SCHEDULE_TOPIC_XXXX: units carry the time of delivery */
	struct cq_files		*files;
	struct store_queue	*queues;
	struct cq_topic		*next;	     /* among the deleted */
};

struct cq_open { /* an open file of a queue */
	struct store_queue	*q;
	int64_t			 from;
	int			 fd;
	struct cq_open		*newer, *older;
};

struct cq_files { /* what all queues share */
	char		*root;		/* <store>/consumequeue */
	int64_t		 file_bytes;
	struct cq_open	*newest, *oldest;
	unsigned	 open, open_max;
	int64_t		 filled;	/* queues that have a file */
	int64_t		 log_min;	/* first byte of the log that is still there */
	struct cold_list *gate;		/* see gate.h; NULL: always open */
};

struct store_queue {
	struct cq_topic		*topic;
	struct store_queue	*topic_next;
	int32_t			 id;
	uint32_t		 hash;
	int64_t			 next;		/* queue offset of the next message that is staged */
	int64_t			 max;		/* units [min, max) can be read */
	int64_t			 min;
	int64_t			 min_for;	/* start of the log for which min was found; CQ_NONE: never */
	int64_t			 max_physical;	/* end of the last unit's record: what lies below is built */
	int64_t			 file_first, file_last; /* starts in bytes; CQ_NONE: no file */
	int64_t			 stale_to;	/* recovery: units up to here may still stand behind max */
	bool			 emptied;	/* recovery: no unit was left, the queue may begin earlier than its files say */
	struct cq_open		*opened[2];	/* the last file, any other file */
	char			*tail;		/* units [tail_from, max), at (offset % CQ_TAIL_UNITS) */
	int64_t			 tail_from;
	/* files not yet synced, from the one that begins here; CQ_NONE: none. See dirty.c */
	int64_t			 dirty_from, told_from;
	struct store_queue	*dirty_next, *told_next;
	/* the turn that is being staged */
	uint64_t		 turn;
	int64_t			 turn_next;
	struct store_queue	*turn_link;
	/* the dispatch step at hand: its units, as a list in dispatch.c */
	uint32_t		 pend_first, pend_last, pend_count;
	struct store_queue	*pend_link;
	void			*user;
};

void	cq_files_init(struct cq_files *f, const char *root, int64_t file_bytes, unsigned open_max);
void	cq_files_free(struct cq_files *f); /* closes all */
/* Closes open files until at most `keep` are open. */
void	cq_files_prune(struct cq_files *f, unsigned keep);

void	cqueue_init(struct store_queue *q);
/* Closes files, frees what hangs on q (not q). */
void	cqueue_release(struct cq_files *f, struct store_queue *q);
/* "<root>/<topic>/<id>", or a file of it. False: longer than n. */
bool	cqueue_dir(const struct cq_files *f, const struct store_queue *q, char *out, size_t n);
bool	cqueue_path(const struct cq_files *f, const struct store_queue *q, int64_t from, char *out, size_t n);

/*
 * Finds the files of q below dirfd (its directory; closed by this call) and the last good unit. Sets max, next, max_physical, file_*.
 * RC_BADDATA: name or size that cannot be. RC_IO.
 */
enum rc	cqueue_load(struct cq_files *f, struct store_queue *q, int dirfd, struct err *e) MUST_CHECK;
/*
 * The units u[0..n) in log order, n <= CQ_APPEND_MAX. By the original's rules: built ones are dropped, a new queue that does
 * not begin at 0 gets blank units before its first. RC_FULL, RC_IO: sentence in e, some may have been taken.
 */
enum rc	cqueue_append(struct cq_files *f, struct store_queue *q, const struct cq_unit *u, size_t n, struct err *e) MUST_CHECK;
/* Up to n units from `offset` on, raw as in the file; at most to the end of one file. 0: not readable, or noted at the gate. */
size_t	cqueue_read(struct cq_files *f, struct store_queue *q, int64_t offset, size_t n, char *out);
/* One unit. False: outside of what the files hold. */
bool	cqueue_unit(struct cq_files *f, struct store_queue *q, int64_t offset, struct cq_unit *u);
/* Brings min in step with the first byte of the log, f->log_min. */
void	cqueue_follow_min(struct cq_files *f, struct store_queue *q);
/*
 * For recovery: keeps the units below `physical`; removes files behind them; the rest is zeroed by cqueue_clear, when what is to stand
 * there does. The queue's units are whole, as the page cache has them.
 */
enum rc	cqueue_cut(struct cq_files *f, struct store_queue *q, int64_t physical, struct err *e) MUST_CHECK;
/* As cqueue_cut after a power cut: only the units below `physical` are certain, behind them anything may stand. */
enum rc	cqueue_distrust(struct cq_files *f, struct store_queue *q, int64_t physical, struct err *e) MUST_CHECK;
/* What was zeroed counts as dirty: it must not come back at a later power cut. */
enum rc	cqueue_clear(struct cq_files *f, struct store_queue *q, struct err *e) MUST_CHECK;
/* Removes files and directory. */
void	cqueue_remove(struct cq_files *f, struct store_queue *q);

static inline void
cq_unit_get(const char *p, struct cq_unit *u)
{
	u->physical = (int64_t)be64_get(p);
	u->size = (int32_t)be32_get(p + 8);
	u->tags_code = (int64_t)be64_get(p + 12);
}

static inline void
cq_unit_put(char *p, const struct cq_unit *u)
{
	be64_put(p, (uint64_t)u->physical);
	be32_put(p + 8, (uint32_t)u->size);
	be64_put(p + 12, (uint64_t)u->tags_code);
}

#endif

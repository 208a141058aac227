/*
 * store_int: the store as its own parts see it. Nobody else includes this.
 */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "store/checkpoint.h"
#include "store/commitlog.h"
#include "store/cqtable.h"
#include "store/gate.h"
#include "store/index.h"
#include "store/positions.h"
#include "store/record.h"
#include "store/store.h"

#define DISPATCH_STEP	 256 /* records that are looked at together */
#define DISPATCH_KEYS	 (MSG_PROPS_MAX / 2 + 1024) /* index keys of one step; the properties of one record hold fewer */
#define DELAY_LEVELS_MAX 64
#define MARK_FILES_STEP	 1024 /* files that flush is told of in one second */
#define MARK_PATIENCE_MS 30000

struct dispatch {
	int64_t		 at;		/* everything below is in queues and index */
	int64_t		 at_store_ms;	/* store time of the last record below */
	int64_t		 last_record;	/* where that begins; -1: none since the start */
	struct record	*records;	/* the step at hand */
	struct store_queue **queues;	/* of each record; NULL: it has no unit */
	struct cq_unit	*units;
	uint32_t	*links;		/* next record of the same queue */
	struct index_key *keys;
	unsigned	 count, key_count;
	bool		 stuck;		/* no space or a bad record: tried again by store_second */
	bool		 damaged;	/* it is a bad record: no more writes */
	int64_t		 owed;		/* recovery had no space to dispatch up to here: until then queue offsets are not known */
	char		 why[256];
};

struct dirty {
	struct store_queue *waiting, *telling, *told; /* lists: dirty_next, dirty_next, told_next */
	struct store_mark mark;
	int64_t		 begun_ms, asked_ms;
	enum mark_state { MARK_NONE, MARK_TELLING, MARK_DUE, MARK_ASKED } state;
	bool		 index_told;
};

struct store {
	const struct broker_conf *conf;
	struct node_shm	*shm;
	struct store_ops ops;
	char		*root;
	struct commitlog log;
	struct cq_files	 files;
	struct cqtable	 queues;
	struct index	 index;
	struct dispatch	 dispatch;
	struct dirty	 dirty;
	struct cold_list gate;
	int64_t		 forgotten;	/* maps of what lies below this start of the log are gone */
	int64_t		 hot_from;	/* log bytes from here on were written by this process */
	int64_t		 earliest_of, earliest_ms; /* store time of the record at this start of the log; of: -1 not known */
	struct positions_file positions;
	int64_t		 noted_at;	/* dispatched, as it was noted last */
	struct cq_topic	*deleted;	/* freed at the end of the turn; linked by `next` */
	int		 lock_fd;
	bool		 opened;	/* recovered; abort stands */
	bool		 lost_tail;	/* see store_may_have_lost_tail */
	int64_t		 ram_bytes;
	int64_t		 delay_ms[DELAY_LEVELS_MAX + 1];
	int		 delay_levels;
	/* staging */
	uint64_t	 turn;
	struct store_queue *turn_queues;
	unsigned	 turn_messages;
	int64_t		 turn_ms;
	char		*scratch;	/* units as they are read, SCRATCH_UNITS of them */
};

#define SCRATCH_UNITS 4096

static inline bool
store_is_slave(const struct store *s)
{
	return store_role(s) == ROLE_SLAVE;
}

/* ---- dispatch.c */
void	dispatch_init(struct dispatch *d);
void	dispatch_free(struct dispatch *d);
/* Up to `max` records below `limit`. RC_OK: done or max reached. RC_FULL, RC_IO, RC_BADDATA: stands still, sentence in e. */
enum rc	dispatch_run(struct store *s, int64_t limit, unsigned max, struct err *e) MUST_CHECK;
/* Once a second: tries again if it stands still. In stage.c, where the positions are. */
void	dispatch_retry(struct store *s);
/* clean has moved the first byte of the log: what lies below is not read any more from now on. Nothing is unmapped yet. In store.c. */
void	store_see_min(struct store *s);
/* After each turn and each second: notes how far everything is, when enough has come since, or `now`. In store.c. */
void	store_note_positions(struct store *s, bool now);
/* Reads messageDelayLevel. */
void	dispatch_read_delays(struct store *s);

/* ---- dirty.c */
void	dirty_second(struct store *s);
void	dirty_note(struct store *s, struct store_queue *q); /* q->dirty_from was just set */
void	dirty_forget(struct store *s, const struct cq_topic *topic);
/* At a clean end: syncs every dirty queue file. RC_IO: it is not known what of them is on the disk. */
enum rc	dirty_sync_all(struct store *s, struct err *e) MUST_CHECK;

/* ---- slave.c */
/* What ha has written since: the log's end, and the files it is in. */
void	slave_follow(struct store *s);
/* Before recovery: does what the file `cut` asks for. *done: the positions in shared memory are old ones. */
enum rc	slave_apply_cut(struct store *s, bool *done, struct err *e) MUST_CHECK;
/* After recovery: brings the list of epochs in step with the log's end, and on a master with its epoch. */
enum rc	slave_note_epoch(struct store *s, struct err *e) MUST_CHECK;

/* ---- recover.c */
struct recover_from {
	bool	abort_stands;
	bool	known;	/* by the shared memory: only the broker worker died */
	bool	noted;	/* by the positions file: the machine was not booted since, nobody else used the store */
	struct positions at; /* if noted */
};
/* Finds the log's end, cuts, dispatches. The lock is held; the parts are open and queues loaded by this call. */
enum rc	recover_run(struct store *s, const struct recover_from *from, struct err *e) MUST_CHECK;

#endif

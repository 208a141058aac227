/*
 * store: the files of one broker node, in RocketMQ's format: what the broker worker does with them.
 *
 * One process (the broker) opens a store for writing. flush, clean, warm, ha and rmqdump use the smaller parts (segs.h,
 * checkpoint.h, record.h ...) on the same files.
 *
 * A turn: store_stage any number of messages; store_commit writes them with one pwritev (two at the end of a segment),
 * publishes `appended` and dispatches what is safe to be seen: with SYNC_FLUSH what is flushed, with SYNC_MASTER what is
 * replicated, else all. store_progress does the same later, when flush or ha have moved their positions.
 *
 * What a crash leaves: any prefix of a turn's bytes, unpublished. Recovery keeps whole records and cuts the rest; none of
 * them was acknowledged.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "common/conf.h"
#include "common/message.h"
#include "common/shm.h"
#include "store/gate.h"

struct store;
struct store_queue; /* one consume queue; stable address until the topic is deleted */

struct store_ops {
	/* Units were dispatched to q: who waits for it may look. Called during store_commit and store_progress. May be NULL. */
	void	(*on_arrival)(void *arg, struct store_queue *q, int64_t tags_code, struct slice props);
	/* A queue or index file has unsynced bytes (at most once per file and mark): tell flush. */
	void	(*on_dirty_file)(void *arg, const char *path);
	/* These bytes of a file are written to soon, at random: bring them into memory, nobody waits. May be NULL. */
	void	(*on_wanted)(void *arg, const char *path, int64_t bytes);
	/* The writer entered the segment that begins at `from`: tell clean to prepare the next. */
	void	(*on_roll)(void *arg, int64_t from);
	void	*arg;
};

struct store_opts {
	const struct broker_conf *conf;	/* kept; LIVE parameters may change in it */
	struct node_shm	*shm;
	struct store_ops ops;
	struct slice	props_suffix;	/* unused by the store itself */
};

/*
 * Takes the lock file, loads, recovers, makes `abort`. Sets shm positions and NODE_RECOVERING, NODE_RUNNING.
 * If shm says that this node was running before (only the broker worker died), the known `appended` spares the scan.
 * RC_BUSY: another process holds it (its pid is in e). RC_BADDATA: files that cannot be (sizes, names). RC_IO, RC_FULL.
 */
enum rc	store_open(struct store **s, const struct store_opts *o, struct err *e) MUST_CHECK;
/* clean: everything is dispatched and synced, checkpoint written, `abort` removed. Otherwise files are just closed. */
void	store_close(struct store **s, bool clean);

/* ---- appending */

struct store_put_result {
	int64_t		physical;	/* of the record */
	int64_t		queue_offset;
	int64_t		end;		/* log offset behind the record: wait for this position */
};
/*
 * Encodes m into the turn's buffer and gives it its place. m's queue_offset, physical, store_ms are set by this call. Nothing is
 * written before store_commit. RC_LIMIT: topic, properties, body or record too long. RC_FULL: the disk (or a turn's
 * buffer: commit and stage again when RC_AGAIN). RC_BUSY: the store does not take writes (failed, stopping, slave).
 */
enum rc	store_stage(struct store *s, struct message *m, struct store_put_result *r) MUST_CHECK;
/* As store_stage for n messages of one topic and queue that must stand in one segment, at consecutive queue offsets. */
enum rc	store_stage_batch(struct store *s, struct message *m, size_t n, struct store_put_result *r) MUST_CHECK;
/*
 * RC_OK: all that was staged is in the file. Otherwise none of it is, queue offsets are given back, and the caller refuses each
 * staged message: RC_FULL (no space), RC_IO, RC_BUSY; sentence in e.
 */
enum rc	store_commit(struct store *s, struct err *e) MUST_CHECK;
bool	store_staged(const struct store *s);
/* Would a record of n bytes go into what is left of the turn's buffer? If not, store_stage answers RC_AGAIN. */
bool	store_has_room(const struct store *s, size_t n);
/* flush or ha moved: dispatches at most `max` further records. True: more is to be done, call again next turn. */
bool	store_progress(struct store *s, unsigned max);
/* The role now, from shared memory: it may change while the store is open. */
enum broker_role	store_role(const struct store *s);
/*
 * Everything below has reached what the configuration promises for an acknowledgement: with SYNC_FLUSH flushed, with SYNC_MASTER
 * replicated. On a slave, and for an ASYNC_MASTER without SYNC_FLUSH, the log's end.
 */
int64_t	store_safe_position(const struct store *s);
/*
 * SYNC_MASTER and fewer copies in sync than are needed: whoever sends is told at once (SLAVE_NOT_AVAILABLE), nobody waits for
 * `replicated`, and what is stored is shown to consumers without it.
 */
bool	store_lacks_copies(const struct store *s);
/*
 * A slave becomes a master of `epoch`, without a restart: ha has let go of the log (shm ha.role_epoch >= epoch) and shm says the
 * new role. Walks from `dispatched` to `appended`, cuts what is not a whole record, dispatches the rest, takes over `appended`,
 * notes (epoch, start) in epochFileCheckpoint. RC_BUSY: ha has not let go yet, or the role in shm is a slave's. RC_IO,
 * RC_FULL, RC_BADDATA: sentence in e; the node must not serve as a master.
 */
enum rc	store_become_master(struct store *s, int64_t epoch, struct err *e) MUST_CHECK;
int64_t	store_flushed_position(const struct store *s);
/* Once a second: follows clean's `min`, unmaps, marks queues for flush (flushIntervalConsumeQueue), prunes open files. */
void	store_second(struct store *s);
/* flush has synced the files of this mark. */
void	store_marked(struct store *s, int64_t id);
/* The next mark, if one is due: what goes into BROKER_FLUSH_MARK. False: none. */
struct store_mark {
	int64_t	id, store_ms, log_offset, index_ms;
	int64_t	life;	/* of the flush process to which its files were told */
};
bool	store_next_mark(struct store *s, struct store_mark *m);
/* The machine went down: what was not synced may be gone, and others may remember what was never kept. */
bool	store_may_have_lost_tail(const struct store *s);
/* Why writes are refused now, or NULL. */
const char	*store_refusal(const struct store *s);

/* ---- queues */

/* NULL: no file was ever made for it. */
struct store_queue	*store_queue_find(struct store *s, struct slice topic, int32_t queue_id);
/* Makes it (in memory; files come with the first unit). */
struct store_queue	*store_queue_get(struct store *s, struct slice topic, int32_t queue_id);
int64_t		 queue_min(const struct store_queue *q);
int64_t		 queue_max(const struct store_queue *q);	/* next offset that a consumer will see */
struct slice	 queue_topic(const struct store_queue *q);
int32_t		 queue_id(const struct store_queue *q);
/* A place for the broker's list of waiting pulls. */
void		**queue_user(struct store_queue *q);
/* Calls each queue. */
void		 store_queues_each(struct store *s, void (*each)(void *arg, struct store_queue *q), void *arg);
/* Removes all queues of a topic, files too. */
void		 store_topic_delete(struct store *s, struct slice topic);

enum boundary { BOUNDARY_LOWER, BOUNDARY_UPPER };
/* Queue offset by store time, as the original 5.x. No queue: 0. */
int64_t		 store_offset_by_time(struct store *s, struct store_queue *q, int64_t store_ms, enum boundary b);
/* Store time of the message at that queue offset; -1 if there is none. */
int64_t		 store_time_at(struct store *s, struct store_queue *q, int64_t offset);

/* ---- reading. Pointers are into mapped segments and stay valid until the end of the loop turn (store_second unmaps). */

enum get_status {
	GET_FOUND,
	GET_NO_MATCHED_MESSAGE,
	GET_MESSAGE_WAS_REMOVING,
	GET_OFFSET_FOUND_NULL,
	GET_OFFSET_OVERFLOW_BADLY,
	GET_OFFSET_OVERFLOW_ONE,
	GET_OFFSET_TOO_SMALL,
	GET_NO_MATCHED_LOGIC_QUEUE,
	GET_NO_MESSAGE_IN_QUEUE,
	GET_COLD	/* the bytes may have to come from the disk: ask warm for what store_cold names and call again */
};
const char	*get_status_name(enum get_status s); /* the original's spelling: "FOUND" */

struct store_filter {
	/* By the unit alone. May be NULL (all). */
	bool	(*by_code)(void *arg, int64_t tags_code);
	/* By the record's properties. May be NULL. */
	bool	(*by_props)(void *arg, struct slice props);
	void	*arg;
};

#define GET_RANGES_MAX 64
struct get_result {
	enum get_status	 status;
	int64_t		 next, min, max;
	int32_t		 messages;
	size_t		 bytes;
	bool		 suggest_slave;	/* what was read lies far behind the log's end */
	unsigned	 ranges;
	struct slice	 range[GET_RANGES_MAX]; /* records one after another; neighbours in the log are joined */
};
/* q may be NULL (unknown queue). may_be_cold false: never answers GET_COLD, but reads from the disk. */
void	store_get(struct store *s, struct store_queue *q, int64_t offset, int32_t max_messages, const struct store_filter *f,
	    bool may_be_cold, struct get_result *r);
/*
 * From store_ask to store_asked nothing that may have to come from the disk is read: see gate.h. store_asked: what was noted, valid
 * until the next store_ask or store_get; empty: all answers since are true. Not around store_get, which does it by itself.
 */
void	store_ask(struct store *s);
const struct cold_list	*store_asked(struct store *s);
/* After GET_COLD. */
const struct cold_list	*store_cold(const struct store *s);
/* One record by its place in the log. RC_NOTFOUND: not there (removed, or no record begins there). */
enum rc	store_record_at(struct store *s, int64_t physical, struct slice *record) MUST_CHECK;
/* One unit of a queue. RC_NOTFOUND: outside of min..max. */
enum rc	store_unit_at(struct store *s, struct store_queue *q, int64_t offset, int64_t *physical, int32_t *size, int64_t *tags_code) MUST_CHECK;
/*
 * Would reading the record at `physical` (size 0: as it says itself) have to come from the disk? Then *at and *len are what to ask warm
 * for; a record whose size is not known may need to be asked for twice. False: its bytes are in memory, or there is none.
 */
bool	store_record_is_cold(struct store *s, int64_t physical, int32_t size, int64_t *at, int64_t *len);
/*
 * Walks the log: the record that begins at *at, or behind the filler there; *at moves behind it. RC_NOTFOUND: the end.
 * RC_BADDATA: no record begins there.
 */
enum rc	store_next_record(struct store *s, int64_t *at, struct slice *record) MUST_CHECK;

/* ---- delay levels, from messageDelayLevel: 1 to store_delay_levels. The code of a delayed message's unit is when it is due. */
int	store_delay_levels(const struct store *s);
int64_t	store_delay_ms(const struct store *s, int level);

#define QUERY_MAX 64
struct query_result {
	int64_t		last_update_ms, last_update_offset; /* of the index */
	unsigned	count;
	int64_t		physical[QUERY_MAX];
};
/* Records whose index has topic#key with a store time in begin..end; newest first; hash collisions may be among them. */
void	store_query(struct store *s, struct slice topic, struct slice key, int32_t max, int64_t begin_ms, int64_t end_ms,
	    struct query_result *r);

/* ---- facts for status and admin */
struct store_facts {
	int64_t		log_min, log_max, flushed, dispatched, replicated;
	int64_t		earliest_store_ms;	/* of the first message in the log; -1 none */
	double		log_disk_ratio, queue_disk_ratio;
	int64_t		disk_total, disk_free;
	int64_t		queue_files, segments, index_files;
};
void	store_facts(struct store *s, struct store_facts *f);

#endif

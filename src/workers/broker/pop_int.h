/*
 * pop_int: what the files of pop consumption share.
 */
#ifndef BROKER_POP_INT_H
#define BROKER_POP_INT_H

#include "workers/broker/filter_tag.h"
#include "workers/broker/pop.h"
#include "workers/broker/pop_order.h"
#include "workers/broker/pop_state.h"
#include "workers/broker/pop_text.h"
#include "workers/broker/topics.h"

#define POP_REVIVE_GROUP "CID_RMQ_SYS_REVIVE_GROUP"
#define POP_REVIVE_TOPIC "rmq_sys_REVIVE_LOG_" /* and the cluster's name */
/* Checkpoints in flight beyond which nothing is popped: about 150 bytes each, in memory. */
#define POP_CKS_MAX  4000000
#define POP_PAUSE_MS 1000 /* after the log did not take something */

struct pop_hold;
struct pop_log;

struct pop {
	struct broker *b;
	struct pop_state *state; /* NULL: not a master */
	struct pop_order *order;
	struct pop_hold *hold; /* pops and notifications that wait */
	struct pop_log *log;
	char *revive_topic;
	int32_t revive_queues;
	uint32_t turns;          /* pops: which queues come first, which revive queue is next */
	bool wanted;             /* there may be something to do in this turn */
	bool full_said;          /* POP_CKS_MAX was reached */
	struct copies *copies;   /* of revived messages, at the log's end when this broker started */
	int64_t revive_pause_ms; /* steady clock */
	uint64_t left_out;       /* messages that could not be revived: gone from the log, or no topic */
	ev_timer timer;          /* the next that is due */
	struct buf text;         /* for one record */
	/* ordered pops: consumerOrderInfo.json, and what the log says beyond it */
	struct cfgfile *order_file;
	uint64_t order_version;          /* one more with each change; of this process' life */
	bool order_followed;             /* it is what this slave's master has said last */
	int64_t order_mark;              /* the file knows all that stands in the log before it */
	int64_t order_open, order_since; /* first records that the file may not, does not have; -1: none */
	uint64_t order_saves;            /* when it has been saved more often, it has those that are open */
};

/* ---- pop_log.c: the revive log and the offsets */

struct pop_log *pop_log_new(struct pop *p);
void pop_log_free(struct pop_log **l);
/* Reads the log from the stored offsets to its end. */
enum rc pop_log_load(struct pop *p, struct err *e) MUST_CHECK;
/* Stages the record of a checkpoint that was staged in the state. `from`: what its message is put off from, or NULL. */
enum rc pop_log_put_ck(struct pop *p, const struct pop_ck *ck, const struct pop_handle *from,
		       const struct append_to *to) MUST_CHECK;
/* Stages acks of one checkpoint. through_timer: as the original, for one that is not here yet: at that time. -1: at
 * once. */
enum rc pop_log_put_acks(struct pop *p, const struct pop_record_ack *a, int32_t revive_queue, int64_t through_timer,
			 const struct append_to *to) MUST_CHECK;
/* A record of an ordered pop's state. */
enum rc pop_log_put_order(struct pop *p, struct slice body, const struct append_to *to) MUST_CHECK;
/* Those told: the record has that place. */
void pop_log_told(struct pop *p, int32_t revive_queue, const struct appended *a);
/* The group's offset of that queue moves to `offset` when the log is flushed up to `end` (0: with those before it). */
void pop_log_move_offset(struct pop *p, struct pop_queue *q, int64_t offset, int64_t physical, int64_t end);
/* q->next as it must be now: somebody else may have set the group's offset. */
void pop_log_follow_offset(struct pop *p, struct pop_queue *q);
/* The group's first offset, where it has none yet. */
void pop_log_set_first(struct pop *p, struct pop_queue *q, int64_t offset);
/* Something has come to the revive log; reads what is not our own. */
void pop_log_arrived(struct pop *p, struct store_queue *q);
bool pop_log_turn(struct pop *p);
void pop_log_second(struct pop *p);
void pop_log_settle_all(struct pop *p);
/* The log's end when it was read. */
int64_t pop_log_start_end(const struct pop *p);
/* May a checkpoint that is not known be on its way, in the timer queue? */
bool pop_log_may_come(const struct pop *p);
/* The mark of a revived copy in its record; physical: of the message that it is of. */
int64_t pop_mark_of_copy(int64_t physical);
bool pop_mark_read_copy(int64_t prepared_offset, int64_t *physical);

/* ---- pop_order_file.c: what is kept of ordered pops */

void pop_order_begin(struct pop *p);
enum rc pop_order_load(struct pop *p, struct err *e) MUST_CHECK;
void pop_order_end(struct pop *p);
/* What has changed of that queue goes into the log; done is told, also when it was refused. */
void pop_order_changed(struct pop *p, struct slice topic, struct slice group, int32_t queue_id, append_done *done,
		       void *arg, int64_t tag);
/* The first record of revive queue 0 that the file does not have for certain; INT64_MAX: it has all. */
int64_t pop_order_low(const struct pop *p);
void pop_order_second(struct pop *p);
/* The file is to be written. */
void pop_order_touch(struct pop *p);

/* ---- pop_revive.c */

/* True: more is due. */
bool pop_revive_turn(struct pop *p);
void pop_revive_free(struct pop *p);

/* ---- one request, its first pass and those after it was woken or warm was done (req_pop.c, req_notify.c) */

enum pop_kind { POP_MESSAGES, POP_NOTICE };

struct pop_ask { /* slices belong to the frame, or to who keeps the ask */
	struct slice group, topic, exp, exp_type, attempt;
	int64_t invisible_ms, poll_ms, born_ms;
	int64_t deadline_ms; /* steady clock: until then it may wait */
	int32_t queue_id, max, init_mode;
	enum pop_kind kind;
	bool order;
	/* how this pass is to be done */
	bool again;    /* not the first */
	uint8_t asked; /* times that warm was */
};
void pop_ask_run(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask);
size_t pop_ask_size(const struct pop_ask *ask);
void pop_ask_copy(struct pop_ask *to, const struct pop_ask *from, char *room);
void pop_take_run(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask);
void pop_notice_run(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask);
/* Takes what there is, and answers; or waits for warm; or for messages. */
void pop_take(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask,
	      struct topic *topic, const struct tag_filter *f);
/* Reads the fields that pops and notifications share. False: answered. */
bool pop_ask_read(struct pop_ask *ask, struct conn *c, const struct command *cmd);
void pop_notice_answer(struct conn *c, const struct request_id *id, bool has_message, bool full);
/* Answers "nothing" to one that has waited. */
void pop_ask_give_up(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask);

/* What both check first; each answers when it refuses. NULL: refused. */
struct topic *pop_check(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask);
/* Where a group's first pop of a queue begins. */
int64_t pop_first_offset(struct pop *p, struct slice topic, struct store_queue *q, int32_t init_mode);

/* ---- pop_hold.c: pops that wait */

struct pop_hold *pop_hold_new(struct pop *p);
void pop_hold_free(struct pop_hold **h);
/* Copies the ask. f: what wakes it; NULL: anything. RC_FULL: too many wait. RC_LIMIT: no time is left. */
enum rc pop_hold_add(struct pop_hold *h, struct conn *c, const struct request_id *id, const struct pop_ask *ask,
		     const struct tag_filter *f) MUST_CHECK;
void pop_hold_arrival(struct pop_hold *h, struct store_queue *q, int64_t tags_code, struct slice props);
/* Wakes one that waits for that queue of the group's topic, and one that waits for any of its queues. */
void pop_hold_wake(struct pop_hold *h, struct slice topic, struct slice group, int32_t queue_id);
void pop_hold_conn_closed(struct pop_hold *h, struct conn *c);
/* Runs those that were woken, ends those whose time is over. True: more are left for the next turn. */
bool pop_hold_turn(struct pop_hold *h);
void pop_hold_answer_all(struct pop_hold *h);
size_t pop_hold_count(const struct pop_hold *h);
size_t pop_hold_count_of(const struct pop_hold *h, struct slice topic, struct slice group, int32_t queue_id);
/* Steady clock, ms; -1: none waits. */
int64_t pop_hold_next(const struct pop_hold *h);

#endif

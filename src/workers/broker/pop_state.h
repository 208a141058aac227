/*
 * pop_state: which messages are popped and not acked: the state machine of pop consumption, without files, connections
 *or a clock.
 *
 * Each batch that a pop takes from one queue is a checkpoint: some messages that are invisible until popTime +
 *invisibleTime. A message leaves it by an ack, by being put off (it gets a checkpoint of its own), or by being revived
 *when the time is over. All of that is in the revive log (pop_log); this state is what has been read of it plus what
 *was appended since.
 *
 *	staged --stored--> waits --its time is over--> revived, bit by bit --> gone
 *	   `--refused--> gone        `--all acked--> gone
 */
#ifndef BROKER_POP_STATE_H
#define BROKER_POP_STATE_H

#include <sys/queue.h>

#include "common/base.h"
#include "common/heap.h"

#define POP_BATCH_MAX 32 /* messages of a checkpoint: the bits of its map */
#define POP_FOREIGN_MS                                                                                                 \
	2000 /* acks of a checkpoint that the original wrote may come behind its end, by way of its timer */
#define POP_DUE_MAX (INT64_MAX / 4)

struct pop_state;

/* A group's way through one topic. */
struct pop_sub {
	struct pop_sub *next; /* in its bucket */
	uint64_t hash;
	struct slice topic, group; /* behind the struct, terminated */
	struct pop_queue **queues; /* by number; NULL: nothing was popped from it */
	int32_t slots;
};

struct pop_queue {
	struct pop_sub *sub;
	int32_t id;
	bool known;        /* the stored offset has been looked at: `next` and `committed` hold */
	int64_t next;      /* offset at which the next pop begins; -1: none was popped */
	int64_t committed; /* the offset that was stored last for pops, or was found stored */
	int64_t in_flight; /* messages popped, and neither acked nor revived */
};

enum pop_ck_state { POP_CK_STAGED, POP_CK_WAITS, POP_CK_REVIVING };

struct pop_ck {                        /* a checkpoint */
	struct heap_node due;          /* key: ms since 1970; in the heap while it waits */
	TAILQ_ENTRY(pop_ck) by_offset; /* of its revive queue */
	struct pop_ck *next;           /* in its bucket */
	struct pop_queue *q;
	int64_t start; /* offset from which the batch was read */
	int64_t pop_ms, invisible_ms;
	int64_t revive_offset; /* of its record */
	int32_t revive_queue;
	uint32_t acked;  /* bit n: message n is done */
	uint32_t acking; /* bit n: an ack of message n is staged and not told */
	uint8_t count;
	uint8_t state;  /* enum pop_ck_state */
	uint8_t tries;  /* revivals that failed */
	bool taken;     /* its messages were taken by moving q->next; no: one message that was put off */
	bool foreign;   /* written by the original: see POP_FOREIGN_MS */
	bool from_log;  /* of an earlier life */
	bool moving;    /* its record is being written anew */
	int32_t diff[]; /* message n has the offset start + diff[n]; ascending */
};

struct pop_state *pop_state_new(int32_t revive_queues);
void pop_state_free(struct pop_state **s);

/* Found or made. NULL: ids below 0 or beyond what a topic can have. */
struct pop_queue *pop_state_queue(struct pop_state *s, struct slice topic, struct slice group, int32_t id);
/* NULL: nothing was popped from it. */
struct pop_queue *pop_state_find_queue(const struct pop_state *s, struct slice topic, struct slice group, int32_t id);

/* ---- pop, ack, time */

struct pop_batch {
	struct pop_queue *q;
	int64_t start, pop_ms, invisible_ms;
	int32_t revive_queue;
	unsigned count;                /* 1 to POP_BATCH_MAX */
	int64_t offset[POP_BATCH_MAX]; /* ascending, from start on, less than 2^31 behind it */
};
/*
 * The messages are in flight from now on, but not before pop_state_stored may they be given out. taken_to: where the
 * queue's next pop begins; -1: the one message is in flight already and is put off. No checkpoint of that queue, start
 * and time may be there.
 */
struct pop_ck *pop_state_stage(struct pop_state *s, const struct pop_batch *b, int64_t taken_to);
/* Its record is in the log. */
void pop_state_stored(struct pop_state *s, struct pop_ck *ck, int64_t revive_offset);
/* It is not: the messages are to be popped again. Frees it. */
void pop_state_refused(struct pop_state *s, struct pop_ck *ck);
/* NULL: none, or all of it is done. */
struct pop_ck *pop_state_find(const struct pop_state *s, const struct pop_queue *q, int64_t start, int64_t pop_ms);
/* Which message has that offset; -1: none. */
int pop_ck_index(const struct pop_ck *ck, int64_t offset);
/* All its bits. */
uint32_t pop_ck_all(const struct pop_ck *ck);
/* These are done: acked, put off or revived. True: all are, and ck is gone; never so while it is being revived. */
bool pop_state_done(struct pop_state *s, struct pop_ck *ck, uint32_t bits);
/* The next whose time is over at `now`; the caller revives it, and ends that by pop_state_revived. NULL: none. */
struct pop_ck *pop_state_take_due(struct pop_state *s, int64_t now);
/* These messages were revived; ck is gone if that is all, else the rest is due again at that time. */
void pop_state_revived(struct pop_state *s, struct pop_ck *ck, uint32_t bits, int64_t again_ms);
/* When the next is due; -1: none waits. */
int64_t pop_state_next_due(const struct pop_state *s);

/* ---- the log */

struct pop_record_ck { /* as it stands in the revive log */
	struct slice topic, group;
	int32_t queue_id, revive_queue;
	int64_t revive_offset, start, pop_ms, invisible_ms;
	uint32_t acked;
	unsigned count;
	int32_t diff[POP_BATCH_MAX];
	bool foreign;
	bool raises;                 /* the stored offset may not have moved past it */
	int64_t from_start, from_ms; /* the checkpoint that its message was put off from; from_start -1: none */
};
/* RC_INVAL: numbers that cannot be. Read twice it changes nothing. */
enum rc pop_state_read_ck(struct pop_state *s, const struct pop_record_ck *r) MUST_CHECK;
/* An ack of an unknown checkpoint is of one that is done. */
void pop_state_read_ack(struct pop_state *s, const struct pop_queue *q, int64_t start, int64_t pop_ms, int64_t offset);
/* The record was written anew, further on. */
void pop_state_moved(struct pop_state *s, struct pop_ck *ck, int64_t revive_offset);
/* The first record of a revive queue that is still needed; read_to: nothing from there on is known. */
int64_t pop_state_low(const struct pop_state *s, int32_t revive_queue, int64_t read_to);
/* The checkpoint of that record; NULL: none waits. */
struct pop_ck *pop_state_oldest(const struct pop_state *s, int32_t revive_queue);

/* ---- facts */

struct pop_facts {
	size_t checkpoints, messages; /* in flight */
	size_t subs;
};
void pop_state_facts(const struct pop_state *s, struct pop_facts *f);

#endif

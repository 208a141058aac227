/*
 * timer: messages that are to be delivered at any time (TIMER_DELIVER_MS, TIMER_DELAY_MS, TIMER_DELAY_SEC), and their recall.
 *
 * A timer message stands in rmq_sys_wheel_timer, queue 0, until it is due. The job reads that queue, remembers what waits
 * (timer_heap.h), and appends a copy of each message to its real topic and queue at its time: the very millisecond that was asked for,
 * not the whole second of the original's wheel. A recall is a message in the same queue which names the one that is not
 * to be delivered.
 */
#ifndef BROKER_TIMER_H
#define BROKER_TIMER_H

#include "workers/broker/append.h"
#include "workers/broker/timer_mark.h"

struct timer;

struct timer	*timer_new(struct broker *b);
/* The store is open. RC_IO: config/timercheck cannot be read, sentence in e. */
enum rc		 timer_load(struct timer *t, struct err *e) MUST_CHECK;
void		 timer_free(struct timer **t);
/* A slave: the body of code 60 of its master, or the whole page of one of ours. */
void		 timer_follow(struct timer *t, struct slice page);
/* A slave became a master: delivery begins, behind what its last master has delivered. */
void		 timer_promote(struct timer *t);
/* What timer_follow takes. */
void		 timer_put_page(const struct timer *t, struct buf *out);

/* Something has come into the timer queue. */
void		 timer_arrived(struct timer *t);
/* The turn's part of what is due is staged; nothing else is. True: more is to be done at once. */
bool		 timer_turn(struct timer *t);
/* Is there something for another turn? */
bool		 timer_wanted(const struct timer *t);
void		 timer_second(struct timer *t);
/* At the end, while the store is open: what waits is left for the original (timer_log.h). */
void		 timer_leave(struct timer *t);
/* At the end, when nothing is staged any more: writes how far delivery got. RC_FULL, RC_IO. */
enum rc		 timer_save(struct timer *t, struct err *e) MUST_CHECK;

struct timer_state {
	size_t		waiting;	/* read from the queue, not delivered */
	size_t		recalled;	/* of them, or to come: recalls that are still remembered */
	int64_t		unread;		/* messages in the queue that were not read yet */
	int64_t		next_due_ms;	/* -1: none waits */
	int64_t		lag_ms;		/* by which the next one is late */
	uint64_t	read, delivered, dropped, left_out; /* since the start; dropped: recalled in time */
	double		read_tps, delivered_tps;
	bool		ready;		/* what waited at the start is known: it delivers */
};
void		 timer_state(const struct timer *t, struct timer_state *s);
/* May a message for that topic be waiting? */
bool		 timer_waits_for(const struct timer *t, struct slice topic);
void		 timer_put_json(const struct timer *t, struct buf *out);	/* the same, for the status page */

/* ---- what a timer message looks like (timer_msg.c) */

enum timer_ask {
	TIMER_AT_ONCE,	/* an ordinary message: its time has come */
	TIMER_LATER,
	TIMER_NO_NUMBER,
	TIMER_TOO_FAR
};
/* timerPrecisionMs as the original understands it. */
int64_t		 timer_precision_ms(const struct broker *b);
/* What the sender's properties ask for. TIMER_LATER: *out_ms is the TIMER_OUT_MS that the original gives it. */
enum timer_ask	 timer_asked(const struct broker *b, struct slice props, int64_t *out_ms);
/*
 * Makes m, which is for real_topic and real_queue, a message of the timer queue. The properties that it has there go into out.
 */
void		 timer_wrap(struct message *m, int64_t out_ms, struct slice real_topic, int32_t real_queue, struct slice props,
		    struct buf *out);

struct timer_msg { /* slices are in the record */
	int64_t		out_ms, due_ms;
	struct slice	real_topic, uniq_key, recalls; /* recalls: "topic+key" of the message that it takes back */
	int32_t		real_queue;
	int32_t		roll_times;	/* how often the original has put it off; each time it stands in the queue once more */
	bool		rolled;		/* at all */
};
/* False: the record does not say when or where it is to go. */
bool		 timer_msg_read(const struct message *record, struct timer_msg *tm);
/* No message whose TIMER_OUT_MS is that is due later. */
#define TIMER_OUT_SPREAD_MS 1100
/* ("v1 topic broker time key" in base64url) for the answer of a send. */
void		 timer_put_handle(const struct broker *b, struct slice real_topic, int64_t out_ms, struct slice uniq_key, struct buf *out);

/* ---- recalls (recall.c) */

struct recalled { /* one "topic+key" */
	struct recalled	*next;
	unsigned	 markers;	/* waiting ones, those of `asked` included */
	unsigned	 asked;		/* staged by a request and not read from the queue yet */
	uint32_t	 len;
	char		 key[];
};
struct recalls {
	struct recalled	**slot;
	size_t		 slots, count;
};
void		 recalls_free(struct recalls *r);
/* Is this message recalled? */
bool		 recalls_have(const struct recalls *r, struct slice topic, struct slice uniq_key);
/* From now on the message is not delivered; asked: its marker is about to be stored. */
struct recalled	*recalls_add(struct recalls *r, struct slice key, bool asked);
void		 recalls_drop(struct recalls *r, struct recalled *it, bool asked);
/* The ones of the job. */
struct recalls	*timer_recalls(struct timer *t);
/* The latest due time of what was delivered. */
int64_t		 timer_done_ms(const struct timer *t);

#endif

/*
 * delay: messages that are to be delivered later, by delay levels (messageDelayLevel).
 *
 * A delayed message stands in SCHEDULE_TOPIC_XXXX, in the queue of its level, until it is due; the code of its unit there
 * says when that is. The job appends a copy of it to its real topic and queue.
 */
#ifndef BROKER_DELAY_H
#define BROKER_DELAY_H

#include "workers/broker/append.h"

#define SCHEDULE_TOPIC "SCHEDULE_TOPIC_XXXX"

struct delay;

struct delay	*delay_new(struct broker *b);
/* The store is open. RC_INVAL: messageDelayLevel cannot be read; RC_BADDATA, RC_IO: delayOffset.json cannot: sentence in e. */
enum rc		 delay_load(struct delay *d, struct err *e) MUST_CHECK;
void		 delay_free(struct delay **d);

/*
 * Makes m, which is for real_topic and real_queue after so many levels (above the last: the last), a message of
 * SCHEDULE_TOPIC_XXXX. The properties that it has there go into out; props are those of the sender. level > 0.
 */
void		 delay_wrap(const struct delay *d, struct message *m, int32_t level, struct slice real_topic, int32_t real_queue,
		    struct slice props, struct buf *out);

/* Units have come into this queue. */
void		 delay_arrived(struct delay *d, struct store_queue *q, int64_t tags_code);
/* Stages the turn's part of what is due; commits before that what others have staged. True: more is to be done at once. */
bool		 delay_turn(struct delay *d);
void		 delay_second(struct delay *d);
/* At the end, when nothing is staged any more: writes how far delivery got. RC_FULL, RC_IO. */
enum rc		 delay_save(struct delay *d, struct err *e) MUST_CHECK;

/* A slave: the body of code 45 of its master. */
void		 delay_follow(struct delay *d, const json_t *said);
/* A slave became a master: delivery begins, behind what its last master has delivered. */
void		 delay_promote(struct delay *d);

/* Everything in the log below it was whole when delayOffset.json was written; 0: no such file. */
int64_t		 delay_saved_end(const struct delay *d);

/* Body of code 45. */
void		 delay_put_offsets(struct delay *d, struct buf *out);
struct delay_state {
	int64_t		delay_ms, delivered_to, queue_max; /* queue offsets */
	int64_t		next_due_ms;	/* of the next one that waits; -1: none waits */
	uint64_t	delivered;	/* since the start */
};
int		 delay_levels(const struct delay *d);
void		 delay_state(const struct delay *d, int level, struct delay_state *s);

#endif

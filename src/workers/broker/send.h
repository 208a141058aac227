/*
 * send: what the send requests share: their header, what their properties ask for, the checks in the original's order.
 */
#ifndef BROKER_SEND_H
#define BROKER_SEND_H

#include "workers/broker/topics.h"

struct send_header { /* slices point into the frame */
	struct slice	group, topic, default_topic, props;
	int64_t		born_ms;
	int32_t		default_queues, queue_id, sys_flag, flag, reconsume, max_reconsume;
	bool		unit, batch, has_max_reconsume;
};

/* Reads the fields in one pass. False: one is missing or no number, and the request has been answered. */
bool	send_header_read(struct send_header *h, struct conn *c, const struct command *cmd);

/* What a send's properties ask for; found in one pass. */
struct send_props {
	struct slice	uniq_key, reply_to;
	bool		no_wait;	/* WAIT=false: answer without flush and slave */
	int32_t		delay_level;	/* above 0: deliver later */
	bool		timed, half;
	bool		reserved;	/* there are names that only the broker may set: to be left out */
	bool		keys;
	bool		unterminated;	/* the last pair has no separator behind it */
};
void	send_props_scan(struct slice props, struct send_props *p);
/* Are these names the broker's own? Then a copy of props without them goes into out. */
void	send_props_strip(struct slice props, bool drop_delay, struct buf *out);

/*
 * The checks that all sends have in common, up to the queue id; makes the topic if it may. NULL: refused and answered.
 * *queue_id is the one to use.
 */
struct topic	*send_check(struct broker *b, struct conn *c, const struct request_id *id,
		    const struct send_header *h, int32_t *queue_id);

/* An error answer with the ext that clients expect of every send answer. */
void	send_refuse(struct broker *b, struct conn *c, const struct request_id *id, int code, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The answer to a message that could not be staged: by the store's result. */
void	send_refuse_rc(struct broker *b, struct conn *c, const struct request_id *id, enum rc rc);

#endif

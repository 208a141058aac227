/*
 * append: messages that the broker itself stores: due delayed messages, retries and dead letters, transactions.
 *
 * They go the way of every send: staged in this turn's buffer, written with its one commit. Whoever appends is told once: when the
 * record is as safe as the configuration promises, when that took too long, or when it was not stored.
 */
#ifndef BROKER_APPEND_H
#define BROKER_APPEND_H

#include "workers/broker/broker.h"

struct appended {
	/*
	 * RES_SUCCESS: stored and safe. RES_FLUSH_DISK_TIMEOUT, RES_FLUSH_SLAVE_TIMEOUT, RES_SLAVE_NOT_AVAILABLE: stored, but flush
	 * or ha have not confirmed it in time; nothing more will be said of it. Anything else: it was not stored, or
	 * the node has failed.
	 */
	int		 code;
	const char	*why;		/* a sentence if it was not stored, else NULL; lives during the call */
	int64_t		 physical, queue_offset, end;
};
/* tag: as given to append_message. It may append again; that goes out with this turn or the next. */
typedef void append_done(void *arg, int64_t tag, const struct appended *a);

struct append_to {
	append_done	*done;		/* may be NULL */
	void		*arg;
	int64_t		 tag;		/* the caller's own */
	bool		 no_wait;	/* tell when it is in the log, without flush and ha (WAIT=false) */
};

/*
 * Stages m. RC_OK: done is called later, exactly once unless the broker ends before, and never from within this call;
 * messages are told in the order of the log as long as they agree in no_wait. Other results as store_stage (never RC_AGAIN):
 * nothing is stored and nothing will be told. The message's bytes are copied by this call.
 */
enum rc	append_message(struct broker *b, struct message *m, const struct append_to *to) MUST_CHECK;
/*
 * Looks at so many records of the log's tail at most, from *at on, for what a killed broker has appended: each is called with every one.
 * False: the end was reached; of a log that cannot be read any more it was said that `what` behind it come again.
 */
bool	append_walk_tail(struct broker *b, int64_t *at, unsigned max, const char *what, void (*each)(void *arg, const struct message *m),
	    void *arg);
/* Was the record stored, whether or not flush and ha have confirmed it? */
bool	append_is_stored(int code);
/* *m gets what a new record takes over from another: body, flags, born fields, retries; our store host; no topic, no properties. */
void	append_copy(const struct broker *b, const struct message *from, struct message *m);

#endif

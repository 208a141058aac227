/*
 * timer_int: what timer.c and timer_facts.c share.
 */
#ifndef BROKER_TIMER_INT_H
#define BROKER_TIMER_INT_H

#include "workers/broker/timer.h"
#include "workers/broker/timer_heap.h"

#define TIMER_RATE_SECONDS 10

struct timer_aside { /* popped; warm reads its record */
	struct timer	*timer;
	struct timer_entry entry;
	enum { ASIDE_FREE, ASIDE_ASKED, ASIDE_READY } state;
};

struct timer_topic { /* what waits for one real topic */
	char		*name;
	int64_t		 count, changed_ms;
};

struct timer {
	struct broker	*b;
	struct timer_mark *mark;
	struct timer_heap heap;
	struct recalls	 recalls;
	struct recalls	 rolled;	/* "topic+key#n": the original has put its n-th copy off and stored the next */
	bool		 log_gone;	/* no timer log of the original is there any more */
	bool		 left;		/* but one that we have left for it at the end, which has to be read from left_ms on */
	int64_t		 left_ms;
	int64_t		 next;		/* queue offset that is to be read */
	int64_t		 done_ms, done_at; /* the latest that was delivered */
	int64_t		 start_end;	/* of the log, at the start */
	bool		 scanned, ready;
	bool		 wanted;	/* there may be something to do in this turn */
	bool		 full;		/* no more can be asked of warm */
	bool		 reading_cold, reading_warmed;
	struct timer_aside aside[TIMER_ASIDE_MAX];
	struct timer_entry *flight;	/* of this turn */
	int64_t		 flights;
	unsigned	 open;		/* of them, not told yet */
	int		 bytes_left;	/* in this turn */
	int64_t		 last_run_ms, pause_until_ms, breathe_until_ms; /* of the steady clock */
	ev_timer	 timer;
	struct buf	 text;
	struct timer_topic *topic;	/* number n is [n - 1] */
	uint32_t	 topics, topic_cap, last_topic;
	uint64_t	 read, delivered, dropped, left_out, left_out_said;
	uint64_t	 read_at[TIMER_RATE_SECONDS], delivered_at[TIMER_RATE_SECONDS]; /* totals of the last seconds */
	unsigned	 seconds;
};

/* timer_facts.c */
uint32_t timer_topic_number(struct timer *t, struct slice name);
void	 timer_topic_count(struct timer *t, uint32_t number, int by);
void	 timer_topics_free(struct timer *t);
void	 timer_rates_second(struct timer *t);

#endif

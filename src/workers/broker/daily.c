/*
 * daily: how many messages had been stored and read at the last two midnights.
 *
 * Runs in:    the broker process.
 * If it dies: the counters live on in shared memory, the mornings begin at the restart's figures.
 */
#include "workers/broker/daily.h"

#include <time.h>

#define DAY_SECONDS 86400

struct morning {
	uint64_t	put, get;
};

struct daily {
	struct broker	*b;
	struct morning	 today, yesterday;
	ev_timer	 midnight;
};

static uint64_t
count(const shm_u64 *c)
{
	return atomic_load_explicit((shm_u64 *)(uintptr_t)c, memory_order_relaxed);
}

static double
seconds_to_midnight(void)
{
	time_t now = time(NULL);
	struct tm tm;
	int gone;

	localtime_r(&now, &tm);
	gone = tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
	/* On the days when clocks are changed it comes an hour off, once. */
	return gone < DAY_SECONDS ? DAY_SECONDS - gone : 1;
}

static void
on_midnight(struct ev_loop *loop, ev_timer *t, int events)
{
	struct daily *d = t->data;
	const struct shm_counters *k = &d->b->w->shm->counters;

	(void)events;
	d->yesterday = d->today;
	d->today = (struct morning){count(&k->put_msgs), count(&k->get_msgs)};
	t->repeat = seconds_to_midnight();
	ev_timer_again(loop, t);
}

struct daily *
daily_new(struct broker *b)
{
	struct daily *d = xcalloc(1, sizeof *d);

	d->b = b;
	ev_init(&d->midnight, on_midnight);
	d->midnight.data = d;
	d->midnight.repeat = seconds_to_midnight();
	ev_timer_again(b->w->loop, &d->midnight);
	return d;
}

void
daily_free(struct daily **d)
{
	if (*d == NULL)
		return;
	ev_timer_stop((*d)->b->w->loop, &(*d)->midnight);
	free(*d);
	*d = NULL;
}

struct daily_totals
daily_put(const struct daily *d)
{
	return (struct daily_totals){count(&d->b->w->shm->counters.put_msgs), d->today.put, d->yesterday.put};
}

struct daily_totals
daily_get(const struct daily *d)
{
	return (struct daily_totals){count(&d->b->w->shm->counters.get_msgs), d->today.get, d->yesterday.get};
}

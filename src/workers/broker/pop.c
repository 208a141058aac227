/*
 * pop: pop consumption: what the other parts of the broker see of it. See pop.h.
 *
 * Runs in:    the broker process.
 * Owns:       the state of what is in flight, on a master.
 * If it dies: it is read from the revive log again.
 */
#include "workers/broker/pop.h"

#include "common/clock.h"
#include "workers/broker/pop_int.h"

#define WAIT_MAX_MS    2000 /* the second looks at what is further away */
#define EXPIRE_SECONDS 60
#define TAG_QUEUES_MAX 512 /* revive queues; the numbers from 999 on are not theirs */

static void
timer_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct pop *p = timer->data;

	(void)loop, (void)events;
	p->wanted = true;
}

struct pop *
pop_new(struct broker *b)
{
	struct pop *p = xcalloc(1, sizeof(*p));

	p->b = b;
	p->hold = pop_hold_new(p);
	p->revive_topic = xasprintf(POP_REVIVE_TOPIC "%s", b->conf->brokerClusterName);
	pop_order_begin(p);
	ev_init(&p->timer, timer_over);
	p->timer.data = p;
	return p;
}

/* The topic may have more queues than are used now: what stands in them counts as well. */
static int32_t
count_queues(const struct pop *p)
{
	const struct topic *t = topic_find(p->b->topics, slice_of(p->revive_topic));
	int32_t n = MAX_OF(p->b->conf->reviveQueueNum, t != NULL ? t->read_queues : 0);

	return MIN_OF(MAX_OF(n, 1), TAG_QUEUES_MAX);
}

enum rc
pop_load(struct pop *p, struct err *e)
{
	enum rc rc;

	if (!broker_is_master(p->b) || p->state != NULL)
		return RC_OK;
	rc = pop_order_load(p, e);
	if (rc != RC_OK)
		return rc;
	p->revive_queues = count_queues(p);
	p->state = pop_state_new(p->revive_queues);
	p->log = pop_log_new(p);
	p->wanted = true;
	return pop_log_load(p, e);
}

void
pop_free(struct pop **pp)
{
	struct pop *p = *pp;

	if (p == NULL)
		return;
	ev_timer_stop(p->b->w->loop, &p->timer);
	pop_hold_free(&p->hold);
	pop_revive_free(p);
	pop_log_free(&p->log);
	pop_state_free(&p->state);
	pop_order_end(p);
	buf_free(&p->text);
	free(p->revive_topic);
	free(p);
	*pp = NULL;
}

/* ---- time */

/* Milliseconds until there is something to do. */
static int64_t
next_wait(const struct pop *p)
{
	int64_t wall = clock_wall_ms(), mono = clock_mono_ms(), wait = WAIT_MAX_MS;
	int64_t due = pop_state_next_due(p->state), is_free = pop_order_next_free(p->order),
		held = pop_hold_next(p->hold);

	if (due >= 0 && store_refusal(p->b->store) == NULL) /* else the second tries again */
		wait = MIN_OF(wait, MAX_OF(due - wall, p->revive_pause_ms - mono));
	if (is_free >= 0)
		wait = MIN_OF(wait, is_free - wall);
	if (held >= 0)
		wait = MIN_OF(wait, held - mono);
	return MAX_OF(wait, 0);
}

static void
arm(struct pop *p)
{
	int64_t wait = next_wait(p);

	ev_timer_stop(p->b->w->loop, &p->timer);
	if (wait >= WAIT_MAX_MS || p->b->stopping)
		return;
	ev_now_update(p->b->w->loop);
	ev_timer_set(&p->timer, (double)wait / 1000, 0.);
	ev_timer_start(p->b->w->loop, &p->timer);
}

static void
wake_ordered(void *arg, struct slice topic, struct slice group, int32_t queue_id)
{
	struct pop *p = arg;

	pop_hold_wake(p->hold, topic, group, queue_id);
}

bool
pop_turn(struct pop *p)
{
	bool more;

	if (LIKELY(!p->wanted) || p->state == NULL)
		return false;
	p->wanted = false;
	more = pop_log_turn(p);
	if (p->b->conf->enableNotifyAfterPopOrderLockRelease)
		pop_order_each_free(p->order, clock_wall_ms(), wake_ordered, p);
	more |= pop_hold_turn(p->hold);
	more |= pop_revive_turn(p);
	p->wanted |= more;
	arm(p);
	return more;
}

bool
pop_wanted(const struct pop *p)
{
	return p->wanted && p->state != NULL;
}

static void
publish(const struct pop *p)
{
	struct shm_counters *k = &p->b->w->shm->counters;
	struct pop_facts f;

	pop_state_facts(p->state, &f);
	atomic_store_explicit(&k->pop_in_flight, f.messages, memory_order_relaxed);
	atomic_store_explicit(&k->pop_waiting, pop_hold_count(p->hold), memory_order_relaxed);
}

void
pop_second(struct pop *p)
{
	if (p->state == NULL)
		return;
	p->wanted = true;
	if (broker_is_master(p->b) && !p->b->failed)
		pop_log_second(p);
	pop_order_second(p);
	publish(p);
}

/* ---- events */

void
pop_arrived(struct pop *p, struct store_queue *q, int64_t tags_code, struct slice props)
{
	pop_hold_arrival(p->hold, q, tags_code, props);
	if (UNLIKELY(slice_is(queue_topic(q), p->revive_topic)))
		pop_log_arrived(p, q);
}

void
pop_conn_closed(struct pop *p, struct conn *c)
{
	pop_hold_conn_closed(p->hold, c);
}

void
pop_answer_all(struct pop *p)
{
	pop_hold_answer_all(p->hold);
}

void
pop_note_progress(struct pop *p)
{
	if (p->state != NULL && broker_is_master(p->b) && !p->b->failed)
		pop_log_settle_all(p);
}

void
pop_remove_topic(struct pop *p, struct slice topic)
{
	pop_order_remove(p->order, topic, SLICE_NONE);
	pop_order_touch(p);
}

void
pop_remove_group(struct pop *p, struct slice group)
{
	pop_order_remove(p->order, SLICE_NONE, group);
	pop_order_touch(p);
}

/* ---- facts */

void
pop_put_json(const struct pop *p, struct buf *out)
{
	const struct shm_counters *k = &p->b->w->shm->counters;
	struct pop_facts f = {0};
	int64_t due = -1;

	if (p->state != NULL) {
		pop_state_facts(p->state, &f);
		due = pop_state_next_due(p->state);
	}
	buf_printf(out,
		   "{\"inFlight\":%zu,\"checkpoints\":%zu,\"nextDueMs\":%lld,\"waiting\":%zu,\"orderedQueues\":%zu",
		   f.messages, f.checkpoints, (long long)due, pop_hold_count(p->hold), pop_order_count(p->order));
	buf_printf(out, ",\"popped\":%llu,\"acked\":%llu,\"revived\":%llu,\"leftOut\":%llu}",
		   (unsigned long long)atomic_load(&k->pop_msgs), (unsigned long long)atomic_load(&k->pop_acked),
		   (unsigned long long)atomic_load(&k->pop_revived), (unsigned long long)p->left_out);
}

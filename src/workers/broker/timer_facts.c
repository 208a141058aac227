/*
 * timer_facts: what is told of timer messages: counts by topic, rates, codes 60 and 61, the status page.
 *
 * Runs in:    the broker process.
 */
#include "common/clock.h"
#include "workers/broker/answer.h"
#include "workers/broker/timer_int.h"
#include "workers/broker/topics.h"

/* ---- counts by topic */

static bool
is_topic(const struct timer *t, uint32_t i, struct slice name)
{
	return slice_is(name, t->topic[i].name);
}

/* Neighbours are mostly of one topic; else the few topics that have timer messages are looked through. */
uint32_t
timer_topic_number(struct timer *t, struct slice name)
{
	if (t->last_topic < t->topics && is_topic(t, t->last_topic, name))
		return t->last_topic + 1;
	for (uint32_t i = 0; i < t->topics; i++)
		if (is_topic(t, i, name))
			return (t->last_topic = i) + 1;
	if (t->topics == t->topic_cap) {
		t->topic_cap = t->topic_cap == 0 ? 16 : t->topic_cap * 2;
		t->topic = xrealloc(t->topic, t->topic_cap * sizeof(t->topic[0]));
	}
	t->topic[t->topics] = (struct timer_topic){.name = xslicedup(name)};
	return (t->last_topic = t->topics++) + 1;
}

void
timer_topic_count(struct timer *t, uint32_t number, int by)
{
	t->topic[number - 1].count += by;
	t->topic[number - 1].changed_ms = clock_wall_ms();
}

void
timer_topics_free(struct timer *t)
{
	for (uint32_t i = 0; i < t->topics; i++)
		free(t->topic[i].name);
	free(t->topic);
}

bool
timer_waits_for(const struct timer *t, struct slice topic)
{
	if (!t->ready)
		return true;
	for (uint32_t i = 0; i < t->topics; i++)
		if (is_topic(t, i, topic))
			return t->topic[i].count > 0;
	return false;
}

/* ---- rates */

void
timer_rates_second(struct timer *t)
{
	unsigned i = t->seconds++ % TIMER_RATE_SECONDS;

	t->read_at[i] = t->read;
	t->delivered_at[i] = t->delivered;
}

static double
rate(const struct timer *t, uint64_t now, const uint64_t *at)
{
	unsigned seconds = MIN_OF(t->seconds, (unsigned)TIMER_RATE_SECONDS);
	unsigned oldest = t->seconds <= TIMER_RATE_SECONDS ? 0 : t->seconds % TIMER_RATE_SECONDS;

	return seconds > 0 ? (double)(now - at[oldest]) / seconds : 0;
}

void
timer_state(const struct timer *t, struct timer_state *s)
{
	const struct timer_entry *top = timer_heap_top(&t->heap);
	struct store_queue *q = store_queue_find(t->b->store, SLICE_LIT(TIMER_TOPIC), 0);

	*s = (struct timer_state){.waiting = t->heap.count,
				  .recalled = t->recalls.count,
				  .unread = q != NULL ? MAX_OF(queue_max(q) - MAX_OF(t->next, queue_min(q)), 0) : 0,
				  .next_due_ms = top != NULL ? top->due_ms : -1,
				  .read = t->read,
				  .delivered = t->delivered,
				  .dropped = t->dropped,
				  .left_out = t->left_out,
				  .read_tps = rate(t, t->read, t->read_at),
				  .delivered_tps = rate(t, t->delivered, t->delivered_at),
				  .ready = t->ready};
	if (top != NULL)
		s->lag_ms = MAX_OF(clock_wall_ms() - top->due_ms, 0);
}

void
timer_put_json(const struct timer *t, struct buf *out)
{
	struct timer_state s;

	timer_state(t, &s);
	buf_printf(
	    out,
	    "{\"waiting\":%zu,\"unread\":%lld,\"nextDueMs\":%lld,\"lagMs\":%lld,\"delivered\":%llu,\"recalled\":%llu,"
	    "\"leftOut\":%llu,\"ready\":%s}",
	    s.waiting, (long long)s.unread, (long long)s.next_due_ms, (long long)s.lag_ms,
	    (unsigned long long)s.delivered, (unsigned long long)s.dropped, (unsigned long long)s.left_out,
	    s.ready ? "true" : "false");
}

/* ---- requests */

void
req_timer_check(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	timer_mark_put_body(b->timer->mark, &body);
	answer_buf(c, &id, &body);
}

static void
put_version(const struct timer *t, struct buf *out)
{
	struct data_version v = {.counter = (int64_t)(t->read + t->delivered), .timestamp = t->b->boot_ms};

	data_version_put_json(&v, out);
}

void
req_timer_metrics(struct broker *b, struct conn *c, struct command *cmd)
{
	const struct timer *t = b->timer;
	struct request_id id;
	struct buf body = {0};
	bool first = true;

	request_id_of(&id, cmd);
	buf_put_str(&body, "{\"dataVersion\":");
	put_version(t, &body);
	buf_put_str(&body, ",\"timingCount\":{");
	for (uint32_t i = 0; i < t->topics; i++) {
		if (!first)
			buf_put_char(&body, ',');
		first = false;
		buf_put_json(&body, slice_of(t->topic[i].name));
		buf_printf(&body, ":{\"count\":%lld,\"timeStamp\":%lld}", (long long)t->topic[i].count,
			   (long long)t->topic[i].changed_ms);
	}
	buf_put_str(&body, "}}");
	answer_buf(c, &id, &body);
}

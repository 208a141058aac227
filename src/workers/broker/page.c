/*
 * page: what the console shows of this broker, as JSON text; written once a second while somebody looks.
 *
 * Runs in:    the broker process.
 * Must not:   grow with the store: the busiest topics and the groups that lag most are listed, the totals say how many there are.
 */
#include "common/clock.h"
#include "workers/broker/admin.h"
#include "workers/broker/announce.h"
#include "workers/broker/brstats.h"
#include "workers/broker/clients.h"
#include "workers/broker/cold.h"
#include "workers/broker/delay.h"
#include "workers/broker/hold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop.h"
#include "workers/broker/reread.h"
#include "workers/broker/role.h"
#include "workers/broker/timer.h"
#include "workers/broker/txn.h"
#include "workers/broker/waiters.h"

#define TOPICS_SHOWN	   500
#define GROUPS_SHOWN	   300
#define GROUP_TOPICS_SHOWN 20

struct topic_row {
	const struct topic *topic;
	double		put_tps;
	int64_t		messages;
};

struct group_topic {
	struct slice	topic;	/* of the topics table */
	int64_t		lag;
};

struct group_row {
	const char	*name;	/* in the arena */
	const char	*model;
	unsigned	 members, topics, shown;
	int64_t		 lag;
	struct group_topic topic[GROUP_TOPICS_SHOWN];
};

struct page {
	struct broker	*b;
	struct arena	 arena;
	struct topic_row *topics;
	struct group_row *groups, *current;
	size_t		 topic_count, group_count, group_cap;
	int64_t		 total_lag;
};

/* ---- topics */

static void
add_topic(void *arg, struct topic *t)
{
	struct page *p = arg;
	struct topic_row *row = &p->topics[p->topic_count++];

	*row = (struct topic_row){.topic = t, .put_tps = brstats_topic_put_tps(p->b->stats, t->name_slice)};
	for (int32_t id = 0; id < MAX_OF(t->read_queues, t->write_queues); id++) {
		struct store_queue *q = store_queue_find(p->b->store, t->name_slice, id);

		if (q != NULL)
			row->messages += queue_max(q) - queue_min(q);
	}
}

static int
busier_first(const void *a, const void *b)
{
	const struct topic_row *x = a, *y = b;

	if (x->put_tps != y->put_tps)
		return x->put_tps < y->put_tps ? 1 : -1;
	return (x->messages < y->messages) - (x->messages > y->messages);
}

static void
put_total(struct buf *out, const char *way, struct brstats_total t)
{
	buf_printf(out, ",\"messages%s\":%llu,\"bytes%s\":%llu", way, (unsigned long long)t.msgs, way, (unsigned long long)t.bytes);
}

static void
put_topics(struct page *p, struct buf *out)
{
	p->topics = xcalloc(topics_count(p->b->topics) + 1, sizeof(p->topics[0]));
	topics_each(p->b->topics, add_topic, p);
	qsort(p->topics, p->topic_count, sizeof(p->topics[0]), busier_first);
	buf_printf(out, ",\"topicCount\":%zu,\"topics\":[", p->topic_count);
	for (size_t i = 0; i < MIN_OF(p->topic_count, TOPICS_SHOWN); i++) {
		const struct topic_row *row = &p->topics[i];

		buf_put_str(out, i > 0 ? ",{\"topic\":" : "{\"topic\":");
		buf_put_json(out, row->topic->name_slice);
		put_total(out, "In", brstats_topic_put_total(p->b->stats, row->topic->name_slice));
		buf_printf(out, ",\"putTps\":%.2f,\"messages\":%lld,\"queues\":%d}", row->put_tps, (long long)row->messages,
		    MAX_OF(row->topic->read_queues, row->topic->write_queues));
	}
	buf_put_char(out, ']');
}

/* ---- groups */

static int64_t
topic_lag(struct broker *b, struct slice group, const struct topic *t)
{
	int64_t lag = 0, done;

	for (int32_t id = 0; id < t->read_queues; id++) {
		struct store_queue *q = store_queue_find(b->store, t->name_slice, id);

		if (q == NULL || (done = offset_get(b->offsets, group, t->name_slice, id)) < 0)
			continue;
		lag += MAX_OF(queue_max(q) - MAX_OF(done, queue_min(q)), 0);
	}
	return lag;
}

static void
add_group_topic(void *arg, struct slice topic)
{
	struct page *p = arg;
	struct group_row *row = p->current;
	const struct topic *t = topic_find(p->b->topics, topic);
	int64_t lag;

	if (t == NULL)
		return;
	lag = topic_lag(p->b, slice_of(row->name), t);
	row->lag += lag;
	row->topics++;
	if (row->shown < GROUP_TOPICS_SHOWN)
		row->topic[row->shown++] = (struct group_topic){t->name_slice, lag};
}

static void
add_group(void *arg, struct slice name)
{
	struct page *p = arg;
	const struct consumer_group *g = consumer_group_find(p->b->clients, name);

	if (p->group_count == p->group_cap) {
		p->group_cap = p->group_cap == 0 ? 64 : p->group_cap * 2;
		p->groups = xrealloc(p->groups, p->group_cap * sizeof(p->groups[0]));
	}
	p->current = &p->groups[p->group_count++];
	*p->current = (struct group_row){.name = arena_slicedup(&p->arena, name),
	    .model = g != NULL ? message_model_names[g->model] : "", .members = g != NULL ? g->member_count : 0};
	offsets_each_topic_of(p->b->offsets, name, add_group_topic, p);
	p->total_lag += p->current->lag;
}

static int
later_first(const void *a, const void *b)
{
	const struct group_row *x = a, *y = b;

	return (x->lag < y->lag) - (x->lag > y->lag);
}

static void
put_group(const struct page *p, const struct group_row *row, struct buf *out)
{
	buf_put_str(out, "{\"group\":");
	buf_put_json(out, slice_of(row->name));
	buf_printf(out, ",\"model\":\"%s\",\"members\":%u,\"lag\":%lld,\"topicCount\":%u,\"topics\":[", row->model, row->members,
	    (long long)row->lag, row->topics);
	for (unsigned i = 0; i < row->shown; i++) {
		buf_put_str(out, i > 0 ? ",{\"topic\":" : "{\"topic\":");
		buf_put_json(out, row->topic[i].topic);
		put_total(out, "Out", brstats_group_get_total(p->b->stats, row->topic[i].topic, slice_of(row->name)));
		buf_printf(out, ",\"lag\":%lld}", (long long)row->topic[i].lag);
	}
	buf_put_str(out, "]}");
}

static void
put_groups(struct page *p, struct buf *out)
{
	offsets_each_group(p->b->offsets, add_group, p);
	if (p->group_count > 0)
		qsort(p->groups, p->group_count, sizeof(p->groups[0]), later_first);
	buf_printf(out, ",\"totalLag\":%lld,\"groupCount\":%zu,\"groups\":[", (long long)p->total_lag, p->group_count);
	for (size_t i = 0; i < MIN_OF(p->group_count, GROUPS_SHOWN); i++) {
		if (i > 0)
			buf_put_char(out, ',');
		put_group(p, &p->groups[i], out);
	}
	buf_put_char(out, ']');
}

/* ---- the node */

static void
put_node(struct broker *b, struct buf *out)
{
	const struct shm_line_broker *line = &b->w->shm->broker;

	buf_printf(out, "{\"role\":\"%s\",\"state\":\"%s\",\"address\":\"%s\",\"connections\":%lld,\"producers\":%lld,\"consumers\":%lld",
	    role_name(b->conf->brokerRole), node_state_name((enum node_state)atomic_load(&line->state)), b->store_host_text,
	    (long long)atomic_load(&line->connections), (long long)atomic_load(&line->producers),
	    (long long)atomic_load(&line->consumers));
	buf_printf(out, ",\"permission\":%d,\"requestsHeld\":%zu,\"requestsCold\":%zu,\"sendsWaiting\":%zu",
	    b->conf->brokerPermission, hold_count(b->hold), cold_count(b->cold),
	    waiters_count(b->waiters));
}

static void
put_store(struct broker *b, struct buf *out)
{
	const char *refusal = store_refusal(b->store);
	struct store_facts f;

	store_facts(b->store, &f);
	buf_printf(out, ",\"store\":{\"logMin\":%lld,\"logMax\":%lld,\"flushed\":%lld,\"dispatched\":%lld,\"replicated\":%lld",
	    (long long)f.log_min, (long long)f.log_max, (long long)f.flushed, (long long)f.dispatched, (long long)f.replicated);
	buf_printf(out, ",\"earliestStoreMs\":%lld,\"logDiskRatio\":%.3f,\"queueDiskRatio\":%.3f,\"diskTotal\":%lld,\"diskFree\":%lld",
	    (long long)f.earliest_store_ms, f.log_disk_ratio, f.queue_disk_ratio, (long long)f.disk_total, (long long)f.disk_free);
	buf_printf(out, ",\"segments\":%lld,\"queueFiles\":%lld,\"indexFiles\":%lld,\"refuses\":", (long long)f.segments,
	    (long long)f.queue_files, (long long)f.index_files);
	buf_put_json(out, slice_of(refusal != NULL ? refusal : ""));
	buf_put_char(out, '}');
}

/* Levels in use. */
static void
put_delays(struct broker *b, struct buf *out)
{
	struct delay_state s;
	bool first = true;

	buf_put_str(out, ",\"delayLevels\":[");
	for (int level = 1; level <= delay_levels(b->delay); level++) {
		delay_state(b->delay, level, &s);
		if (s.queue_max == 0)
			continue;
		buf_printf(out, "%s{\"level\":%d,\"delayMs\":%lld,\"pending\":%lld,\"nextDueMs\":%lld,\"delivered\":%llu}", first ? "" : ",",
		    level, (long long)s.delay_ms, (long long)MAX_OF(s.queue_max - s.delivered_to, 0), (long long)s.next_due_ms,
		    (unsigned long long)s.delivered);
		first = false;
	}
	buf_put_char(out, ']');
}

static void
put_transactions(struct broker *b, struct buf *out)
{
	const struct shm_counters *k = &b->w->shm->counters;
	struct txn_state s;

	txn_state(b->txn, &s);
	buf_printf(out, ",\"transactions\":{\"undecided\":%lld,\"oldestAgeMs\":%lld", (long long)s.undecided,
	    (long long)(s.oldest_ms < 0 ? -1 : MAX_OF(clock_wall_ms() - s.oldest_ms, 0)));
	buf_printf(out, ",\"committed\":%llu,\"rolledBack\":%llu,\"asked\":%llu,\"givenUp\":%llu}",
	    (unsigned long long)atomic_load(&k->txn_committed), (unsigned long long)atomic_load(&k->txn_rolled_back),
	    (unsigned long long)atomic_load(&k->txn_checked), (unsigned long long)atomic_load(&k->txn_given_up));
}

void
broker_page_write(struct broker *b)
{
	struct page p = {.b = b};
	struct buf out = {0};

	reread_begin(b);
	put_node(b, &out);
	put_topics(&p, &out);
	put_groups(&p, &out);
	buf_put_str(&out, ",\"nameServers\":[");
	announce_put_json(b->announce, &out);
	buf_put_char(&out, ']');
	put_delays(b, &out);
	buf_put_str(&out, ",\"timer\":");
	timer_put_json(b->timer, &out);
	buf_put_str(&out, ",\"pop\":");
	pop_put_json(b->pop, &out);
	put_transactions(b, &out);
	buf_put_str(&out, ",\"replication\":");
	adm_put_replication(b, &out);
	put_store(b, &out);
	buf_put_char(&out, '}');
	reread_never_mind(b);
	if (out.failed || page_publish(b->w->page, buf_slice(&out)) != RC_OK)
		log_warn("the status page of %zu bytes was not written", out.len);
	buf_free(&out);
	arena_free(&p.arena);
	free(p.topics);
	free(p.groups);
}

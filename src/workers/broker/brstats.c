/*
 * brstats: how much goes in and out per topic and group, sampled as the original does.
 *
 * Runs in:    the broker process.
 * Owns:       an item per topic, and per topic and group; the node's samples of each second.
 *
 * An item keeps totals and three rings of samples: seven of 10 s ("minute"), seven of 10 minutes ("hour"), 25 of an hour
 * ("day"). A rate is the difference of the newest and the oldest sample of a ring. An item exists after its first event.
 */
#include "workers/broker/brstats.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/table.h"

#define MINUTE_STEP_S	10
#define HOUR_STEP_S	600
#define DAY_STEP_S	3600
#define NODE_SECONDS	601	/* ten minutes and the sample before */
#define KEY_MAX		600	/* topic, '@', group */

struct sample {
	int64_t		at_ms;
	uint64_t	calls, msgs, bytes;
};

struct ring {
	struct sample	*samples;
	uint8_t		 count, first, size;
};

enum span { SPAN_MINUTE, SPAN_HOUR, SPAN_DAY, SPANS };
static const struct {
	int64_t	step_s;
	uint8_t	size;
} spans[SPANS] = {{MINUTE_STEP_S, 7}, {HOUR_STEP_S, 7}, {DAY_STEP_S, 25}};

struct item {
	UT_hash_handle	 hh;
	char		*key;
	struct sample	 now;
	struct ring	 rings[SPANS];
	struct sample	 space[7 + 7 + 25];
};

struct node_second {
	int64_t		at_ms;
	uint64_t	put, got;
};

struct brstats {
	struct broker	*b;
	struct item	*topics, *groups;	/* by "topic", by "topic@group" */
	struct item	*node_put, *node_get;	/* one each, by the cluster's name */
	struct node_second seconds[NODE_SECONDS];
	unsigned	 second_count, second_first;
	int64_t		 next_s[SPANS];
};

/* ---- items */

static struct item *
item_new(struct item **table, struct slice key)
{
	struct item *it = xcalloc(1, sizeof(*it));
	struct sample *space = it->space;

	it->key = xslicedup(key);
	for (int span = 0; span < SPANS; span++) {
		it->rings[span] = (struct ring){.samples = space, .size = spans[span].size};
		space += spans[span].size;
	}
	TABLE_ADD(*table, key, it);
	return it;
}

static struct item *
item_get(struct item **table, struct slice key)
{
	struct item *it;

	TABLE_FIND(*table, key, it);
	return it != NULL ? it : item_new(table, key);
}

static void
item_remove(struct item **table, struct item *it)
{
	HASH_DEL(*table, it);
	free(it->key);
	free(it);
}

static void
table_clear(struct item **table)
{
	while (*table != NULL)
		item_remove(table, *table);
}

static void
item_add(struct item *it, uint64_t calls, uint64_t msgs, uint64_t bytes)
{
	it->now.calls += calls;
	it->now.msgs += msgs;
	it->now.bytes += bytes;
}

struct brstats *
brstats_new(struct broker *b)
{
	struct brstats *s = xcalloc(1, sizeof(*s));
	int64_t now_s = clock_mono_ms() / 1000;

	s->b = b;
	for (int span = 0; span < SPANS; span++)
		s->next_s[span] = now_s + spans[span].step_s;
	return s;
}

void
brstats_free(struct brstats **s)
{
	if (*s == NULL)
		return;
	table_clear(&(*s)->topics);
	table_clear(&(*s)->groups);
	table_clear(&(*s)->node_put);
	table_clear(&(*s)->node_get);
	free(*s);
	*s = NULL;
}

/* ---- events */

static struct slice
cluster(const struct brstats *s)
{
	return slice_of(s->b->conf->brokerClusterName);
}

void
brstats_put(struct brstats *s, struct slice topic, uint64_t requests, uint64_t msgs, uint64_t bytes)
{
	item_add(item_get(&s->topics, topic), requests, msgs, bytes);
	item_add(item_get(&s->node_put, cluster(s)), 0, msgs, bytes);
}

static struct slice
group_key(struct slice topic, struct slice group, char text[KEY_MAX])
{
	size_t t = MIN_OF(topic.n, KEY_MAX / 2 - 1), g = MIN_OF(group.n, KEY_MAX / 2);

	memcpy(text, topic.p, t);
	text[t] = '@';
	memcpy(text + t + 1, group.p, g);
	return (struct slice){text, t + 1 + g};
}

void
brstats_get(struct brstats *s, struct slice topic, struct slice group, uint64_t msgs, uint64_t bytes)
{
	char text[KEY_MAX];

	item_add(item_get(&s->groups, group_key(topic, group, text)), 1, msgs, bytes);
	item_add(item_get(&s->node_get, cluster(s)), 0, msgs, bytes);
}

/* ---- sampling */

static void
ring_add(struct ring *r, const struct sample *now)
{
	if (r->count == r->size) {
		r->first = (uint8_t)((r->first + 1) % r->size);
		r->count--;
	}
	r->samples[(r->first + r->count++) % r->size] = *now;
}

static void
item_sample(struct item *it, enum span span, int64_t now_ms)
{
	struct ring *r = &it->rings[span];
	struct sample before = {.at_ms = now_ms - spans[span].step_s * 1000};

	it->now.at_ms = now_ms;
	if (r->count == 0)
		ring_add(r, &before);
	ring_add(r, &it->now);
}

static void
table_sample(struct item *table, enum span span, int64_t now_ms)
{
	for (struct item *it = table; it != NULL; it = it->hh.next)
		item_sample(it, span, now_ms);
}

static void
node_sample(struct brstats *s, int64_t now_ms)
{
	const struct shm_counters *k = &s->b->w->shm->counters;

	if (s->second_count == NODE_SECONDS) {
		s->second_first = (s->second_first + 1) % NODE_SECONDS;
		s->second_count--;
	}
	s->seconds[(s->second_first + s->second_count++) % NODE_SECONDS] = (struct node_second){.at_ms = now_ms,
	    .put = atomic_load_explicit((shm_u64 *)&k->put_msgs, memory_order_relaxed),
	    .got = atomic_load_explicit((shm_u64 *)&k->get_msgs, memory_order_relaxed)};
}

void
brstats_second(struct brstats *s)
{
	int64_t now_ms = clock_mono_ms();

	node_sample(s, now_ms);
	for (int span = 0; span < SPANS; span++) {
		if (now_ms / 1000 < s->next_s[span])
			continue;
		s->next_s[span] = now_ms / 1000 + spans[span].step_s;
		table_sample(s->topics, (enum span)span, now_ms);
		table_sample(s->groups, (enum span)span, now_ms);
		table_sample(s->node_put, (enum span)span, now_ms);
		table_sample(s->node_get, (enum span)span, now_ms);
	}
}

/* ---- removal */

static void
remove_matching(struct item **table, struct slice name, bool at_begin)
{
	struct item *it, *next;

	for (it = *table; it != NULL; it = next) {
		struct slice key = slice_of(it->key);

		next = it->hh.next;
		if (name.n == 0 || key.n <= name.n)
			continue;
		if (at_begin ? memcmp(key.p, name.p, name.n) == 0 && key.p[name.n] == '@'
			     : memcmp(key.p + key.n - name.n, name.p, name.n) == 0 && key.p[key.n - name.n - 1] == '@')
			item_remove(table, it);
	}
}

void
brstats_remove_topic(struct brstats *s, struct slice topic)
{
	struct item *it;

	TABLE_FIND(s->topics, topic, it);
	if (it != NULL)
		item_remove(&s->topics, it);
	remove_matching(&s->groups, topic, true);
}

void
brstats_remove_group(struct brstats *s, struct slice group)
{
	remove_matching(&s->groups, group, false);
}

/* ---- answers */

struct stats_row {
	uint64_t	sum;
	double		tps, per_call;
};

static struct stats_row
row_of(const struct ring *r, bool bytes)
{
	struct stats_row row = {0, 0, 0};
	const struct sample *old, *new;
	uint64_t calls;

	if (r->count == 0)
		return row;
	old = &r->samples[r->first];
	new = &r->samples[(r->first + r->count - 1) % r->size];
	row.sum = bytes ? new->bytes - old->bytes : new->msgs - old->msgs;
	calls = new->calls - old->calls;
	if (new->at_ms > old->at_ms)
		row.tps = (double)row.sum * 1000.0 / (double)(new->at_ms - old->at_ms);
	if (calls > 0)
		row.per_call = (double)row.sum / (double)calls;
	return row;
}

/* As Java writes a double: always with a point. */
static void
put_double(struct buf *out, double v)
{
	char text[40];

	snprintf(text, sizeof(text), "%.15g", v);
	buf_put_str(out, text);
	if (strpbrk(text, ".en") == NULL)
		buf_put_str(out, ".0");
}

static void
put_row(struct buf *out, const char *name, const struct ring *r, bool bytes)
{
	struct stats_row row = row_of(r, bytes);

	buf_printf(out, "\"%s\":{\"avgpt\":", name);
	put_double(out, row.per_call);
	buf_printf(out, ",\"sum\":%llu,\"tps\":", (unsigned long long)row.sum);
	put_double(out, row.tps);
	buf_put_char(out, '}');
}

static struct item *
find_item(struct brstats *s, struct slice name, struct slice key, bool *bytes)
{
	struct item *it = NULL;

	*bytes = slice_is(name, "TOPIC_PUT_SIZE") || slice_is(name, "GROUP_GET_SIZE");
	if (key.n == 0)
		return NULL;
	if (slice_is(name, "TOPIC_PUT_NUMS") || slice_is(name, "TOPIC_PUT_SIZE"))
		TABLE_FIND(s->topics, key, it);
	else if (slice_is(name, "GROUP_GET_NUMS") || slice_is(name, "GROUP_GET_SIZE"))
		TABLE_FIND(s->groups, key, it);
	else if (slice_is(name, "BROKER_PUT_NUMS"))
		TABLE_FIND(s->node_put, key, it);
	else if (slice_is(name, "BROKER_GET_NUMS"))
		TABLE_FIND(s->node_get, key, it);
	return it;
}

enum rc
brstats_put_json(struct brstats *s, struct slice name, struct slice key, struct buf *out)
{
	bool bytes;
	struct item *it = find_item(s, name, key, &bytes);

	if (it == NULL)
		return RC_NOTFOUND;
	buf_put_char(out, '{');
	put_row(out, "statsDay", &it->rings[SPAN_DAY], bytes);
	buf_put_char(out, ',');
	put_row(out, "statsHour", &it->rings[SPAN_HOUR], bytes);
	buf_put_char(out, ',');
	put_row(out, "statsMinute", &it->rings[SPAN_MINUTE], bytes);
	buf_put_char(out, '}');
	return RC_OK;
}

double
brstats_topic_put_tps(struct brstats *s, struct slice topic)
{
	struct item *it;

	TABLE_FIND(s->topics, topic, it);
	return it == NULL ? 0.0 : row_of(&it->rings[SPAN_MINUTE], false).tps;
}

double
brstats_group_get_tps(struct brstats *s, struct slice topic, struct slice group)
{
	char text[KEY_MAX];
	struct slice key = group_key(topic, group, text);
	struct item *it;

	TABLE_FIND(s->groups, key, it);
	return it == NULL ? 0.0 : row_of(&it->rings[SPAN_MINUTE], false).tps;
}

static struct brstats_total
total_of(const struct item *it)
{
	return it == NULL ? (struct brstats_total){0} : (struct brstats_total){it->now.msgs, it->now.bytes};
}

struct brstats_total
brstats_topic_put_total(struct brstats *s, struct slice topic)
{
	struct item *it;

	TABLE_FIND(s->topics, topic, it);
	return total_of(it);
}

struct brstats_total
brstats_group_get_total(struct brstats *s, struct slice topic, struct slice group)
{
	char text[KEY_MAX];
	struct slice key = group_key(topic, group, text);
	struct item *it;

	TABLE_FIND(s->groups, key, it);
	return total_of(it);
}

static void
put_node_rate(const struct brstats *s, bool put, unsigned seconds, struct buf *out)
{
	const struct node_second *old, *new;
	uint64_t n;

	if (s->second_count <= seconds)
		return;
	new = &s->seconds[(s->second_first + s->second_count - 1) % NODE_SECONDS];
	old = &s->seconds[(s->second_first + s->second_count - 1 - seconds) % NODE_SECONDS];
	n = put ? new->put - old->put : new->got - old->got;
	put_double(out, new->at_ms > old->at_ms ? (double)n * 1000.0 / (double)(new->at_ms - old->at_ms) : 0.0);
}

void
brstats_put_tps_text(struct brstats *s, bool put, struct buf *out)
{
	put_node_rate(s, put, 10, out);
	buf_put_char(out, ' ');
	put_node_rate(s, put, 60, out);
	buf_put_char(out, ' ');
	put_node_rate(s, put, 600, out);
}

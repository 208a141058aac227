/*
 * bench_target: finds the broker to load and makes the topic; reads everything back for --verify.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/message.h"
#include "tools/ask.h"
#include "tools/bench.h"

#define ANSWER_MS 10000

/* The first master in the answer of 105 or 106. */
static bool
first_master(const json_t *brokers, struct bench_target *t)
{
	const char *key;
	const json_t *b;
	size_t i;

	if (json_is_object(brokers)) {
		json_object_foreach((json_t *)brokers, key, b) {
			const char *addr = json_string_value(json_object_get(json_object_get(b, "brokerAddrs"), "0"));
			if (addr != NULL) {
				snprintf(t->broker, sizeof(t->broker), "%s", addr);
				snprintf(t->broker_name, sizeof(t->broker_name), "%s", json_get_str(b, "brokerName", ""));
				return true;
			}
		}
		return false;
	}
	json_array_foreach((json_t *)brokers, i, b) {
		json_t *one = json_pack("{s:O}", json_get_str(b, "brokerName", "?"), b);
		bool found = first_master(one, t);
		json_decref(one);
		if (found)
			return true;
	}
	return false;
}

static enum rc
find_broker(const struct bench_opts *o, struct bench_target *t, struct err *e)
{
	struct ask a;
	json_t *body = NULL;
	bool found = false;
	enum rc rc = ask_open(&a, o->namesrv, ANSWER_MS, e);

	if (rc != RC_OK)
		return rc;
	ask_begin(&a, REQ_GET_BROKER_CLUSTER_INFO);
	rc = ask_need(&a, SLICE_NONE, e);
	if (rc == RC_OK)
		rc = json_load_relaxed(a.answer.body, &body, e);
	if (rc == RC_OK) {
		found = first_master(json_object_get(body, "brokerAddrTable"), t);
		json_decref(body);
		if (!found)
			err_set(e, "name server %s knows no master broker", o->namesrv);
	}
	ask_close(&a);
	return rc != RC_OK ? rc : found ? RC_OK : RC_NOTFOUND;
}

/* Makes the topic, or, when it has other queues than were asked for, changes it. */
static enum rc
make_topic(const struct bench_opts *o, struct bench_target *t, struct err *e)
{
	struct ask a;
	enum rc rc = ask_open(&a, t->broker, ANSWER_MS, e);

	if (rc != RC_OK)
		return rc;
	ask_begin(&a, REQ_UPDATE_AND_CREATE_TOPIC);
	frame_field(&a.f, "topic", slice_of(o->topic));
	frame_field(&a.f, "defaultTopic", SLICE_LIT("TBW102"));
	frame_field_i64(&a.f, "readQueueNums", o->queues);
	frame_field_i64(&a.f, "writeQueueNums", o->queues);
	frame_field_i64(&a.f, "perm", 6);
	frame_field(&a.f, "topicFilterType", SLICE_LIT("SINGLE_TAG"));
	frame_field_i64(&a.f, "topicSysFlag", 0);
	frame_field_bool(&a.f, "order", false);
	rc = ask_need(&a, SLICE_NONE, e);
	ask_close(&a);
	return rc;
}

enum rc
bench_find_target(const struct bench_opts *o, struct bench_target *t, struct err *e)
{
	enum rc rc = RC_OK;

	memset(t, 0, sizeof(*t));
	t->queues = o->queues;
	if (o->broker != NULL)
		snprintf(t->broker, sizeof(t->broker), "%s", o->broker);
	else
		rc = find_broker(o, t, e);
	return rc == RC_OK ? make_topic(o, t, e) : rc;
}

/* ---- verify */

struct line {
	unsigned	queue;
	int64_t		offset;
	unsigned long long unique;
};

struct ledger {
	struct line	*lines;
	size_t		 count, cap;
};

static int
by_place(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static bool
read_ledger(const char *path, struct ledger *g)
{
	FILE *f = fopen(path, "r");
	long long offset;
	struct line n;

	if (f == NULL)
		return false;
	while (fscanf(f, "%u %lld %llx", &n.queue, &offset, &n.unique) == 3) {
		n.offset = offset;
		if (g->count == g->cap) {
			g->cap = g->cap ? g->cap * 2 : 4096;
			g->lines = xrealloc(g->lines, g->cap * sizeof(*g->lines));
		}
		g->lines[g->count++] = n;
	}
	fclose(f);
	if (g->count > 0)
		qsort(g->lines, g->count, sizeof(*g->lines), by_place);
	return true;
}

struct reader {
	struct ask	a;
	const struct bench_opts *o;
	struct ledger	*g;
	size_t		 at;		/* next line of the ledger */
	uint64_t	 read, wrong;
};

static void
check_record(struct reader *r, unsigned queue, const struct message *m, int64_t expected)
{
	struct slice unique = props_get(m->props[0], "UNIQ_KEY");
	unsigned long long have = 0;
	char text[17] = "";

	r->read++;
	if (m->queue_offset != expected && r->wrong++ < 20)
		fprintf(stderr, "queue %u: offset %lld where %lld should be\n", queue, (long long)m->queue_offset, (long long)expected);
	if (unique.n == 32) {
		memcpy(text, unique.p + 16, 16);
		have = strtoull(text, NULL, 16);
	}
	while (r->at < r->g->count && r->g->lines[r->at].queue == queue && r->g->lines[r->at].offset <= m->queue_offset) {
		struct line *n = &r->g->lines[r->at++];
		if ((n->offset != m->queue_offset || n->unique != have) && r->wrong++ < 20)
			fprintf(stderr, "queue %u offset %lld: acknowledged %016llX, stored %016llX\n", queue, (long long)n->offset,
			    n->unique, have);
	}
}

static enum rc
pull_once(struct reader *r, unsigned queue, int64_t offset, struct err *e)
{
	ask_begin(&r->a, REQ_PULL_MESSAGE);
	frame_field(&r->a.f, "consumerGroup", slice_of(r->o->group));
	frame_field(&r->a.f, "topic", slice_of(r->o->topic));
	frame_field_i64(&r->a.f, "queueId", queue);
	frame_field_i64(&r->a.f, "queueOffset", offset);
	frame_field_i64(&r->a.f, "maxMsgNums", 32);
	frame_field_i64(&r->a.f, "sysFlag", 4);
	frame_field_i64(&r->a.f, "commitOffset", 0);
	frame_field_i64(&r->a.f, "suspendTimeoutMillis", 0);
	frame_field(&r->a.f, "subscription", SLICE_LIT("*"));
	frame_field_i64(&r->a.f, "subVersion", 0);
	return ask_end(&r->a, SLICE_NONE, e);
}

static enum rc
read_queue(struct reader *r, unsigned queue, struct err *e)
{
	int64_t offset = 0, next;
	struct message m;
	enum rc rc;

	for (;;) {
		struct slice rest;
		rc = pull_once(r, queue, offset, e);
		if (rc != RC_OK)
			return rc;
		next = field_i64(&r->a.answer, "nextBeginOffset", offset);
		if (r->a.answer.code == RES_PULL_NOT_FOUND || next == offset)
			break;
		for (rest = r->a.answer.body; rest.n > 0 && message_decode(&m, rest.p, rest.n, true) == RC_OK; offset++) {
			check_record(r, queue, &m, offset);
			rest = (struct slice){rest.p + m.size, rest.n - m.size};
		}
		offset = next;
	}
	for (; r->at < r->g->count && r->g->lines[r->at].queue == queue; r->at++)
		if (r->wrong++ < 20)
			fprintf(stderr, "queue %u offset %lld was acknowledged and is not there\n", queue, (long long)r->g->lines[r->at].offset);
	return RC_OK;
}

int
bench_verify(const struct bench_opts *o, const struct bench_target *t)
{
	struct ledger g = {0};
	struct reader r = {.o = o, .g = &g};
	struct err e;
	enum rc rc = RC_OK;

	if (!read_ledger(o->ledger, &g)) {
		fprintf(stderr, "rmqbench: cannot read %s\n", o->ledger);
		return 1;
	}
	if (ask_open(&r.a, t->broker, ANSWER_MS, &e) != RC_OK) {
		fprintf(stderr, "rmqbench: %s\n", e.text);
		free(g.lines);
		return 1;
	}
	for (unsigned q = 0; q < o->queues && rc == RC_OK; q++)
		rc = read_queue(&r, q, &e);
	if (rc != RC_OK)
		fprintf(stderr, "rmqbench: %s\n", e.text);
	printf("%zu acknowledged, %llu read, %llu wrong\n", g.count, (unsigned long long)r.read, (unsigned long long)r.wrong);
	ask_close(&r.a);
	free(g.lines);
	return rc == RC_OK && r.wrong == 0 ? 0 : 1;
}

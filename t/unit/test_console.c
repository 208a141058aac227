/*
 * The console's pages, made from shared memory that the test fills.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/mem.h"
#include "test.h"
#include "workers/console/console.h"

#define MADE_NOW INT64_C(1795000000000)

enum { W_NS, W_BROKER, W_FLUSH, W_CONSOLE, W_COUNT };

const struct role_def role_defs[ROLE_COUNT] = {
#define ROLE_ROW(NAME, title, per, run, group) {title, PER_##per, NULL, group},
#include "common/roles.tbl"
#undef ROLE_ROW
};

/* One host: a name server, one node of two in the spec. */
struct fixture {
	struct worker w;
	struct cluster_spec cluster;
	struct broker_spec brokers[2];
	struct host_shm	*host;
	struct node_shm	*node;
	struct node_shm	*nodes[1];
	struct shm_page	*pages[W_COUNT];
	struct rates	 rates[1];
};

static void *
lines(size_t n)
{
	void *p = aligned_alloc(SHM_LINE, (n + SHM_LINE - 1) / SHM_LINE * SHM_LINE);

	ensure(p != NULL);
	return memset(p, 0, n);
}

static void
add_worker(struct fixture *f, int i, const char *name, enum role role, int node)
{
	struct shm_worker *sw = &f->host->worker[i];

	snprintf(sw->name, sizeof(sw->name), "%s", name);
	sw->role = (int)role;
	sw->node = node;
	sw->pid = 100 + i;
	sw->state = WORKER_READY;
	sw->last_exit = -1;
	sw->started_ms = MADE_NOW - 60000;
}

static void
add_broker(struct broker_spec *b, const char *name, const char *broker_name, bool here)
{
	struct err e;

	b->name = xstrdup(name);
	b->here = here;
	broker_conf_init(&b->conf);
	ensure(param_set(param_find(&broker_params, SLICE_LIT("brokerName")), &b->conf, slice_of(broker_name), &e) == RC_OK);
}

static void
fixture_make(struct fixture *f)
{
	clock_set_made(MADE_NOW);
	*f = (struct fixture){.host = lines(sizeof(*f->host)), .node = lines(sizeof(*f->node))};
	add_broker(&f->brokers[0], "elsewhere-0", "elsewhere", false);
	add_broker(&f->brokers[1], "broker-a-0", "broker-a", true);
	f->cluster = (struct cluster_spec){.cluster = xstrdup("C1"), .brokers = f->brokers, .broker_count = 2};
	f->nodes[0] = f->node;
	f->host->nodes = 1;
	f->host->workers = W_COUNT;
	f->host->started_ms = MADE_NOW - 3600000;
	add_worker(f, W_NS, "namesrv-9876", WORKER_NAMESRV, -1);
	add_worker(f, W_BROKER, "broker-a-0/broker-store", WORKER_BROKER, 0);
	add_worker(f, W_FLUSH, "broker-a-0/flush", WORKER_FLUSH, 0);
	add_worker(f, W_CONSOLE, "console", WORKER_CONSOLE, -1);
	for (int i = 0; i < W_COUNT; i++)
		f->pages[i] = xcalloc(1, sizeof(struct shm_page) + 65536);
	f->node->broker.state = NODE_RUNNING;
	f->w = (struct worker){.cluster = &f->cluster, .host = f->host, .nodes = f->nodes, .pages = f->pages};
}

static void
fixture_free(struct fixture *f)
{
	for (int i = 0; i < 2; i++) {
		free(f->brokers[i].name);
		broker_conf_free(&f->brokers[i].conf);
	}
	for (int i = 0; i < W_COUNT; i++)
		free(f->pages[i]);
	free(f->cluster.cluster);
	free(f->host);
	free(f->node);
	clock_set_made(-1);
}

static void
write_page(struct fixture *f, int i, const char *json)
{
	ensure(page_publish(f->pages[i], slice_of(json)) == RC_OK);
}

/* The page's text, terminated, to be freed. */
static char *
text_of(struct fixture *f, void (*page)(const struct view *v, struct buf *out))
{
	struct buf out = {0};
	struct view v;

	view_make(&v, &f->w, f->rates);
	page(&v, &out);
	view_free(&v);
	CU_ASSERT_FALSE(out.failed);
	return buf_steal(&out);
}

static json_t *
status_of(struct fixture *f)
{
	char *text = text_of(f, page_status);
	json_error_t at;
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &at);

	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	free(text);
	return o;
}

/* The number at a path such as "nodes.0.positions.appended"; -1 if there is none. */
static double
number_at(json_t *o, const char *path)
{
	struct slice rest = slice_of(path), piece;

	for (const char *p = path; rest.n > 0; p = rest.p) {
		size_t n = strcspn(p, ".");
		char name[64];

		piece = (struct slice){rest.p, MIN_OF(n, rest.n)};
		snprintf(name, sizeof(name), "%.*s", (int)piece.n, piece.p);
		o = isdigit((unsigned char)name[0]) ? json_array_get(o, strtoul(name, NULL, 10)) : json_object_get(o, name);
		rest.p += MIN_OF(piece.n + 1, rest.n);
		rest.n -= MIN_OF(piece.n + 1, rest.n);
	}
	return json_is_number(o) ? json_number_value(o) : -1;
}

static const char *
text_at(json_t *o, const char *list, const char *name)
{
	const char *text = json_string_value(json_object_get(json_array_get(json_object_get(o, list), 0), name));

	return text != NULL ? text : "(none)";
}

static void
status_shows_positions_counters_and_flushes(void)
{
	struct fixture f;
	json_t *o;

	fixture_make(&f);
	f.node->clean.min = 1000;
	f.node->broker.appended = 9000;
	f.node->broker.dispatched = 8000;
	f.node->flush.flushed = 7000;
	f.node->counters.put_msgs = 42;
	f.node->flush.syncs = 4;
	f.node->flush.sync_us = 1000;
	f.node->clean.log_disk_permille = 555;
	f.node->clean.disk_full_in_s = 7200;
	o = status_of(&f);
	CU_ASSERT_STRING_EQUAL(text_at(o, "nodes", "name"), "broker-a-0");
	CU_ASSERT_STRING_EQUAL(text_at(o, "nodes", "state"), "running");
	CU_ASSERT_STRING_EQUAL(text_at(o, "nodes", "role"), "ASYNC_MASTER");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(o, "nodes")), 1);
	CU_ASSERT_EQUAL(number_at(o, "uptimeSeconds"), 3600);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.positions.min"), 1000);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.positions.appended"), 9000);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.positions.dispatched"), 8000);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.positions.flushed"), 7000);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.counters.put_msgs"), 42);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.flush.meanUs"), 250);
	CU_ASSERT_DOUBLE_EQUAL(number_at(o, "nodes.0.disk.logUsedPercent"), 55.5, 0.001);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.disk.fullInSeconds"), 7200);
	json_decref(o);
	fixture_free(&f);
}

static void
status_tells_how_a_worker_died(void)
{
	struct fixture f;
	struct shm_worker *sw;
	json_t *o, *exit;

	fixture_make(&f);
	sw = &f.host->worker[W_NS];
	sw->restarts = 3;
	sw->last_exit = 9;
	sw->last_exit_ms = MADE_NOW - 5000;
	memset(sw->last_words, 'x', sizeof(sw->last_words)); /* not terminated */
	o = status_of(&f);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(o, "workers")), W_COUNT);
	CU_ASSERT_EQUAL(number_at(o, "workers.0.restarts"), 3);
	CU_ASSERT_EQUAL(number_at(o, "workers.0.pid"), 100);
	CU_ASSERT_EQUAL(number_at(o, "workers.0.uptimeSeconds"), 60);
	CU_ASSERT_EQUAL(number_at(o, "workers.0.lastExit.signal"), 9);
	exit = json_object_get(json_array_get(json_object_get(o, "workers"), 0), "lastExit");
	CU_ASSERT_EQUAL(json_string_length(json_object_get(exit, "text")), SHM_TEXT_MAX);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(exit, "time")), "2026-11-18T11:06:35Z");
	CU_ASSERT_PTR_NULL(json_object_get(json_array_get(json_object_get(o, "workers"), 1), "lastExit"));
	json_decref(o);
	fixture_free(&f);
}

static void
status_carries_the_workers_own_pages(void)
{
	struct fixture f;
	json_t *o;

	fixture_make(&f);
	write_page(&f, W_BROKER, "{\"topics\":[{\"topic\":\"t\",\"queues\":8}]}");
	write_page(&f, W_NS, "{\"brokers\":2}");
	clock_advance_ms(700);
	o = status_of(&f);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.broker.topics.0.queues"), 8);
	CU_ASSERT_EQUAL(number_at(o, "nodes.0.pageAgeMs"), 700);
	CU_ASSERT_EQUAL(number_at(o, "nameServers.0.namesrv.brokers"), 2);
	CU_ASSERT_STRING_EQUAL(text_at(o, "nameServers", "name"), "namesrv-9876");
	json_decref(o);
	fixture_free(&f);
}

static void
status_tells_who_is_master_and_what_happened_last(void)
{
	struct fixture f;
	struct shm_failover *fo;
	json_t *o;

	fixture_make(&f);
	fo = &f.host->failover[0];
	*fo = (struct shm_failover){.broker_name = "broker-a", .master = "broker-a-1", .phase = "watching", .why = "it was frozen",
	    .mode = FAILOVER_LOCAL, .epoch = 7, .since_ms = MADE_NOW};
	f.host->failovers = 1;
	for (f.host->events = 0; f.host->events < SHM_EVENTS + 3; f.host->events++)
		snprintf(f.host->event[f.host->events % SHM_EVENTS].text, SHM_TEXT_MAX, "event %d", (int)f.host->events);
	o = status_of(&f);
	CU_ASSERT_STRING_EQUAL(text_at(o, "failover", "brokerName"), "broker-a");
	CU_ASSERT_STRING_EQUAL(text_at(o, "failover", "mode"), "local");
	CU_ASSERT_STRING_EQUAL(text_at(o, "failover", "phase"), "watching");
	CU_ASSERT_STRING_EQUAL(text_at(o, "failover", "master"), "broker-a-1");
	CU_ASSERT_STRING_EQUAL(text_at(o, "failover", "why"), "it was frozen");
	CU_ASSERT_STRING_NOT_EQUAL(text_at(o, "failover", "since"), "(none)");
	CU_ASSERT_EQUAL(number_at(o, "failover.0.epoch"), 7);
	CU_ASSERT_STRING_EQUAL(text_at(o, "events", "text"), "event 66"); /* the newest first */
	CU_ASSERT_EQUAL(json_array_size(json_object_get(o, "events")), SHM_EVENTS);
	json_decref(o);
	fixture_free(&f);
}

static void
a_broken_page_is_left_out(void)
{
	struct fixture f;
	json_t *o;

	fixture_make(&f);
	write_page(&f, W_BROKER, "{\"topics\":");
	write_page(&f, W_NS, "[1]");
	o = status_of(&f);
	CU_ASSERT_TRUE(json_is_null(json_object_get(json_array_get(json_object_get(o, "nodes"), 0), "broker")));
	CU_ASSERT_TRUE(json_is_null(json_object_get(json_array_get(json_object_get(o, "nameServers"), 0), "namesrv")));
	json_decref(o);
	fixture_free(&f);
}

static void
rates_are_over_the_last_ten_seconds(void)
{
	struct rates r = {0};
	struct shm_counters c = {0};

	clock_set_made(MADE_NOW);
	CU_ASSERT_EQUAL(rates_per_second(&r, RATE_MESSAGES_IN), 0);
	c.put_msgs = 1000000;
	rates_sample(&r, &c);
	CU_ASSERT_EQUAL(rates_per_second(&r, RATE_MESSAGES_IN), 0);
	for (int s = 0; s < 25; s++) {
		clock_advance_ms(1000);
		c.put_msgs += s < 15 ? 500 : 100;
		rates_sample(&r, &c);
		if (s == 0)
			CU_ASSERT_DOUBLE_EQUAL(rates_per_second(&r, RATE_MESSAGES_IN), 500, 0.001);
	}
	CU_ASSERT_DOUBLE_EQUAL(rates_per_second(&r, RATE_MESSAGES_IN), 100, 0.001);
	CU_ASSERT_EQUAL(rates_per_second(&r, RATE_BYTES_OUT), 0);
	clock_set_made(-1);
}

/* ---- the text format ---- */

static bool
is_name(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalpha((unsigned char)s[i]) && s[i] != '_' && s[i] != ':' && !(i > 0 && isdigit((unsigned char)s[i])))
			return false;
	return n > 0;
}

/* Behind name="value" at p, or NULL. */
static const char *
skip_label(const char *p)
{
	const char *eq = strchr(p, '=');

	if (eq == NULL || !is_name(p, (size_t)(eq - p)) || eq[1] != '"')
		return NULL;
	for (p = eq + 2; *p != '"'; p++) {
		if (*p == '\0')
			return NULL;
		if (*p == '\\' && strchr("\\\"n", *++p) == NULL)
			return NULL;
	}
	return p + 1;
}

static bool
is_sample(const char *line, const char *family)
{
	const char *p = line + strlen(family);
	char *end;

	if (strncmp(line, family, strlen(family)) != 0)
		return false;
	if (*p == '{') {
		do {
			p = skip_label(p + 1);
		} while (p != NULL && *p == ',');
		if (p == NULL || *p++ != '}')
			return false;
	}
	if (*p++ != ' ')
		return false;
	strtod(p, &end);
	return end != p && *end == '\0';
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Up to the value: what may not come twice. */
static size_t
key_length(const char *line)
{
	return (size_t)(strrchr(line, ' ') - line);
}

static void
check_unique(char **keys, size_t n)
{
	qsort(keys, n, sizeof(*keys), by_text);
	for (size_t i = 1; i < n; i++)
		CU_ASSERT_FALSE(key_length(keys[i]) == key_length(keys[i - 1]) &&
		    strncmp(keys[i], keys[i - 1], key_length(keys[i])) == 0);
}

/* Each family once, HELP then TYPE then its samples; no series twice. Cuts the text into lines. */
static void
check_format(char *text)
{
	char *samples[1000], *types[1000], family[100] = "", *save = NULL;
	size_t n = 0, nt = 0;

	CU_ASSERT_EQUAL(text[strlen(text) - 1], '\n');
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		char kind[20];

		if (strncmp(line, "# HELP ", 7) == 0) {
			CU_ASSERT_EQUAL(sscanf(line, "# HELP %99s", family), 1);
			continue;
		}
		if (strncmp(line, "# TYPE ", 7) == 0) {
			char name[100] = "";

			CU_ASSERT_EQUAL(sscanf(line, "# TYPE %99s %19s", name, kind), 2);
			CU_ASSERT_STRING_EQUAL(name, family);
			CU_ASSERT_TRUE(strcmp(kind, "counter") == 0 || strcmp(kind, "gauge") == 0);
			types[nt++] = line;
			continue;
		}
		if (!is_sample(line, family))
			CU_FAIL(line);
		samples[n++] = line;
		ensure(n < COUNT_OF(samples) && nt < COUNT_OF(types));
	}
	check_unique(samples, n);
	check_unique(types, nt);
	CU_ASSERT_TRUE(n > 50);
}

static void
metrics_follow_the_text_format(void)
{
	struct fixture f;
	char *text;

	fixture_make(&f);
	write_page(&f, W_BROKER,
	    "{\"topics\":[{\"topic\":\"a\",\"messagesIn\":5,\"bytesIn\":1.5},{\"topic\":\"b\\\"\\\\\\n\",\"messagesIn\":6}],"
	    "\"groups\":[{\"group\":\"g\",\"lag\":15,\"topics\":[{\"topic\":\"a\",\"lag\":7},{\"topic\":\"b\",\"lag\":8}]},"
	    "{\"group\":\"no topics\",\"lag\":1},{\"topics\":[{\"topic\":\"no group\",\"lag\":1}]},3,null]}");
	text = text_of(&f, page_metrics);
	check_format(text);
	free(text);
	fixture_free(&f);
}

static void
check_line(const char *text, const char *line)
{
	if (strstr(text, line) == NULL)
		CU_FAIL(line);
}

#define NODE "cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"broker-a\",broker_id=\"0\""

static void
metrics_have_the_originals_names_and_labels(void)
{
	struct fixture f;
	char *text;

	fixture_make(&f);
	f.node->broker.appended = 9000;
	f.node->flush.flushed = 7000;
	f.node->broker.dispatched = 10000;
	write_page(&f, W_BROKER,
	    "{\"permission\":4,\"store\":{\"earliestStoreMs\":1794999999000},"
	    "\"topics\":[{\"topic\":\"orders\",\"messagesIn\":5},{\"topic\":\"RMQ_SYS_TRACE_TOPIC\",\"messagesIn\":1}],"
	    "\"groups\":[{\"group\":\"g\",\"topics\":[{\"topic\":\"%RETRY%g\",\"lag\":7,\"messagesOut\":12345678901234}]}]}");
	text = text_of(&f, page_metrics);
	check_line(text, "\nrocketmq_messages_in_total{" NODE ",topic=\"orders\",is_system=\"false\"} 5\n");
	check_line(text, "\nrocketmq_messages_in_total{" NODE ",topic=\"RMQ_SYS_TRACE_TOPIC\",is_system=\"true\"} 1\n");
	check_line(text, "\nrocketmq_messages_out_total{" NODE
	    ",topic=\"%RETRY%g\",consumer_group=\"g\",is_retry=\"true\",is_system=\"false\"} 12345678901234\n");
	check_line(text, "\nrocketmq_consumer_lag_messages{" NODE
	    ",topic=\"%RETRY%g\",consumer_group=\"g\",is_retry=\"true\",is_system=\"false\"} 7\n");
	check_line(text, "\nrocketmq_storage_flush_behind_bytes{" NODE ",storage_type=\"local\",storage_medium=\"disk\"} 2000\n");
	check_line(text, "\nrocketmq_storage_dispatch_behind_bytes{" NODE ",storage_type=\"local\",storage_medium=\"disk\"} 0\n");
	check_line(text, "\nrocketmq_storage_message_reserve_time_milliseconds{" NODE
	    ",storage_type=\"local\",storage_medium=\"disk\"} 1000\n");
	check_line(text, "\nrocketmq_broker_permission{" NODE "} 4\n");
	check_line(text, "\nrmqsupervisor_node_state{" NODE ",state=\"running\"} 1\n");
	check_line(text, "\nrmqsupervisor_node_state{" NODE ",state=\"failed\"} 0\n");
	check_line(text, "\nrmqsupervisor_worker_up{worker=\"broker-a-0/flush\",role=\"flush\"} 1\n");
	free(text);
	fixture_free(&f);
}

static void
without_a_page_there_are_node_metrics_only(void)
{
	struct fixture f;
	char *text;

	fixture_make(&f);
	f.node->counters.put_msgs = 77;
	text = text_of(&f, page_metrics);
	check_line(text, "\nrmqsupervisor_messages_in_total{" NODE "} 77\n");
	check_line(text, "\nrocketmq_broker_permission{" NODE "} 6\n");
	CU_ASSERT_PTR_NULL(strstr(text, "\nrocketmq_messages_in_total{"));
	CU_ASSERT_PTR_NULL(strstr(text, "\nrocketmq_storage_message_reserve_time_milliseconds{"));
	check_format(text);
	free(text);
	fixture_free(&f);
}

static void
check_health(struct fixture *f, bool healthy, const char *wanted)
{
	struct buf out = {0};
	struct view v;
	char *text;

	view_make(&v, &f->w, f->rates);
	CU_ASSERT_EQUAL(page_health(&v, &out), healthy);
	view_free(&v);
	text = buf_steal(&out);
	CU_ASSERT_STRING_EQUAL(text, wanted);
	free(text);
}

static void
health_names_the_first_reason(void)
{
	struct fixture f;

	fixture_make(&f);
	check_health(&f, true, "ok\n");
	f.node->broker.state = NODE_READONLY;
	check_health(&f, true, "ok\n");
	f.host->worker[W_FLUSH].state = WORKER_BACKOFF;
	f.host->worker[W_FLUSH].restarts = 4;
	check_health(&f, false, "worker broker-a-0/flush is waiting before a restart, restarted 4 times\n");
	f.node->broker.state = NODE_FAILED;
	f.node->flush.failed_errno = EIO;
	check_health(&f, false, "node broker-a-0 has failed: Input/output error\n");
	fixture_free(&f);
}

static void
pages_are_fresh_for_three_seconds(void)
{
	struct fixture f;

	fixture_make(&f);
	CU_ASSERT_FALSE(view_pages_fresh(&f.w, clock_wall_ms()));
	write_page(&f, W_BROKER, "{}");
	CU_ASSERT_FALSE(view_pages_fresh(&f.w, clock_wall_ms()));
	write_page(&f, W_NS, "{}");
	CU_ASSERT_TRUE(view_pages_fresh(&f.w, clock_wall_ms()));
	clock_advance_ms(PAGE_FRESH_MS);
	CU_ASSERT_TRUE(view_pages_fresh(&f.w, clock_wall_ms()));
	clock_advance_ms(1);
	CU_ASSERT_FALSE(view_pages_fresh(&f.w, clock_wall_ms()));
	f.host->worker[W_BROKER].state = WORKER_BACKOFF; /* who does not serve is not waited for */
	f.host->worker[W_NS].state = WORKER_DEAD;
	CU_ASSERT_TRUE(view_pages_fresh(&f.w, clock_wall_ms()));
	fixture_free(&f);
}

TEST_MAIN("console/pages", TEST(status_shows_positions_counters_and_flushes), TEST(status_tells_how_a_worker_died),
    TEST(status_carries_the_workers_own_pages), TEST(status_tells_who_is_master_and_what_happened_last),
    TEST(a_broken_page_is_left_out), TEST(rates_are_over_the_last_ten_seconds),
    TEST(metrics_follow_the_text_format), TEST(metrics_have_the_originals_names_and_labels),
    TEST(without_a_page_there_are_node_metrics_only), TEST(health_names_the_first_reason),
    TEST(pages_are_fresh_for_three_seconds))

/*
 * page_metrics: /metrics, in Prometheus' text format 0.0.4.
 *
 * Names and labels are the original's (5.x, its Prometheus exporter) where it has such a metric: cluster, node_type, node_id
 * (the brokerName), topic, consumer_group, is_retry, is_system. broker_id is ours: a master and its slave on one host would
 * be one series without it. What the original does not have begins with rmqsupervisor_.
 *
 * Per topic and group the numbers come from the broker's page; a member that the page does not have gives no series.
 */
#include "workers/console/console.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#define LABELS_MAX 512

/* What a family's series are made by: one call per node. */
struct metrics {
	const struct view *v;
	struct buf	*out;
	const char	*name;	/* of the family now */
	struct buf	 base;	/* the node's labels, without braces */
};

static void
begin_family(struct metrics *m, const char *name, const char *type, const char *help)
{
	m->name = name;
	buf_printf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* name="value" with the escapes of the format; what is no UTF-8 would spoil the whole page. */
static void
put_label(struct buf *b, const char *name, const char *value)
{
	if (b->len > 0)
		buf_put_char(b, ',');
	buf_put_str(b, name);
	buf_put_str(b, "=\"");
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '\n') {
			buf_put_str(b, "\\n");
			continue;
		}
		if (*p == '"' || *p == '\\')
			buf_put_char(b, '\\');
		buf_put_char(b, *p);
	}
	buf_put_char(b, '"');
}

static void
put_double(struct buf *b, double d)
{
	if (!isfinite(d))
		buf_put_str(b, isnan(d) ? "NaN" : d > 0 ? "+Inf" : "-Inf");
	else if (floor(d) == d && fabs(d) < 9e15)
		buf_put_i64(b, (int64_t)d);
	else
		buf_printf(b, "%.15g", d);
}

/* One line: the family's name, labels (already escaped), value. */
static void
put_series(struct metrics *m, struct slice labels, double value)
{
	buf_put_str(m->out, m->name);
	if (labels.n > 0) {
		buf_put_char(m->out, '{');
		buf_put_slice(m->out, labels);
		buf_put_char(m->out, '}');
	}
	buf_put_char(m->out, ' ');
	put_double(m->out, value);
	buf_put_char(m->out, '\n');
}

static void
node_labels(struct metrics *m, const struct view_node *n)
{
	char id[32];

	snprintf(id, sizeof(id), "%" PRId64, pos_read(&n->shm->master.broker_id));
	buf_reset(&m->base, LABELS_MAX);
	put_label(&m->base, "cluster", n->spec->conf.brokerClusterName);
	put_label(&m->base, "node_type", "broker");
	put_label(&m->base, "node_id", n->spec->conf.brokerName);
	put_label(&m->base, "broker_id", id);
}

/* The node's labels and one more; the base is put back by the next node_labels or cut_labels. */
static void
put_node_series(struct metrics *m, const char *label, const char *text, double value)
{
	size_t len = m->base.len;

	if (label != NULL)
		put_label(&m->base, label, text);
	put_series(m, buf_slice(&m->base), value);
	m->base.len = len;
}

/* One number of each node. */
struct gauge {
	const char	*name, *type, *help;
	bool		 stored;	/* has the original's storage labels */
	double		(*value)(const struct view_node *n);
};

static double
topics_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->broker.topics);
}

static double
groups_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->broker.groups);
}

static double
producers_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->broker.producers);
}

static double
consumers_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->broker.consumers);
}

static double
connections_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->broker.connections);
}

static double
permission_of(const struct view_node *n)
{
	json_t *p = json_object_get(n->page, "permission");

	return json_is_number(p) ? json_number_value(p) : n->spec->conf.brokerPermission;
}

static double
bytes_between(const shm_i64 *from, const shm_i64 *to)
{
	int64_t a = pos_read(from), b = pos_read(to);

	return b > a ? (double)(b - a) : 0;
}

static double
log_size_of(const struct view_node *n)
{
	return bytes_between(&n->shm->clean.min, &n->shm->broker.appended);
}

static double
flush_behind_of(const struct view_node *n)
{
	return bytes_between(&n->shm->flush.flushed, &n->shm->broker.appended);
}

static double
dispatch_behind_of(const struct view_node *n)
{
	return bytes_between(&n->shm->broker.dispatched, &n->shm->broker.appended);
}

static double
disk_full_of(const struct view_node *n)
{
	return atomic_load(&n->shm->clean.disk_full) != 0;
}

static double
disk_free_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->clean.disk_free_bytes);
}

static double
disk_total_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->clean.disk_total_bytes);
}

static double
disk_full_in_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->clean.disk_full_in_s);
}

static double
disk_used_of(const struct view_node *n)
{
	return atomic_load(&n->shm->clean.log_disk_permille) / 1000.0;
}

static double
segments_removed_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->clean.segments_removed);
}

static double
syncs_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->flush.syncs);
}

static double
sync_bytes_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->flush.sync_bytes);
}

static double
sync_seconds_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->flush.sync_us) / 1e6;
}

static double
sync_max_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->flush.sync_max_us) / 1e6;
}

static double
slaves_of(const struct view_node *n)
{
	return atomic_load(&n->shm->ha.slaves);
}

static double
slaves_in_sync_of(const struct view_node *n)
{
	return atomic_load(&n->shm->ha.slaves_in_sync);
}

static double
copies_needed_of(const struct view_node *n)
{
	return atomic_load(&n->shm->ha.needed);
}

static double
is_master_of(const struct view_node *n)
{
	return atomic_load(&n->shm->master.role) != ROLE_SLAVE && atomic_load(&n->shm->ha.fenced) == 0;
}

static double
epoch_of(const struct view_node *n)
{
	return (double)pos_read(&n->shm->master.epoch);
}

static double
master_connected_of(const struct view_node *n)
{
	return atomic_load(&n->shm->ha.connected);
}

static double
replica_behind_of(const struct view_node *n)
{
	int64_t appended = pos_read(&n->shm->broker.appended);

	if (atomic_load(&n->shm->master.role) == ROLE_SLAVE)
		return (double)MAX_OF(pos_read(&n->shm->ha.master_max) - appended, 0);
	return (double)MAX_OF(appended - pos_read(&n->shm->ha.replicated), 0);
}

static double
warmed_of(const struct view_node *n)
{
	return (double)atomic_load(&n->shm->warm.warmed_bytes);
}

static const struct gauge gauges[] = {
	{"rocketmq_topic_number", "gauge", "topics of the broker", false, topics_of},
	{"rocketmq_consumer_group_number", "gauge", "consumer groups of the broker", false, groups_of},
	{"rocketmq_producer_connections", "gauge", "connected producers", false, producers_of},
	{"rocketmq_consumer_connections", "gauge", "connected consumers", false, consumers_of},
	{"rocketmq_broker_permission", "gauge", "2 write, 4 read, 6 both", false, permission_of},
	{"rocketmq_storage_size_bytes", "gauge", "bytes of the log, first to last", true, log_size_of},
	{"rocketmq_storage_flush_behind_bytes", "gauge", "log bytes not yet on stable storage", true, flush_behind_of},
	{"rocketmq_storage_dispatch_behind_bytes", "gauge", "log bytes not yet in queues and index", true, dispatch_behind_of},
	{"rmqsupervisor_connections", "gauge", "connections of clients", false, connections_of},
	{"rmqsupervisor_disk_full", "gauge", "1: writes are refused", false, disk_full_of},
	{"rmqsupervisor_disk_full_in_seconds", "gauge", "until writes are refused at the rate of the last minutes; -1: not at this rate", false, disk_full_in_of},
	{"rmqsupervisor_disk_free_bytes", "gauge", "free on the disk of the log", false, disk_free_of},
	{"rmqsupervisor_disk_total_bytes", "gauge", "size of the disk of the log", false, disk_total_of},
	{"rmqsupervisor_disk_used_ratio", "gauge", "used part of the disk of the log", false, disk_used_of},
	{"rmqsupervisor_segments_removed_total", "counter", "log files removed", false, segments_removed_of},
	{"rmqsupervisor_flush_total", "counter", "syncs of the log", false, syncs_of},
	{"rmqsupervisor_flush_bytes_total", "counter", "log bytes synced", false, sync_bytes_of},
	{"rmqsupervisor_flush_seconds_total", "counter", "time spent in syncs of the log", false, sync_seconds_of},
	{"rmqsupervisor_flush_max_seconds", "gauge", "longest sync of the log", false, sync_max_of},
	{"rmqsupervisor_slaves", "gauge", "connected slaves", false, slaves_of},
	{"rmqsupervisor_slaves_in_sync", "gauge", "slaves that are waited for: connected and close behind", false, slaves_in_sync_of},
	{"rmqsupervisor_copies_needed", "gauge", "copies, the own included, that SYNC_MASTER asks for now", false, copies_needed_of},
	{"rmqsupervisor_master", "gauge", "1: this node is the master of its name", false, is_master_of},
	{"rmqsupervisor_epoch", "gauge", "of the role; grows with each promotion", false, epoch_of},
	{"rmqsupervisor_master_connected", "gauge", "1: this slave gets the log of its master", false, master_connected_of},
	{"rmqsupervisor_replica_behind_bytes", "gauge", "log bytes without the copies asked for; on a slave, that it does not have yet", false, replica_behind_of},
	{"rmqsupervisor_warmed_bytes_total", "counter", "bytes brought into the page cache for lagging readers", false, warmed_of},
};

static void
put_storage_labels(struct buf *labels)
{
	put_label(labels, "storage_type", "local");
	put_label(labels, "storage_medium", "disk");
}

static void
put_gauge(struct metrics *m, const struct gauge *g)
{
	begin_family(m, g->name, g->type, g->help);
	for (size_t i = 0; i < m->v->node_count; i++) {
		node_labels(m, &m->v->nodes[i]);
		if (g->stored)
			put_storage_labels(&m->base);
		put_node_series(m, NULL, NULL, g->value(&m->v->nodes[i]));
	}
}

static void
put_counter(struct metrics *m, const char *name, const char *type, const char *help, size_t offset)
{
	begin_family(m, name, type, help);
	for (size_t i = 0; i < m->v->node_count; i++) {
		const struct shm_counters *c = &m->v->nodes[i].shm->counters;

		node_labels(m, &m->v->nodes[i]);
		put_node_series(m, NULL, NULL, (double)atomic_load((const shm_u64 *)((const char *)c + offset)));
	}
}

static void
put_counters(struct metrics *m)
{
#define COUNTER(name, metric, type, help) put_counter(m, metric, type, help, offsetof(struct shm_counters, name));
#include "common/counters.tbl"
#undef COUNTER
}

static void
put_positions(struct metrics *m)
{
	begin_family(m, "rmqsupervisor_log_position_bytes", "gauge", "positions in the log");
	for (size_t i = 0; i < m->v->node_count; i++) {
		const struct node_shm *s = m->v->nodes[i].shm;

		node_labels(m, &m->v->nodes[i]);
		put_node_series(m, "position", "min", (double)pos_read(&s->clean.min));
		put_node_series(m, "position", "appended", (double)pos_read(&s->broker.appended));
		put_node_series(m, "position", "dispatched", (double)pos_read(&s->broker.dispatched));
		put_node_series(m, "position", "flushed", (double)pos_read(&s->flush.flushed));
		put_node_series(m, "position", "replicated", (double)pos_read(&s->ha.replicated));
	}
}

/* One series per state, 1 for the one that it is in: the form that alerts can be written for. */
static void
put_node_states(struct metrics *m)
{
	begin_family(m, "rmqsupervisor_node_state", "gauge", "1 for the state that the node is in");
	for (size_t i = 0; i < m->v->node_count; i++) {
		int now = atomic_load(&m->v->nodes[i].shm->broker.state);

		node_labels(m, &m->v->nodes[i]);
		for (int s = NODE_STARTING; s <= NODE_STOPPING; s++)
			put_node_series(m, "state", node_state_name((enum node_state)s), s == now);
	}
}

/* Store time of the oldest message: the broker knows it, and says it in its page. */
static void
put_reserve_time(struct metrics *m)
{
	begin_family(m, "rocketmq_storage_message_reserve_time_milliseconds", "gauge", "age of the oldest message");
	for (size_t i = 0; i < m->v->node_count; i++) {
		const struct view_node *n = &m->v->nodes[i];
		json_t *first = json_object_get(json_object_get(n->page, "store"), "earliestStoreMs");

		if (!json_is_integer(first) || json_integer_value(first) <= 0)
			continue;
		node_labels(m, n);
		put_storage_labels(&m->base);
		put_node_series(m, NULL, NULL, (double)MAX_OF(m->v->now_ms - json_integer_value(first), 0));
	}
}

/* A family of the broker's page: `member` is a number of each topic, or of each topic of each group. */
struct page_family {
	const char	*name, *type, *help, *member;
	bool		 grouped;
};

static const struct page_family page_families[] = {
	{"rocketmq_messages_in_total", "counter", "messages stored, by topic", "messagesIn", false},
	{"rocketmq_throughput_in_total", "counter", "bytes of stored messages, by topic", "bytesIn", false},
	{"rocketmq_messages_out_total", "counter", "messages sent to consumers, by group", "messagesOut", true},
	{"rocketmq_throughput_out_total", "counter", "bytes sent to consumers, by group", "bytesOut", true},
	{"rocketmq_consumer_lag_messages", "gauge", "messages that the group has not confirmed", "lag", true},
};

static bool
is_system(const char *topic)
{
	static const char *const names[] = {"TBW102", "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "OFFSET_MOVED_EVENT", "SELF_TEST_TOPIC"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (strcmp(topic, names[i]) == 0)
			return true;
	return strncasecmp(topic, "rmq_sys_", 8) == 0;
}

static void
put_topic_row(struct metrics *m, const struct page_family *f, json_t *row, const char *group)
{
	const char *topic = json_string_value(json_object_get(row, "topic"));
	json_t *value = json_object_get(row, f->member);
	size_t len = m->base.len;

	if (topic == NULL || !json_is_number(value))
		return;
	put_label(&m->base, "topic", topic);
	if (group != NULL) {
		put_label(&m->base, "consumer_group", group);
		put_label(&m->base, "is_retry", strncmp(topic, "%RETRY%", 7) == 0 ? "true" : "false");
	}
	put_label(&m->base, "is_system", is_system(topic) ? "true" : "false");
	put_series(m, buf_slice(&m->base), json_number_value(value));
	m->base.len = len;
}

/* The topics of the broker (group NULL) or of one of its groups. */
static void
put_topic_rows(struct metrics *m, const struct page_family *f, json_t *owner, const char *group)
{
	json_t *row;
	size_t at;

	json_array_foreach(json_object_get(owner, "topics"), at, row)
		put_topic_row(m, f, row, group);
}

static void
put_group_rows(struct metrics *m, const struct page_family *f, json_t *page)
{
	json_t *row;
	size_t at;

	json_array_foreach(json_object_get(page, "groups"), at, row) {
		const char *group = json_string_value(json_object_get(row, "group"));

		if (group != NULL)
			put_topic_rows(m, f, row, group);
	}
}

static void
put_page_family(struct metrics *m, const struct page_family *f)
{
	begin_family(m, f->name, f->type, f->help);
	for (size_t i = 0; i < m->v->node_count; i++) {
		node_labels(m, &m->v->nodes[i]);
		if (f->grouped)
			put_group_rows(m, f, m->v->nodes[i].page);
		else
			put_topic_rows(m, f, m->v->nodes[i].page, NULL);
	}
}

static void
worker_labels(struct metrics *m, const struct shm_worker *sw)
{
	char name[SHM_NAME_MAX + 1] = {0};
	int role = atomic_load(&sw->role);

	memcpy(name, sw->name, strnlen(sw->name, SHM_NAME_MAX));
	buf_reset(&m->base, LABELS_MAX);
	put_label(&m->base, "worker", name);
	put_label(&m->base, "role", role >= 0 && role < ROLE_COUNT ? role_defs[role].title : "unknown");
}

static double
worker_up(const struct shm_worker *sw)
{
	return atomic_load(&sw->state) == WORKER_READY;
}

static double
worker_restarts(const struct shm_worker *sw)
{
	return atomic_load(&sw->restarts);
}

static double
worker_started(const struct shm_worker *sw)
{
	return (double)atomic_load(&sw->started_ms) / 1000;
}

static void
put_worker_family(struct metrics *m, const char *name, const char *type, const char *help,
    double (*value)(const struct shm_worker *sw))
{
	int n = atomic_load(&m->v->w->host->workers);

	begin_family(m, name, type, help);
	for (int i = 0; i < n && i < SHM_WORKERS_MAX; i++) {
		const struct shm_worker *sw = &m->v->w->host->worker[i];

		worker_labels(m, sw);
		put_series(m, buf_slice(&m->base), value(sw));
	}
}

static void
put_workers(struct metrics *m)
{
	put_worker_family(m, "rmqsupervisor_worker_up", "gauge", "1: the worker serves", worker_up);
	put_worker_family(m, "rmqsupervisor_worker_restarts_total", "counter", "times it was started again", worker_restarts);
	put_worker_family(m, "rmqsupervisor_worker_start_time_seconds", "gauge", "when it was started", worker_started);
}

static void
put_build_info(struct metrics *m)
{
	buf_reset(&m->base, LABELS_MAX);
	put_label(&m->base, "version", PACKAGE_VERSION);
	put_label(&m->base, "host", m->v->hostname);
	begin_family(m, "rmqsupervisor_build_info", "gauge", "the program; always 1");
	put_series(m, buf_slice(&m->base), 1);
}

void
page_metrics(const struct view *v, struct buf *out)
{
	struct metrics m = {.v = v, .out = out};

	put_build_info(&m);
	put_workers(&m);
	put_node_states(&m);
	put_counters(&m);
	for (size_t i = 0; i < COUNT_OF(gauges); i++)
		put_gauge(&m, &gauges[i]);
	put_positions(&m);
	put_reserve_time(&m);
	for (size_t i = 0; i < COUNT_OF(page_families); i++)
		put_page_family(&m, &page_families[i]);
	buf_free(&m.base);
}

/*
 * page_status: /status, one JSON document about this host, and /healthz.
 */
#include "workers/console/console.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

static const char *const role_texts[] = {"ASYNC_MASTER", "SYNC_MASTER", "SLAVE"};

static void
set_i64(json_t *o, const char *key, int64_t v)
{
	json_object_set_new(o, key, json_integer(v));
}

static void
set_text(json_t *o, const char *key, const char *v)
{
	json_t *text = json_string(v);

	json_object_set_new(o, key, text != NULL ? text : json_string("(not UTF-8)"));
}

/* "2026-11-20T10:15:03Z"; nothing for a time that never was. */
static void
set_time(json_t *o, const char *key, int64_t ms)
{
	time_t t = ms / 1000;
	struct tm tm;
	char text[64];

	if (ms <= 0 || gmtime_r(&t, &tm) == NULL)
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	set_text(o, key, text);
}

static void
set_age(json_t *o, const char *key, int64_t now_ms, int64_t since_ms)
{
	if (since_ms > 0)
		set_i64(o, key, MAX_OF(now_ms - since_ms, 0) / 1000);
}

/* Text in shared memory: its writer terminates it, but a reader does not rely on that. */
static void
copy_text(char *to, size_t size, const char *from, size_t max)
{
	size_t n = MIN_OF(strnlen(from, max), size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

static void
set_shm_text(json_t *o, const char *key, const char *text, size_t max)
{
	char copy[SHM_TEXT_MAX + 1];

	copy_text(copy, sizeof(copy), text, max);
	set_text(o, key, copy);
}

static const char *
role_title(int role)
{
	return role >= 0 && role < ROLE_COUNT ? role_defs[role].title : "unknown";
}

static json_t *
last_exit(const struct shm_worker *sw, int64_t at_ms)
{
	json_t *o = json_object();
	int status = atomic_load(&sw->last_exit);

	set_time(o, "time", at_ms);
	if (WIFSIGNALED(status))
		set_i64(o, "signal", WTERMSIG(status));
	else
		set_i64(o, "status", WEXITSTATUS(status));
	set_shm_text(o, "text", sw->last_words, sizeof(sw->last_words));
	return o;
}

static json_t *
worker_json(const struct view *v, const struct shm_worker *sw)
{
	json_t *o = json_object();
	int64_t died_ms = atomic_load(&sw->last_exit_ms);
	int pid = atomic_load(&sw->pid);

	set_shm_text(o, "name", sw->name, sizeof(sw->name));
	set_text(o, "role", role_title(atomic_load(&sw->role)));
	set_text(o, "state", worker_state_name((enum worker_state)atomic_load(&sw->state)));
	set_i64(o, "pid", pid); /* 0: no process */
	if (pid > 0) {
		set_time(o, "started", atomic_load(&sw->started_ms));
		set_age(o, "uptimeSeconds", v->now_ms, atomic_load(&sw->started_ms));
	}
	set_i64(o, "restarts", atomic_load(&sw->restarts));
	if (died_ms > 0)
		json_object_set_new(o, "lastExit", last_exit(sw, died_ms));
	return o;
}

static json_t *
workers_json(const struct view *v)
{
	json_t *list = json_array();
	int n = atomic_load(&v->w->host->workers);

	for (int i = 0; i < n && i < SHM_WORKERS_MAX; i++)
		json_array_append_new(list, worker_json(v, &v->w->host->worker[i]));
	return list;
}

static json_t *
positions_json(const struct node_shm *s)
{
	json_t *o = json_object();

	set_i64(o, "min", pos_read(&s->clean.min));
	set_i64(o, "appended", pos_read(&s->broker.appended));
	set_i64(o, "dispatched", pos_read(&s->broker.dispatched));
	set_i64(o, "flushed", pos_read(&s->flush.flushed));
	set_i64(o, "replicated", pos_read(&s->ha.replicated));
	set_i64(o, "prepared", pos_read(&s->clean.prepared));
	return o;
}

static json_t *
rates_json(const struct rates *r)
{
	static const char *const names[RATES] = {"messagesIn", "bytesIn", "messagesOut", "bytesOut", "requests"};
	json_t *o = json_object();

	for (int i = 0; i < RATES; i++)
		json_object_set_new(o, names[i], json_real(rates_per_second(r, (enum rate)i)));
	return o;
}

static json_t *
disk_json(const struct shm_line_clean *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "full", json_boolean(atomic_load(&c->disk_full) != 0));
	json_object_set_new(o, "logUsedPercent", json_real(atomic_load(&c->log_disk_permille) / 10.0));
	json_object_set_new(o, "queueUsedPercent", json_real(atomic_load(&c->queue_disk_permille) / 10.0));
	set_i64(o, "freeBytes", atomic_load(&c->disk_free_bytes));
	set_i64(o, "fullInSeconds", atomic_load(&c->disk_full_in_s)); /* -1: not at this rate */
	set_i64(o, "totalBytes", atomic_load(&c->disk_total_bytes));
	set_i64(o, "segmentsRemoved", (int64_t)atomic_load(&c->segments_removed));
	set_i64(o, "queueFilesRemoved", (int64_t)atomic_load(&c->queues_removed));
	set_i64(o, "indexFilesRemoved", (int64_t)atomic_load(&c->index_removed));
	return o;
}

static json_t *
flush_json(const struct shm_line_flush *f)
{
	json_t *o = json_object();
	uint64_t syncs = atomic_load(&f->syncs), us = atomic_load(&f->sync_us);
	int failed = atomic_load(&f->failed_errno);

	set_i64(o, "syncs", (int64_t)syncs);
	set_i64(o, "bytes", (int64_t)atomic_load(&f->sync_bytes));
	set_i64(o, "meanUs", syncs > 0 ? (int64_t)(us / syncs) : 0);
	set_i64(o, "maxUs", (int64_t)atomic_load(&f->sync_max_us));
	if (failed != 0)
		set_text(o, "failed", strerror(failed));
	return o;
}

static json_t *
counters_json(const struct shm_counters *c)
{
	json_t *o = json_object();

#define COUNTER(name, metric, type, help) set_i64(o, #name, (int64_t)atomic_load(&c->name));
#include "common/counters.tbl"
#undef COUNTER
	return o;
}

/* The worker's own words, as they are. */
static void
set_page(json_t *o, const char *key, json_t *page, int64_t age_ms)
{
	if (page == NULL) {
		json_object_set_new(o, key, json_null());
		return;
	}
	json_object_set(o, key, page);
	set_i64(o, "pageAgeMs", age_ms);
}

static void
set_counts(json_t *o, const struct node_shm *s)
{
	set_i64(o, "connections", atomic_load(&s->broker.connections));
	set_i64(o, "producers", atomic_load(&s->broker.producers));
	set_i64(o, "consumers", atomic_load(&s->broker.consumers));
	set_i64(o, "topics", atomic_load(&s->broker.topics));
	set_i64(o, "groups", atomic_load(&s->broker.groups));
	set_i64(o, "slaves", atomic_load(&s->ha.slaves));
	set_i64(o, "slavesInSync", atomic_load(&s->ha.slaves_in_sync));
	set_i64(o, "copiesNeeded", atomic_load(&s->ha.needed));
}

static json_t *
node_json(const struct view_node *n)
{
	json_t *o = json_object();
	int role = atomic_load(&n->shm->master.role);

	set_text(o, "name", n->spec->name);
	set_text(o, "brokerName", n->spec->conf.brokerName);
	set_i64(o, "brokerId", pos_read(&n->shm->master.broker_id)); /* of now, whatever the spec calls it */
	set_text(o, "role", role >= 0 && role < (int)COUNT_OF(role_texts) ? role_texts[role] : "unknown");
	set_text(o, "state", node_state_name((enum node_state)atomic_load(&n->shm->broker.state)));
	set_i64(o, "epoch", atomic_load(&n->shm->master.epoch));
	set_counts(o, n->shm);
	json_object_set_new(o, "positions", positions_json(n->shm));
	json_object_set_new(o, "rates", rates_json(n->rates));
	json_object_set_new(o, "disk", disk_json(&n->shm->clean));
	json_object_set_new(o, "flush", flush_json(&n->shm->flush));
	json_object_set_new(o, "counters", counters_json(&n->shm->counters));
	set_page(o, "broker", n->page, n->page_age_ms);
	json_object_set(o, "ha", n->ha != NULL ? n->ha : json_null());
	return o;
}

static json_t *
nodes_json(const struct view *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->node_count; i++)
		json_array_append_new(list, node_json(&v->nodes[i]));
	return list;
}

static json_t *
failover_json(const struct shm_failover *f)
{
	static const char *const modes[] = {[FAILOVER_OFF] = "off", [FAILOVER_SCRIPT] = "script", [FAILOVER_LOCAL] = "local"};
	json_t *o = json_object();
	int mode = atomic_load(&f->mode);

	set_shm_text(o, "brokerName", f->broker_name, sizeof(f->broker_name));
	set_text(o, "mode", mode >= 0 && mode < (int)COUNT_OF(modes) ? modes[mode] : "unknown");
	set_shm_text(o, "phase", f->phase, sizeof(f->phase));
	set_shm_text(o, "master", f->master, sizeof(f->master)); /* "": not known */
	set_i64(o, "epoch", atomic_load(&f->epoch));
	set_time(o, "since", atomic_load(&f->since_ms));
	set_shm_text(o, "why", f->why, sizeof(f->why));
	return o;
}

static json_t *
failovers_json(const struct view *v)
{
	json_t *list = json_array();
	int n = atomic_load(&v->w->host->failovers);

	for (int i = 0; i < n && i < SHM_FAILOVERS_MAX; i++)
		json_array_append_new(list, failover_json(&v->w->host->failover[i]));
	return list;
}

/* The last events, the newest first. */
static json_t *
events_json(const struct view *v)
{
	const struct host_shm *h = v->w->host;
	uint64_t n = atomic_load(&h->events);
	json_t *list = json_array();

	for (uint64_t i = 0; i < n && i < SHM_EVENTS; i++) {
		const struct shm_event *ev = &h->event[(n - 1 - i) % SHM_EVENTS];
		json_t *o = json_object();

		set_time(o, "time", atomic_load(&ev->ms));
		set_shm_text(o, "text", ev->text, sizeof(ev->text));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
name_servers_json(const struct view *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->ns_count; i++) {
		const struct view_ns *ns = &v->name_servers[i];
		json_t *o = json_object();

		set_shm_text(o, "name", ns->worker->name, sizeof(ns->worker->name));
		set_text(o, "state", worker_state_name((enum worker_state)atomic_load(&ns->worker->state)));
		set_page(o, "namesrv", ns->page, ns->page_age_ms);
		json_array_append_new(list, o);
	}
	return list;
}

static int
dump_more(const char *text, size_t n, void *out)
{
	buf_put(out, text, n);
	return 0;
}

void
page_status(const struct view *v, struct buf *out)
{
	json_t *o = json_object();
	int64_t started_ms = atomic_load(&v->w->host->started_ms);

	set_text(o, "version", PACKAGE_VERSION);
	set_text(o, "host", v->hostname);
	if (v->w->cluster->cluster != NULL)
		set_text(o, "cluster", v->w->cluster->cluster);
	set_time(o, "time", v->now_ms);
	set_time(o, "started", started_ms);
	set_age(o, "uptimeSeconds", v->now_ms, started_ms);
	json_object_set_new(o, "workers", workers_json(v));
	json_object_set_new(o, "nodes", nodes_json(v));
	json_object_set_new(o, "nameServers", name_servers_json(v));
	json_object_set_new(o, "failover", failovers_json(v));
	json_object_set_new(o, "events", events_json(v));
	if (json_dump_callback(o, dump_more, out, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0)
		out->failed = true;
	buf_put_char(out, '\n');
	json_decref(o);
}

static bool
worker_healthy(const struct shm_worker *sw, struct buf *out)
{
	enum worker_state state = (enum worker_state)atomic_load(&sw->state);
	char name[SHM_NAME_MAX + 1];

	if (state == WORKER_READY || state == WORKER_NONE)
		return true;
	copy_text(name, sizeof(name), sw->name, sizeof(sw->name));
	buf_printf(out, "worker %s is %s, restarted %u times\n", name, worker_state_name(state), atomic_load(&sw->restarts));
	return false;
}

bool
page_health(const struct view *v, struct buf *out)
{
	int n = atomic_load(&v->w->host->workers);

	for (size_t i = 0; i < v->node_count; i++)
		if (atomic_load(&v->nodes[i].shm->broker.state) == NODE_FAILED) {
			buf_printf(out, "node %s has failed: %s\n", v->nodes[i].spec->name,
			    strerror(atomic_load(&v->nodes[i].shm->flush.failed_errno)));
			return false;
		}
	for (int i = 0; i < n && i < SHM_WORKERS_MAX; i++)
		if (!worker_healthy(&v->w->host->worker[i], out))
			return false;
	buf_put_str(out, "ok\n");
	return true;
}

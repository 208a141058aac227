/*
 * cmd_progress: consumerProgress: how far groups are behind.
 */
#include <stdio.h>

#include "tools/adm.h"

/* What all brokers said of one group. */
struct progress {
	json_t *rows;
	double tps;
	int64_t diff, inflight;
};

/* Who has which queue: {"topic broker queue": "client id"}. */
static void
add_owners(json_t *owners, const char *client, const json_t *running)
{
	const char *key;
	json_t *v;

	json_object_foreach (json_object_get(running, "mqTable"), key, v) {
		json_t *q = adm_queue_key(key);
		char *name = xasprintf("%s %s %lld", json_get_str(q, "topic", ""), json_get_str(q, "brokerName", ""),
				       (long long)json_get_i64(q, "queueId", 0));

		json_object_set_new(owners, name, json_string(client));
		free(name);
		json_decref(q);
	}
}

/* Asks each client of the group through the broker. */
static void
find_owners(struct adm *a, const char *address, const char *group, json_t *owners)
{
	struct ask *k = adm_begin(a, address, REQ_GET_CONSUMER_CONNECTION_LIST);
	json_t *body, *conn, *running;
	size_t i;

	if (k)
		frame_field(&k->f, "consumerGroup", slice_of(group));
	if (adm_end_json(a, k, &body) != RC_OK)
		return; /* not online: nobody has a queue */
	json_array_foreach (json_object_get(body, "connectionSet"), i, conn) {
		const char *client = json_get_str(conn, "clientId", "");

		k = adm_begin(a, address, REQ_GET_CONSUMER_RUNNING_INFO);
		if (k) {
			frame_field(&k->f, "consumerGroup", slice_of(group));
			frame_field(&k->f, "clientId", slice_of(client));
			frame_field_bool(&k->f, "jstackEnable", false);
		}
		if (adm_end_json(a, k, &running) != RC_OK) {
			adm_failed(a, client);
			continue;
		}
		add_owners(owners, client, running);
		json_decref(running);
	}
	json_decref(body);
}

static void
add_row(struct progress *p, const json_t *q, const json_t *v, const json_t *owners)
{
	int64_t broker = json_get_i64(v, "brokerOffset", 0), consumer = json_get_i64(v, "consumerOffset", 0);
	int64_t inflight = json_get_i64(v, "pullOffset", consumer) - consumer,
		last = json_get_i64(v, "lastTimestamp", 0);
	const char *topic = json_get_str(q, "topic", ""), *name = json_get_str(q, "brokerName", "");
	int64_t queue = json_get_i64(q, "queueId", 0);
	char when[32], *owner = xasprintf("%s %s %lld", topic, name, (long long)queue);

	json_array_append_new(p->rows,
			      json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:s}", "topic", topic, "broker", name,
					"queue", (json_int_t)queue, "brokerOffset", (json_int_t)broker,
					"consumerOffset", (json_int_t)consumer, "diff", (json_int_t)(broker - consumer),
					"inflight", (json_int_t)inflight, "last", adm_time_text(last, when), "lastMs",
					(json_int_t)last, "client", json_get_str(owners, owner, "")));
	p->diff += broker - consumer;
	p->inflight += inflight;
	free(owner);
}

static enum rc
progress_at(struct adm *a, const char *address, const char *group, bool clients, struct progress *p)
{
	struct ask *k = adm_begin(a, address, REQ_GET_CONSUME_STATS);
	json_t *body, *v, *owners;
	const char *key;
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	frame_field(&k->f, "consumerGroup", slice_of(group));
	if (adm_value(a, 't'))
		frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
	rc = adm_end_json(a, k, &body);
	if (rc != RC_OK)
		return rc;
	owners = json_object();
	if (clients)
		find_owners(a, address, group, owners);
	json_object_foreach (json_object_get(body, "offsetTable"), key, v) {
		json_t *q = adm_queue_key(key);

		if (adm_value(a, 't') == NULL || strcmp(adm_value(a, 't'), json_get_str(q, "topic", "")) == 0)
			add_row(p, q, v, owners);
		json_decref(q);
	}
	p->tps += json_number_value(json_object_get(body, "consumeTps"));
	json_decref(owners);
	json_decref(body);
	return RC_OK;
}

/* Where a group's offsets are: the brokers of its retry topic, or all masters while it has none. */
static enum rc
group_brokers(struct adm *a, const char *group, struct adm_brokers *out)
{
	char *topic = xasprintf("%%RETRY%%%s", group);
	enum rc rc = adm_brokers_of_topic(a, topic, out);

	free(topic);
	if (rc == RC_NOTFOUND)
		rc = adm_brokers_of_cluster(a, NULL, ADM_MASTERS, out);
	return rc;
}

static enum rc
progress_of(struct adm *a, const char *group, bool clients, struct progress *p)
{
	struct adm_brokers brokers;
	enum rc rc = group_brokers(a, group, &brokers);

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++)
		if (progress_at(a, brokers.v[i].address, group, clients, p) != RC_OK)
			adm_failed(a, brokers.v[i].address);
	adm_brokers_free(&brokers);
	return rc;
}

static void
print_progress(struct adm *a, struct progress *p, bool clients)
{
	static const struct adm_col cols[] = {{"topic", "#Topic", false},
					      {"broker", "#Broker Name", false},
					      {"queue", "#QID", false},
					      {"brokerOffset", "#Broker Offset", true},
					      {"consumerOffset", "#Consumer Offset", true},
					      {"diff", "#Diff", true},
					      {"inflight", "#Inflight", true},
					      {"last", "#LastTime", false},
					      {"client", "#Client IP", false}};

	adm_sort_queues(p->rows);
	if (a->json) {
		adm_print_json(json_pack("{s:o,s:f,s:I,s:I}", "queues", p->rows, "consumeTps", p->tps, "diff",
					 (json_int_t)p->diff, "inflight", (json_int_t)p->inflight));
		return;
	}
	adm_rows(a, cols, COUNT_OF(cols) - !clients, p->rows);
	printf("\nConsume TPS: %.2f\nConsume Diff Total: %lld\nConsume Inflight Total: %lld\n", p->tps,
	       (long long)p->diff, (long long)p->inflight);
}

static enum rc
show_group(struct adm *a, const char *group)
{
	struct progress p = {0};
	bool clients;
	enum rc rc = adm_bool(a, 's', false, &clients);

	if (rc != RC_OK)
		return rc;
	p.rows = json_array();
	rc = progress_of(a, group, clients, &p);
	if (rc == RC_OK)
		print_progress(a, &p, clients);
	else
		json_decref(p.rows);
	return rc;
}

/* The members of a group, as one broker knows them; NULL: not online. */
static json_t *
group_connection(struct adm *a, const char *group)
{
	struct adm_brokers brokers;
	json_t *body = NULL;

	if (group_brokers(a, group, &brokers) != RC_OK)
		return NULL;
	for (size_t i = 0; body == NULL && i < brokers.n; i++) {
		struct ask *k = adm_begin(a, brokers.v[i].address, REQ_GET_CONSUMER_CONNECTION_LIST);

		if (k)
			frame_field(&k->f, "consumerGroup", slice_of(group));
		if (adm_end_json(a, k, &body) != RC_OK)
			body = NULL;
	}
	adm_brokers_free(&brokers);
	return body;
}

static void
add_group_row(struct adm *a, json_t *rows, const char *group)
{
	struct progress p = {.rows = json_array()};
	json_t *conn, *set;
	char version[32];

	if (progress_of(a, group, false, &p) != RC_OK) {
		adm_failed(a, group);
		json_decref(p.rows);
		return;
	}
	conn = group_connection(a, group);
	set = json_object_get(conn, "connectionSet");
	json_array_append_new(
	    rows,
	    json_pack("{s:s,s:I,s:s,s:s,s:s,s:f,s:I}", "group", group, "count", (json_int_t)json_array_size(set),
		      "version",
		      conn ? adm_version_text(json_get_i64(json_array_get(set, 0), "version", 0), version) : "OFFLINE",
		      "type", json_get_str(conn, "consumeType", ""), "model", json_get_str(conn, "messageModel", ""),
		      "tps", p.tps, "diff", (json_int_t)p.diff));
	json_decref(conn);
	json_decref(p.rows);
}

static enum rc
show_all(struct adm *a)
{
	static const struct adm_col cols[] = {{"group", "#Group", false},     {"count", "#Count", true},
					      {"version", "#Version", false}, {"type", "#Type", false},
					      {"model", "#Model", false},     {"tps", "#TPS", true},
					      {"diff", "#Diff Total", true}};
	json_t *body, *rows, *topic;
	size_t i;
	enum rc rc = adm_end_json(a, adm_begin_ns(a, REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER), &body);

	if (rc != RC_OK)
		return rc;
	rows = json_array();
	json_array_foreach (json_object_get(body, "topicList"), i, topic)
		if (json_is_string(topic) && strncmp(json_string_value(topic), "%RETRY%", 7) == 0)
			add_group_row(a, rows, json_string_value(topic) + 7);
	json_decref(body);
	adm_rows(a, cols, COUNT_OF(cols), rows);
	return RC_OK;
}

enum rc
cmd_consumer_progress(struct adm *a)
{
	return adm_value(a, 'g') ? show_group(a, adm_value(a, 'g')) : show_all(a);
}

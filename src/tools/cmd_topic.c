/*
 * cmd_topic: topicList, topicRoute, topicStatus, updateTopic, deleteTopic.
 */
#include <stdio.h>

#include "tools/adm.h"

#define QUEUES_MAX      65535
#define ORDER_NAMESPACE "ORDER_TOPIC_CONFIG"

static enum rc
all_topics(struct adm *a, json_t **list)
{
	json_t *body;
	enum rc rc = adm_end_json(a, adm_begin_ns(a, REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER), &body);

	if (rc != RC_OK)
		return rc;
	*list = json_incref(json_object_get(body, "topicList"));
	if (*list == NULL)
		*list = json_array();
	json_decref(body);
	return RC_OK;
}

static void
add_group_row(json_t *rows, const char *cluster, const char *topic, const char *group)
{
	json_array_append_new(rows, json_pack("{s:s,s:s,s:s}", "cluster", cluster, "topic", topic, "group", group));
}

/* Rows of one topic: a line for each group that reads it, or one without. */
static void
add_topic_rows(struct adm *a, json_t *rows, const char *topic)
{
	struct adm_brokers brokers;
	json_t *body = NULL, *groups = NULL, *group;
	struct ask *k;
	size_t i;

	if (adm_brokers_of_topic(a, topic, &brokers) != RC_OK || brokers.n == 0) {
		add_group_row(rows, "", topic, "");
		return;
	}
	k = adm_begin(a, brokers.v[0].address, REQ_QUERY_TOPIC_CONSUME_BY_WHO);
	if (k)
		frame_field(&k->f, "topic", slice_of(topic));
	if (adm_end_json(a, k, &body) == RC_OK)
		groups = json_object_get(body, "groupList");
	else
		adm_failed(a, topic);
	json_array_foreach (groups, i, group)
		if (json_is_string(group))
			add_group_row(rows, brokers.v[0].cluster, topic, json_string_value(group));
	if (json_array_size(groups) == 0)
		add_group_row(rows, brokers.v[0].cluster, topic, "");
	json_decref(body);
	adm_brokers_free(&brokers);
}

static bool
is_group_topic(const char *topic)
{
	return strncmp(topic, "%RETRY%", 7) == 0 || strncmp(topic, "%DLQ%", 5) == 0;
}

static void
list_with_groups(struct adm *a, const json_t *topics)
{
	static const struct adm_col cols[] = {
	    {"cluster", "#Cluster Name", false}, {"topic", "#Topic", false}, {"group", "#Consumer Group", false}};
	json_t *rows = json_array(), *topic;
	size_t i;

	json_array_foreach (topics, i, topic)
		if (json_is_string(topic) && !is_group_topic(json_string_value(topic)))
			add_topic_rows(a, rows, json_string_value(topic));
	adm_rows(a, cols, COUNT_OF(cols), rows);
}

enum rc
cmd_topic_list(struct adm *a)
{
	json_t *topics, *topic;
	size_t i;
	enum rc rc = all_topics(a, &topics);

	if (rc != RC_OK)
		return rc;
	if (adm_value(a, 'c')) {
		list_with_groups(a, topics);
	} else if (a->json) {
		adm_print_json(json_incref(topics));
	} else {
		json_array_foreach (topics, i, topic)
			puts(json_is_string(topic) ? json_string_value(topic) : "");
	}
	json_decref(topics);
	return RC_OK;
}

/* "0=10.0.0.1:10911,1=10.0.0.2:10911" of the broker data with that name; its cluster too. */
static char *
route_addresses(const json_t *route, const char *name, const char **cluster)
{
	struct buf b = {0};
	json_t *data, *address;
	const char *id;
	size_t i;

	*cluster = "";
	json_array_foreach (json_object_get(route, "brokerDatas"), i, data) {
		if (strcmp(json_get_str(data, "brokerName", ""), name) != 0)
			continue;
		*cluster = json_get_str(data, "cluster", "");
		json_object_foreach (json_object_get(data, "brokerAddrs"), id, address)
			buf_printf(&b, "%s%s=%s", b.len ? "," : "", id,
				   json_is_string(address) ? json_string_value(address) : "?");
	}
	buf_put_char(&b, '\0');
	return buf_steal(&b);
}

static json_t *
route_rows(const json_t *route)
{
	json_t *rows = json_array(), *q;
	size_t i;

	json_array_foreach (json_object_get(route, "queueDatas"), i, q) {
		const char *cluster, *name = json_get_str(q, "brokerName", "");
		char *addresses = route_addresses(route, name, &cluster);

		json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:I,s:I,s:I}", "cluster", cluster, "broker", name,
						      "addresses", addresses, "readQueues",
						      (json_int_t)json_get_i64(q, "readQueueNums", 0), "writeQueues",
						      (json_int_t)json_get_i64(q, "writeQueueNums", 0), "perm",
						      (json_int_t)json_get_i64(q, "perm", 0)));
		free(addresses);
	}
	return rows;
}

enum rc
cmd_topic_route(struct adm *a)
{
	static const struct adm_col cols[] = {{"cluster", "#ClusterName", false},   {"broker", "#BrokerName", false},
					      {"addresses", "#BrokerAddrs", false}, {"readQueues", "#ReadQueue", true},
					      {"writeQueues", "#WriteQueue", true}, {"perm", "#Perm", true}};
	json_t *route;
	enum rc rc = adm_route(a, adm_value(a, 't'), &route);

	if (rc != RC_OK)
		return rc;
	if (adm_value(a, 'l') == NULL) {
		adm_print_json(route);
		return RC_OK;
	}
	adm_rows(a, cols, COUNT_OF(cols), route_rows(route));
	json_decref(route);
	return RC_OK;
}

static void
add_status_rows(json_t *rows, const json_t *table)
{
	const char *key;
	char when[32];
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)table, key, v) {
		json_t *q = adm_queue_key(key);
		int64_t updated = json_get_i64(v, "lastUpdateTimestamp", 0);

		json_array_append_new(rows, json_pack("{s:s,s:I,s:I,s:I,s:s,s:I}", "broker",
						      json_get_str(q, "brokerName", ""), "queue",
						      (json_int_t)json_get_i64(q, "queueId", 0), "min",
						      (json_int_t)json_get_i64(v, "minOffset", 0), "max",
						      (json_int_t)json_get_i64(v, "maxOffset", 0), "updated",
						      adm_time_text(updated, when), "updatedMs", (json_int_t)updated));
		json_decref(q);
	}
}

enum rc
cmd_topic_status(struct adm *a)
{
	static const struct adm_col cols[] = {{"broker", "#Broker Name", false},
					      {"queue", "#QID", false},
					      {"min", "#Min Offset", true},
					      {"max", "#Max Offset", true},
					      {"updated", "#Last Updated", false}};
	json_t *rows = json_array(), *body;
	struct adm_brokers brokers;
	double tps = 0;
	enum rc rc = adm_brokers_of_topic(a, adm_value(a, 't'), &brokers);

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		struct ask *k = adm_begin(a, brokers.v[i].address, REQ_GET_TOPIC_STATS_INFO);

		if (k)
			frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
		if (adm_end_json(a, k, &body) != RC_OK) {
			adm_failed(a, brokers.v[i].name);
			continue;
		}
		add_status_rows(rows, json_object_get(body, "offsetTable"));
		tps += json_number_value(json_object_get(body, "topicPutTps"));
		json_decref(body);
	}
	adm_brokers_free(&brokers);
	if (rc != RC_OK) {
		json_decref(rows);
		return rc;
	}
	adm_sort_queues(rows);
	adm_rows(a, cols, COUNT_OF(cols), rows);
	if (!a->json)
		printf("\nTopic Put TPS: %.1f\n", tps);
	return RC_OK;
}

struct topic_wish {
	const char *topic, *attributes;
	int64_t reads, writes, perm, sysflag;
	bool order;
};

static enum rc
take_wish(struct adm *a, struct topic_wish *w)
{
	bool unit = false, unit_sub = false;
	enum rc rc;

	w->topic = adm_value(a, 't');
	w->attributes = adm_value(a, 'a');
	rc = adm_number(a, 'r', 8, 0, QUEUES_MAX, &w->reads);
	if (rc == RC_OK)
		rc = adm_number(a, 'w', 8, 0, QUEUES_MAX, &w->writes);
	if (rc == RC_OK)
		rc = adm_number(a, 'p', 6, 0, 7, &w->perm);
	if (rc == RC_OK)
		rc = adm_bool(a, 'o', false, &w->order);
	if (rc == RC_OK)
		rc = adm_bool(a, 'u', false, &unit);
	if (rc == RC_OK)
		rc = adm_bool(a, 's', false, &unit_sub);
	w->sysflag = (unit ? 1 : 0) | (unit_sub ? 2 : 0);
	return rc;
}

static enum rc
put_topic(struct adm *a, const char *address, const struct topic_wish *w)
{
	struct ask *k = adm_begin(a, address, REQ_UPDATE_AND_CREATE_TOPIC);

	if (k == NULL)
		return RC_IO;
	frame_field(&k->f, "topic", slice_of(w->topic));
	frame_field(&k->f, "defaultTopic", SLICE_LIT("TBW102"));
	frame_field_i64(&k->f, "readQueueNums", w->reads);
	frame_field_i64(&k->f, "writeQueueNums", w->writes);
	frame_field_i64(&k->f, "perm", w->perm);
	frame_field(&k->f, "topicFilterType", SLICE_LIT("SINGLE_TAG"));
	frame_field_i64(&k->f, "topicSysFlag", w->sysflag);
	frame_field_bool(&k->f, "order", w->order);
	if (w->attributes)
		frame_field(&k->f, "attributes", slice_of(w->attributes));
	return adm_end(a, k, SLICE_NONE);
}

/* A key-value request to each name server; value NULL: delete it. */
static void
change_order_conf(struct adm *a, const char *topic, const char *value)
{
	size_t at = 0;
	char *ns;

	while (adm_next_ns(a, &at, &ns)) {
		struct ask *k = adm_begin(a, ns, value ? REQ_PUT_KV_CONFIG : REQ_DELETE_KV_CONFIG);

		if (k) {
			frame_field(&k->f, "namespace", SLICE_LIT(ORDER_NAMESPACE));
			frame_field(&k->f, "key", slice_of(topic));
			if (value)
				frame_field(&k->f, "value", slice_of(value));
		}
		if (adm_end(a, k, SLICE_NONE) != RC_OK)
			adm_failed(a, ns);
		free(ns);
	}
}

/* The queues of an ordered topic, fixed for its clients: "broker-a:4;broker-b:4". */
static void
put_order_conf(struct adm *a, const struct adm_brokers *brokers, const struct topic_wish *w)
{
	struct buf b = {0};
	char *text;

	for (size_t i = 0; i < brokers->n; i++)
		buf_printf(&b, "%s%s:%lld", i ? ";" : "", brokers->v[i].name, (long long)w->writes);
	buf_put_char(&b, '\0');
	text = buf_steal(&b);
	change_order_conf(a, w->topic, text);
	adm_done(a, "set order conf of topic %s to %s.", w->topic, text);
	free(text);
}

enum rc
cmd_update_topic(struct adm *a)
{
	struct topic_wish w;
	struct adm_brokers brokers = {0};
	size_t good = 0;
	enum rc rc = take_wish(a, &w);

	if (rc == RC_OK)
		rc = adm_brokers_of_options(a, ADM_MASTERS, &brokers);
	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		if (put_topic(a, brokers.v[i].address, &w) != RC_OK) {
			adm_failed(a, brokers.v[i].address);
			continue;
		}
		good++;
		adm_done(a, "create topic to %s success: %s, %lld read and %lld write queues, perm %lld.",
			 brokers.v[i].address, w.topic, (long long)w.reads, (long long)w.writes, (long long)w.perm);
	}
	if (rc == RC_OK && good > 0 && w.order && adm_value(a, 'c'))
		put_order_conf(a, &brokers, &w);
	adm_brokers_free(&brokers);
	return rc;
}

static void
delete_at_name_servers(struct adm *a, const char *cluster, const char *topic)
{
	size_t at = 0;
	char *ns;

	while (adm_next_ns(a, &at, &ns)) {
		struct ask *k = adm_begin(a, ns, REQ_DELETE_TOPIC_IN_NAMESRV);

		if (k) {
			frame_field(&k->f, "topic", slice_of(topic));
			frame_field(&k->f, "clusterName", slice_of(cluster));
		}
		if (adm_end(a, k, SLICE_NONE) == RC_OK)
			adm_done(a, "delete topic [%s] from name server [%s] success.", topic, ns);
		else
			adm_failed(a, ns);
		free(ns);
	}
}

enum rc
topic_delete(struct adm *a, const char *cluster, const char *topic)
{
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_cluster(a, cluster, ADM_MASTERS, &brokers);

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		struct ask *k = adm_begin(a, brokers.v[i].address, REQ_DELETE_TOPIC_IN_BROKER);

		if (k)
			frame_field(&k->f, "topic", slice_of(topic));
		if (adm_end(a, k, SLICE_NONE) == RC_OK)
			adm_done(a, "delete topic [%s] from broker [%s] in cluster [%s] success.", topic,
				 brokers.v[i].address, cluster);
		else
			adm_failed(a, brokers.v[i].address);
	}
	adm_brokers_free(&brokers);
	if (rc == RC_OK)
		delete_at_name_servers(a, cluster, topic);
	return rc;
}

enum rc
cmd_delete_topic(struct adm *a)
{
	enum rc rc = topic_delete(a, adm_value(a, 'c'), adm_value(a, 't'));

	if (rc == RC_OK)
		change_order_conf(a, adm_value(a, 't'), NULL);
	return rc;
}

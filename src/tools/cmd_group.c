/*
 * cmd_group: updateSubGroup, deleteSubGroup, resetOffsetByTime.
 */
#include <stdio.h>

#include "tools/adm.h"

/* {"+key":"value","-key2":""} from "+key=value,-key2". */
static json_t *
attribute_changes(const char *text)
{
	json_t *map = json_object();
	char *copy = xstrdup(text), *rest = copy, *one;

	while ((one = strsep(&rest, ",")) != NULL) {
		char *value = strchr(one, '=');

		if (value)
			*value++ = '\0';
		if (*one)
			json_object_set_new(map, one, adm_json_text(slice_of(value ? value : "")));
	}
	free(copy);
	return map;
}

static enum rc
set_bool(struct adm *a, json_t *conf, char letter, const char *key, bool dflt)
{
	bool v;
	enum rc rc = adm_bool(a, letter, dflt, &v);

	json_object_set_new(conf, key, json_boolean(v));
	return rc;
}

static enum rc
set_number(struct adm *a, json_t *conf, char letter, const char *key, int64_t dflt)
{
	int64_t v;
	enum rc rc = adm_number(a, letter, dflt, -1, INT32_MAX, &v);

	json_object_set_new(conf, key, json_integer(v));
	return rc;
}

static enum rc
set_policy(struct adm *a, json_t *conf)
{
	json_t *policy;

	if (adm_value(a, 'p') == NULL)
		return RC_OK;
	if (json_load_relaxed(slice_of(adm_value(a, 'p')), &policy, &a->e) != RC_OK) {
		err_prefix(&a->e, "-p (--groupRetryPolicy)");
		return RC_INVAL;
	}
	json_object_set_new(conf, "groupRetryPolicy", policy);
	return RC_OK;
}

/* The defaults are those of the original's command, which differ from the broker's own. */
static enum rc
group_config(struct adm *a, json_t *conf)
{
	static const struct {
		char letter;
		const char *key;
		bool dflt;
	} bools[] = {{'s', "consumeEnable", true},
		     {'m', "consumeFromMinEnable", false},
		     {'d', "consumeBroadcastEnable", false},
		     {'o', "consumeMessageOrderly", false},
		     {'a', "notifyConsumerIdsChangedEnable", true}};
	static const struct {
		char letter;
		const char *key;
		int64_t dflt;
	} numbers[] = {{'q', "retryQueueNums", 1},
		       {'r', "retryMaxTimes", 16},
		       {'i', "brokerId", 0},
		       {'w', "whichBrokerWhenConsumeSlowly", 1}};
	enum rc rc = set_policy(a, conf);

	json_object_set_new(conf, "groupName", adm_json_text(slice_of(adm_value(a, 'g'))));
	for (size_t i = 0; rc == RC_OK && i < COUNT_OF(bools); i++)
		rc = set_bool(a, conf, bools[i].letter, bools[i].key, bools[i].dflt);
	for (size_t i = 0; rc == RC_OK && i < COUNT_OF(numbers); i++)
		rc = set_number(a, conf, numbers[i].letter, numbers[i].key, numbers[i].dflt);
	if (adm_value(a, 'A'))
		json_object_set_new(conf, "attributes", attribute_changes(adm_value(a, 'A')));
	return rc;
}

enum rc
cmd_update_sub_group(struct adm *a)
{
	struct adm_brokers brokers = {0};
	json_t *conf = json_object();
	char *text = NULL;
	enum rc rc = group_config(a, conf);

	if (rc == RC_OK)
		rc = adm_brokers_of_options(a, ADM_MASTERS, &brokers);
	if (rc == RC_OK)
		text = json_dumps(conf, JSON_COMPACT | JSON_SORT_KEYS);
	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		const char *address = brokers.v[i].address;

		if (adm_end(a, adm_begin(a, address, REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP), slice_of(text)) == RC_OK)
			adm_done(a, "create subscription group to %s success: %s", address, text);
		else
			adm_failed(a, address);
	}
	free(text);
	json_decref(conf);
	adm_brokers_free(&brokers);
	return rc;
}

/* Topics that belong to the group alone. */
static enum rc
delete_group_topics(struct adm *a, const char *cluster, const char *group)
{
	static const char *const prefixes[] = {"%RETRY%", "%DLQ%"};
	enum rc rc = RC_OK;

	for (size_t i = 0; rc == RC_OK && i < COUNT_OF(prefixes); i++) {
		char *topic = xasprintf("%s%s", prefixes[i], group);

		rc = topic_delete(a, cluster, topic);
		free(topic);
	}
	return rc;
}

enum rc
cmd_delete_sub_group(struct adm *a)
{
	const char *group = adm_value(a, 'g');
	struct adm_brokers brokers = {0};
	bool clean = false;
	enum rc rc = adm_bool(a, 'r', false, &clean);

	if (rc == RC_OK)
		rc = adm_brokers_of_options(a, ADM_MASTERS, &brokers);
	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		struct ask *k = adm_begin(a, brokers.v[i].address, REQ_DELETE_SUBSCRIPTIONGROUP);

		if (k) {
			frame_field(&k->f, "groupName", slice_of(group));
			frame_field_bool(&k->f, "cleanOffset", clean);
			frame_field_bool(&k->f, "removeOffset", clean); /* as 4.9 calls it */
		}
		if (adm_end(a, k, SLICE_NONE) == RC_OK)
			adm_done(a, "delete subscription group [%s] from broker [%s] success.", group,
				 brokers.v[i].address);
		else
			adm_failed(a, brokers.v[i].address);
	}
	adm_brokers_free(&brokers);
	if (rc == RC_OK && clean && adm_value(a, 'c'))
		rc = delete_group_topics(a, adm_value(a, 'c'), group);
	return rc;
}

struct reset_wish {
	int64_t time, offset, queue;
	bool force;
};

static enum rc
take_reset(struct adm *a, struct reset_wish *w)
{
	enum rc rc = adm_time(a, 's', -1, &w->time);

	if (rc == RC_OK)
		rc = adm_bool(a, 'f', true, &w->force);
	if (rc == RC_OK)
		rc = adm_number(a, 'o', -1, 0, INT64_MAX, &w->offset);
	if (rc == RC_OK)
		rc = adm_number(a, 'q', -1, 0, INT32_MAX, &w->queue);
	if (rc == RC_OK && w->offset >= 0 && w->queue < 0) {
		return adm_misused(a, "-o (an offset) needs -q (its queue)");
	}
	return rc;
}

static enum rc
reset_at(struct adm *a, const char *address, const struct reset_wish *w, json_t *rows)
{
	struct ask *k = adm_begin(a, address, REQ_INVOKE_BROKER_TO_RESET_OFFSET);
	const char *key;
	json_t *body, *offset;
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
	frame_field(&k->f, "group", slice_of(adm_value(a, 'g')));
	frame_field_i64(&k->f, "timestamp", w->time);
	frame_field_bool(&k->f, "isForce", w->force);
	frame_field_i64(&k->f, "queueId", w->queue);
	if (w->offset >= 0)
		frame_field_i64(&k->f, "offset", w->offset);
	rc = adm_end_json(a, k, &body);
	if (rc != RC_OK)
		return rc;
	json_object_foreach (json_object_get(body, "offsetTable"), key, offset) {
		json_t *q = adm_queue_key(key);

		json_array_append_new(rows, json_pack("{s:s,s:I,s:I}", "broker", json_get_str(q, "brokerName", ""),
						      "queue", (json_int_t)json_get_i64(q, "queueId", 0), "offset",
						      (json_int_t)json_integer_value(offset)));
		json_decref(q);
	}
	json_decref(body);
	return RC_OK;
}

enum rc
cmd_reset_offset(struct adm *a)
{
	static const struct adm_col cols[] = {
	    {"broker", "#brokerName", false}, {"queue", "#queueId", true}, {"offset", "#offset", true}};
	struct adm_brokers brokers = {0};
	json_t *rows = json_array();
	struct reset_wish w;
	enum rc rc = take_reset(a, &w);

	if (rc == RC_OK)
		rc = adm_value(a, 'b') ? adm_brokers_of_options(a, ADM_MASTERS, &brokers)
				       : adm_brokers_of_topic(a, adm_value(a, 't'), &brokers);
	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++)
		if (reset_at(a, brokers.v[i].address, &w, rows) != RC_OK)
			adm_failed(a, brokers.v[i].address);
	adm_brokers_free(&brokers);
	if (rc != RC_OK) {
		json_decref(rows);
		return rc;
	}
	adm_sort_queues(rows);
	adm_rows(a, cols, COUNT_OF(cols), rows);
	return RC_OK;
}

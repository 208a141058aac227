/*
 * adm_message: which queues a topic has, and messages as JSON and as text.
 */
#include "tools/adm_message.h"

#include <stdio.h>
#include <zlib.h>

#define BODY_MAX (16u << 20)

static const char *
address_of(const struct adm_brokers *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->v[i].name, name) == 0)
			return b->v[i].address;
	return NULL;
}

static void
add_queues(struct adm *a, struct adm_queues *q, const json_t *data, const char *count_key, int perm, int64_t only)
{
	const char *name = json_get_str(data, "brokerName", ""), *address = address_of(&q->brokers, name);
	int64_t count = json_get_i64(data, count_key, 0);

	if (address == NULL || !(json_get_i64(data, "perm", 0) & perm) ||
	    (adm_value(a, 'b') && strcmp(adm_value(a, 'b'), name) != 0))
		return;
	for (int64_t id = 0; id < count && id < 65536; id++) {
		if (only >= 0 && id != only)
			continue;
		q->v = xrealloc(q->v, (q->n + 1) * sizeof(*q->v));
		q->v[q->n++] = (struct adm_queue){name, address, id};
	}
}

void
adm_queues_free(struct adm_queues *q)
{
	adm_brokers_free(&q->brokers);
	free(q->v);
	*q = (struct adm_queues){0};
}

enum rc
adm_find_queues(struct adm *a, const char *topic, int perm, struct adm_queues *q, json_t **route)
{
	int64_t only;
	json_t *data;
	size_t i;
	enum rc rc = adm_number(a, 'i', -1, 0, 65535, &only);

	*q = (struct adm_queues){0};
	*route = NULL;
	if (rc == RC_OK)
		rc = adm_route(a, topic, route);
	if (rc == RC_OK)
		rc = adm_brokers_of_topic(a, topic, &q->brokers);
	if (rc != RC_OK)
		return rc;
	json_array_foreach (json_object_get(*route, "queueDatas"), i, data)
		add_queues(a, q, data, perm == 2 ? "writeQueueNums" : "readQueueNums", perm, only);
	if (q->n > 0)
		return RC_OK;
	err_set(&a->e, "topic %s has no queue to %s%s", topic, perm == 2 ? "write to" : "read from",
		adm_value(a, 'b') || only >= 0 ? " at that broker and queue id" : "");
	return RC_NOTFOUND;
}

/* The body as it was before the producer compressed it; as it is, if we cannot tell. The memory is the caller's. */
static struct slice
plain_body(const struct message *m, char **memory)
{
	uLongf n = (uLongf)m->body.n * 4 + 1024;
	int z = Z_BUF_ERROR, type = (m->sysflag & MSG_SYS_COMPRESS_TYPE) >> 8;

	*memory = NULL;
	if (!(m->sysflag & MSG_SYS_COMPRESSED) || (type != 0 && type != 3)) /* 3 says zlib, 0 comes from old clients */
		return m->body;
	for (; z == Z_BUF_ERROR && n <= BODY_MAX * 2; n *= 4) {
		uLongf got = n;

		*memory = xrealloc(*memory, n);
		z = uncompress((Bytef *)*memory, &got, (const Bytef *)m->body.p, (uLong)m->body.n);
		if (z == Z_OK)
			return (struct slice){*memory, got};
	}
	return m->body;
}

static json_t *
props_json(struct slice props)
{
	json_t *o = json_object();
	struct slice n, v;

	while (props_next(&props, &n, &v)) {
		json_t *name = adm_json_text(n);

		json_object_set_new(o, json_string_value(name), adm_json_text(v));
		json_decref(name);
	}
	return o;
}

json_t *
adm_message_json(const struct message *m, const char *broker)
{
	struct slice unique = props_get(m->props[0], "UNIQ_KEY"), body;
	char offset_id[MSG_ID_TEXT], born[ADDR_TEXT], store[ADDR_TEXT], *memory;
	json_t *j;

	message_id_text(&m->store_host, m->physical, offset_id);
	body = plain_body(m, &memory);
	j = json_pack("{s:o,s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:i,s:i,s:I,s:o,s:o}", "msgId",
		      unique.n ? adm_json_text(unique) : json_string(offset_id), "offsetMsgId", offset_id, "topic",
		      adm_json_text(m->topic), "broker", broker, "queueId", (json_int_t)m->queue_id, "queueOffset",
		      (json_int_t)m->queue_offset, "commitLogOffset", (json_int_t)m->physical, "storeSize",
		      (json_int_t)m->size, "bornTimestamp", (json_int_t)m->born_ms, "storeTimestamp",
		      (json_int_t)m->store_ms, "bornHost", addr_text(&m->born_host, born), "storeHost",
		      addr_text(&m->store_host, store), "sysFlag", (int)m->sysflag, "flag", (int)m->flag,
		      "reconsumeTimes", (json_int_t)m->reconsume_times, "properties", props_json(m->props[0]), "body",
		      adm_json_text(body));
	free(memory);
	return j;
}

void
adm_message_line(const json_t *j)
{
	const json_t *props = json_object_get(j, "properties");
	char when[32];

	printf("MSGID: %s %s queue %lld offset %lld stored %s size %lld tags %s keys %s BODY: %s\n",
	       json_get_str(j, "msgId", ""), json_get_str(j, "broker", ""), (long long)json_get_i64(j, "queueId", 0),
	       (long long)json_get_i64(j, "queueOffset", 0), adm_time_text(json_get_i64(j, "storeTimestamp", 0), when),
	       (long long)json_get_i64(j, "storeSize", 0), json_get_str(props, "TAGS", "-"),
	       json_get_str(props, "KEYS", "-"), json_get_str(j, "body", ""));
}

void
adm_message_long(const json_t *j)
{
	const json_t *props = json_object_get(j, "properties");
	char born[32], stored[32], *all = json_dumps(props, JSON_COMPACT | JSON_SORT_KEYS);

	printf(
	    "OffsetID:            %s\nTopic:               %s\nTags:                [%s]\nKeys:                [%s]\n",
	    json_get_str(j, "offsetMsgId", ""), json_get_str(j, "topic", ""), json_get_str(props, "TAGS", ""),
	    json_get_str(props, "KEYS", ""));
	printf("Queue ID:            %lld\nQueue Offset:        %lld\nCommitLog Offset:    %lld\nReconsume Times:     "
	       "%lld\n",
	       (long long)json_get_i64(j, "queueId", 0), (long long)json_get_i64(j, "queueOffset", 0),
	       (long long)json_get_i64(j, "commitLogOffset", 0), (long long)json_get_i64(j, "reconsumeTimes", 0));
	printf("Born Timestamp:      %s\nStore Timestamp:     %s\nBorn Host:           %s\nStore Host:          %s\n",
	       adm_time_text(json_get_i64(j, "bornTimestamp", 0), born),
	       adm_time_text(json_get_i64(j, "storeTimestamp", 0), stored), json_get_str(j, "bornHost", ""),
	       json_get_str(j, "storeHost", ""));
	printf("System Flag:         %lld\nProperties:          %s\nMessage Body:        %s\n\n",
	       (long long)json_get_i64(j, "sysFlag", 0), all, json_get_str(j, "body", ""));
	free(all);
}

void
adm_messages(struct adm *a, json_t *found, void (*print)(const json_t *j))
{
	json_t *j;
	size_t i;

	if (a->json) {
		adm_print_json(found);
		return;
	}
	json_array_foreach (found, i, j)
		print(j);
	json_decref(found);
}

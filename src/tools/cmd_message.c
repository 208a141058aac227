/*
 * cmd_message: sendMessage, consumeMessage, queryMsgById.
 */
#include <stdio.h>
#include <zlib.h>

#include "common/clock.h"
#include "common/message.h"
#include "common/str.h"
#include "tools/adm.h"

#define PULL_BATCH      32
#define PULL_SUBSCRIBED 4 /* sysFlag: the request brings its subscription; without the bit for waiting */
#define BODY_MAX        (16u << 20)

/* A queue to send to or to read from. */
struct queue {
	const char *broker, *address; /* of the route and of the brokers list */
	int64_t id;
};

struct queues {
	struct adm_brokers brokers;
	struct queue *v;
	size_t n;
};

static const char *
address_of(const struct adm_brokers *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->v[i].name, name) == 0)
			return b->v[i].address;
	return NULL;
}

static void
add_queues(struct adm *a, struct queues *q, const json_t *data, const char *count_key, int perm, int64_t only)
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
		q->v[q->n++] = (struct queue){name, address, id};
	}
}

static void
queues_free(struct queues *q)
{
	adm_brokers_free(&q->brokers);
	free(q->v);
	*q = (struct queues){0};
}

/* The topic's queues that may be written (perm 2) or read (perm 4), within -b and -i. *route keeps the names alive. */
static enum rc
find_queues(struct adm *a, const char *topic, int perm, struct queues *q, json_t **route)
{
	int64_t only;
	json_t *data;
	size_t i;
	enum rc rc = adm_number(a, 'i', -1, 0, 65535, &only);

	*q = (struct queues){0};
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

static void
put_send(struct adm *a, struct ask *k, const struct queue *q, struct slice props)
{
	frame_field(&k->f, "a", SLICE_LIT("TOOLS_PRODUCER"));
	frame_field(&k->f, "b", slice_of(adm_value(a, 't')));
	frame_field(&k->f, "c", SLICE_LIT("TBW102"));
	frame_field_i64(&k->f, "d", 4);
	frame_field_i64(&k->f, "e", q->id);
	frame_field_i64(&k->f, "f", 0);
	frame_field_i64(&k->f, "g", clock_wall_ms());
	frame_field_i64(&k->f, "h", 0);
	frame_field(&k->f, "i", props);
	frame_field_i64(&k->f, "j", 0);
	frame_field_bool(&k->f, "k", false);
	frame_field_bool(&k->f, "m", false);
	frame_field(&k->f, "n", slice_of(q->broker));
}

static const char *
send_result(int code)
{
	switch (code) {
	case RES_SUCCESS:
		return "SEND_OK";
	case RES_FLUSH_DISK_TIMEOUT:
		return "FLUSH_DISK_TIMEOUT";
	case RES_FLUSH_SLAVE_TIMEOUT:
		return "FLUSH_SLAVE_TIMEOUT";
	case RES_SLAVE_NOT_AVAILABLE:
		return "SLAVE_NOT_AVAILABLE";
	default:
		return NULL;
	}
}

/* Three answers besides success say that the message is there, but not as safe as wanted: they are a result, not a
 * failure. */
static enum rc
send_to(struct adm *a, const struct queue *q)
{
	static const struct adm_col cols[] = {{"broker", "#Broker Name", false},
					      {"queue", "#QID", false},
					      {"result", "#Send Result", false},
					      {"msgId", "#MsgId", false},
					      {"offset", "#Offset", true}};
	struct ask *k = adm_begin(a, q->address, REQ_SEND_MESSAGE_V2);
	struct buf props = {0};
	char id[33];
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	message_unique_id(id);
	props_put(&props, "UNIQ_KEY", slice_of(id));
	props_put(&props, "WAIT", SLICE_LIT("true"));
	if (adm_value(a, 'k'))
		props_put(&props, "KEYS", slice_of(adm_value(a, 'k')));
	if (adm_value(a, 'c'))
		props_put(&props, "TAGS", slice_of(adm_value(a, 'c')));
	put_send(a, k, q, buf_slice(&props));
	buf_free(&props);
	rc = adm_end(a, k, slice_of(adm_value(a, 'p')));
	if (rc != RC_OK && (rc != RC_INVAL || send_result(k->answer.code) == NULL))
		return rc;
	adm_rows(a, cols, COUNT_OF(cols),
		 json_pack("[{s:s,s:I,s:s,s:s,s:I}]", "broker", q->broker, "queue",
			   (json_int_t)field_i64(&k->answer, "queueId", q->id), "result", send_result(k->answer.code),
			   "msgId", id, "offset", (json_int_t)field_i64(&k->answer, "queueOffset", -1)));
	return RC_OK;
}

enum rc
cmd_send_message(struct adm *a)
{
	struct queues q;
	json_t *route;
	enum rc rc;

	if (adm_value(a, 'i') && adm_value(a, 'b') == NULL) {
		return adm_misused(a, "-i (a queue) needs -b (its broker's name)");
	}
	rc = find_queues(a, adm_value(a, 't'), 2, &q, &route);
	if (rc == RC_NOTFOUND && route == NULL) {
		/* as a producer does: a topic that is not there yet is made at the first message, by the default
		 * topic's route */
		rc = find_queues(a, "TBW102", 2, &q, &route);
		if (rc == RC_NOTFOUND)
			err_set(&a->e, "there is no topic %s, and brokers do not make topics by themselves",
				adm_value(a, 't'));
	}
	if (rc == RC_OK)
		rc = send_to(a, &q.v[(uint64_t)clock_mono_us() % q.n]);
	queues_free(&q);
	json_decref(route);
	return rc;
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

static json_t *
message_json(const struct message *m, const char *broker)
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

static void
print_line(const json_t *j)
{
	const json_t *props = json_object_get(j, "properties");
	char when[32];

	printf("MSGID: %s %s queue %lld offset %lld stored %s size %lld tags %s keys %s BODY: %s\n",
	       json_get_str(j, "msgId", ""), json_get_str(j, "broker", ""), (long long)json_get_i64(j, "queueId", 0),
	       (long long)json_get_i64(j, "queueOffset", 0), adm_time_text(json_get_i64(j, "storeTimestamp", 0), when),
	       (long long)json_get_i64(j, "storeSize", 0), json_get_str(props, "TAGS", "-"),
	       json_get_str(props, "KEYS", "-"), json_get_str(j, "body", ""));
}

static void
print_long(const json_t *j)
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

struct consume_wish {
	int64_t offset, count, begin, end;
	json_t *found;
};

/* Takes the messages of one pull answer. False: enough, or past the end time. *next: where to go on. */
static bool
take_messages(struct slice body, const char *broker, struct consume_wish *w, int64_t *next)
{
	struct message m;

	while (message_decode(&m, body.p, body.n, false) == RC_OK) {
		if (w->end >= 0 && m.store_ms >= w->end)
			return false;
		body.p += m.size;
		body.n -= m.size;
		*next = m.queue_offset + 1;
		json_array_append_new(w->found, message_json(&m, broker));
		if ((int64_t)json_array_size(w->found) >= w->count)
			return false;
	}
	return true;
}

static enum rc
pull(struct adm *a, const struct queue *q, int64_t offset, struct ask **k)
{
	const char *group = adm_value(a, 'g') ? adm_value(a, 'g') : "TOOLS_CONSUMER";
	enum rc rc;

	*k = adm_begin(a, q->address, REQ_PULL_MESSAGE);
	if (*k == NULL)
		return RC_IO;
	frame_field(&(*k)->f, "consumerGroup", slice_of(group));
	frame_field(&(*k)->f, "topic", slice_of(adm_value(a, 't')));
	frame_field_i64(&(*k)->f, "queueId", q->id);
	frame_field_i64(&(*k)->f, "queueOffset", offset);
	frame_field_i64(&(*k)->f, "maxMsgNums", PULL_BATCH);
	frame_field_i64(&(*k)->f, "sysFlag", PULL_SUBSCRIBED);
	frame_field_i64(&(*k)->f, "commitOffset", 0);
	frame_field_i64(&(*k)->f, "suspendTimeoutMillis", 0);
	frame_field(&(*k)->f, "subscription", SLICE_LIT("*"));
	frame_field(&(*k)->f, "expressionType", SLICE_LIT("TAG"));
	frame_field_i64(&(*k)->f, "subVersion", clock_wall_ms());
	rc = adm_end(a, *k, SLICE_NONE);
	return rc == RC_INVAL ? RC_OK : rc; /* the codes of a pull are looked at by the caller */
}

/* Reads on from offset to the end of the queue or of the wish. */
static enum rc
consume_from(struct adm *a, const struct queue *q, int64_t offset, struct consume_wish *w)
{
	struct ask *k;
	int64_t next;
	enum rc rc;

	for (;;) {
		rc = pull(a, q, offset, &k);
		if (rc != RC_OK)
			return rc;
		next = field_i64(&k->answer, "nextBeginOffset", offset);
		switch (k->answer.code) {
		case RES_SUCCESS:
			next = offset;
			if (!take_messages(k->answer.body, q->broker, w, &next))
				return RC_OK;
			break;
		case RES_PULL_RETRY_IMMEDIATELY:
		case RES_PULL_OFFSET_MOVED:
			break;
		case RES_PULL_NOT_FOUND:
			return RC_OK;
		default:
			return RC_INVAL; /* a->e has the answer */
		}
		if (next <= offset)
			return RC_OK;
		offset = next;
	}
}

static enum rc
ask_offset(struct adm *a, const struct queue *q, int code, int64_t timestamp, int64_t *offset)
{
	struct ask *k = adm_begin(a, q->address, code);
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
	frame_field_i64(&k->f, "queueId", q->id);
	if (code == REQ_SEARCH_OFFSET_BY_TIMESTAMP)
		frame_field_i64(&k->f, "timestamp", timestamp);
	rc = adm_end(a, k, SLICE_NONE);
	if (rc == RC_OK)
		*offset = field_i64(&k->answer, "offset", 0);
	return rc;
}

static enum rc
consume_queue(struct adm *a, const struct queue *q, struct consume_wish *w)
{
	int64_t offset = w->offset;
	enum rc rc = RC_OK;

	if (offset < 0 && w->begin >= 0)
		rc = ask_offset(a, q, REQ_SEARCH_OFFSET_BY_TIMESTAMP, w->begin, &offset);
	else if (offset < 0)
		rc = ask_offset(a, q, REQ_GET_MIN_OFFSET, 0, &offset);
	return rc == RC_OK ? consume_from(a, q, offset, w) : rc;
}

static enum rc
take_consume(struct adm *a, struct consume_wish *w)
{
	enum rc rc = adm_number(a, 'o', -1, 0, INT64_MAX, &w->offset);

	if (rc == RC_OK)
		rc = adm_number(a, 'c', 128, 1, INT32_MAX, &w->count);
	if (rc == RC_OK)
		rc = adm_time(a, 's', -1, &w->begin);
	if (rc == RC_OK)
		rc = adm_time(a, 'e', -1, &w->end);
	if (rc == RC_OK && (adm_value(a, 'i') || w->offset >= 0) && adm_value(a, 'b') == NULL) {
		return adm_misused(a, "-i (a queue) and -o (an offset) need -b (the broker's name)");
	}
	if (rc == RC_OK && w->offset >= 0 && adm_value(a, 'i') == NULL) {
		return adm_misused(a, "-o (an offset) needs -i (its queue)");
	}
	return rc;
}

static void
print_messages(struct adm *a, json_t *found, void (*print)(const json_t *j))
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

enum rc
cmd_consume_message(struct adm *a)
{
	struct consume_wish w = {0};
	struct queues q = {0};
	json_t *route = NULL;
	enum rc rc = take_consume(a, &w);

	if (rc == RC_OK)
		rc = find_queues(a, adm_value(a, 't'), 4, &q, &route);
	if (rc != RC_OK)
		goto out;
	w.found = json_array();
	for (size_t i = 0; i < q.n && (int64_t)json_array_size(w.found) < w.count; i++)
		if (consume_queue(a, &q.v[i], &w) != RC_OK)
			adm_failed(a, q.v[i].broker);
	print_messages(a, w.found, print_line);
out:
	queues_free(&q);
	json_decref(route);
	return rc;
}

/* All messages of an answer's body. */
static void
add_messages(json_t *found, struct slice body, const char *broker, const char *unique)
{
	struct message m;

	while (message_decode(&m, body.p, body.n, false) == RC_OK) {
		if (unique == NULL || slice_is(props_get(m.props[0], "UNIQ_KEY"), unique))
			json_array_append_new(found, message_json(&m, broker));
		body.p += m.size;
		body.n -= m.size;
	}
}

static enum rc
by_offset_id(struct adm *a, const struct adm_broker *b, int64_t physical, json_t *found)
{
	struct ask *k = adm_begin(a, b->address, REQ_VIEW_MESSAGE_BY_ID);
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	frame_field_i64(&k->f, "offset", physical);
	frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
	rc = adm_end(a, k, SLICE_NONE);
	if (rc == RC_OK)
		add_messages(found, k->answer.body, b->name, NULL);
	return rc;
}

static enum rc
by_unique_id(struct adm *a, const char *id, json_t *found)
{
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_topic(a, adm_value(a, 't'), &brokers), one;

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		struct ask *k = adm_begin(a, brokers.v[i].address, REQ_QUERY_MESSAGE);

		if (k) {
			frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
			frame_field(&k->f, "key", slice_of(id));
			frame_field_i64(&k->f, "maxNum", 32);
			frame_field_i64(&k->f, "beginTimestamp", 0);
			frame_field_i64(&k->f, "endTimestamp", INT64_MAX);
			frame_field(&k->f, "_UNIQUE_KEY_QUERY", SLICE_LIT("true"));
		}
		one = adm_end(a, k, SLICE_NONE);
		if (one == RC_OK)
			add_messages(found, k->answer.body, brokers.v[i].name, id);
		else if (one != RC_NOTFOUND)
			adm_failed(a, brokers.v[i].name);
	}
	adm_brokers_free(&brokers);
	return rc;
}

/* The broker whose address an offset id holds; a unique id has the same form but names a client. */
static const struct adm_broker *
broker_of_id(const struct adm_brokers *all, const struct addr *host)
{
	char text[ADDR_TEXT];

	addr_text(host, text);
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].address, text) == 0)
			return &all->v[i];
	return NULL;
}

static enum rc
query_one(struct adm *a, const struct adm_brokers *all, const char *id, json_t *found)
{
	const struct adm_broker *b = NULL;
	size_t before = json_array_size(found);
	int64_t physical = 0;
	struct addr host;
	enum rc rc;

	if (message_id_parse(slice_of(id), &host, &physical) == RC_OK)
		b = broker_of_id(all, &host);
	rc = b ? by_offset_id(a, b, physical, found) : by_unique_id(a, id, found);
	if (rc == RC_OK && json_array_size(found) == before) {
		err_set(&a->e, "no message has the id %s", id);
		return RC_NOTFOUND;
	}
	return rc;
}

enum rc
cmd_query_msg_by_id(struct adm *a)
{
	char *ids = xstrdup(adm_value(a, 'i')), *rest = ids, *id;
	json_t *found = json_array();
	struct adm_brokers all;
	enum rc rc = adm_brokers_of_cluster(a, NULL, ADM_ALL, &all);

	while (rc == RC_OK && (id = strsep(&rest, ", ")) != NULL)
		if (*id && query_one(a, &all, id, found) != RC_OK)
			adm_failed(a, id);
	adm_brokers_free(&all);
	free(ids);
	if (rc == RC_OK)
		print_messages(a, found, print_long);
	else
		json_decref(found);
	return rc;
}

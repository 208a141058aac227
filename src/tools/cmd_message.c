/*
 * cmd_message: consumeMessage, queryMsgById, queryMsgByKey.
 */
#include "common/clock.h"
#include "common/str.h"
#include "tools/adm_message.h"

#define PULL_BATCH      32
#define PULL_SUBSCRIBED 4 /* sysFlag: the request brings its subscription; without the bit for waiting */

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
		json_array_append_new(w->found, adm_message_json(&m, broker));
		if ((int64_t)json_array_size(w->found) >= w->count)
			return false;
	}
	return true;
}

static enum rc
pull(struct adm *a, const struct adm_queue *q, int64_t offset, struct ask **k)
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
consume_from(struct adm *a, const struct adm_queue *q, int64_t offset, struct consume_wish *w)
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
ask_offset(struct adm *a, const struct adm_queue *q, int code, int64_t timestamp, int64_t *offset)
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
consume_queue(struct adm *a, const struct adm_queue *q, struct consume_wish *w)
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

enum rc
cmd_consume_message(struct adm *a)
{
	struct consume_wish w = {0};
	struct adm_queues q = {0};
	json_t *route = NULL;
	enum rc rc = take_consume(a, &w);

	if (rc == RC_OK)
		rc = adm_find_queues(a, adm_value(a, 't'), 4, &q, &route);
	if (rc != RC_OK)
		goto out;
	w.found = json_array();
	for (size_t i = 0; i < q.n && (int64_t)json_array_size(w.found) < w.count; i++)
		if (consume_queue(a, &q.v[i], &w) != RC_OK)
			adm_failed(a, q.v[i].broker);
	adm_messages(a, w.found, adm_message_line);
out:
	adm_queues_free(&q);
	json_decref(route);
	return rc;
}

static enum rc
by_offset_id(struct adm *a, const struct adm_broker *b, int64_t physical, json_t *found)
{
	struct ask *k = adm_begin(a, b->address, REQ_VIEW_MESSAGE_BY_ID);
	struct message m;
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	frame_field_i64(&k->f, "offset", physical);
	frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
	rc = adm_end(a, k, SLICE_NONE);
	if (rc == RC_OK && message_decode(&m, k->answer.body.p, k->answer.body.n, false) == RC_OK)
		json_array_append_new(found, adm_message_json(&m, b->name));
	return rc;
}

/* What a question to the index asks for. */
struct key_query {
	const char	*key, *unique; /* unique: only messages with that unique key; NULL: any with the key */
	int64_t		 most, begin_ms, end_ms;
};

/* A hash may have brought messages of other keys. */
static bool
has_key(const struct message *m, const struct key_query *q)
{
	struct slice rest = props_get(m->props[0], "KEYS"), word;

	if (q->unique != NULL)
		return slice_is(props_get(m->props[0], "UNIQ_KEY"), q->unique);
	while (rest.n > 0 && str_next(&rest, ' ', &word))
		if (slice_is(word, q->key))
			return true;
	return false;
}

static void
add_matching(json_t *found, struct slice body, const char *broker, const struct key_query *q)
{
	struct message m;

	for (; message_decode(&m, body.p, body.n, false) == RC_OK; body.p += m.size, body.n -= m.size)
		if (has_key(&m, q))
			json_array_append_new(found, adm_message_json(&m, broker));
}

static enum rc
query_brokers(struct adm *a, const struct key_query *q, json_t *found)
{
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_topic(a, adm_value(a, 't'), &brokers), one;

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		struct ask *k = adm_begin(a, brokers.v[i].address, REQ_QUERY_MESSAGE);

		if (k) {
			frame_field(&k->f, "topic", slice_of(adm_value(a, 't')));
			frame_field(&k->f, "key", slice_of(q->key));
			frame_field_i64(&k->f, "maxNum", q->most);
			frame_field_i64(&k->f, "beginTimestamp", q->begin_ms);
			frame_field_i64(&k->f, "endTimestamp", q->end_ms);
			frame_field(&k->f, "_UNIQUE_KEY_QUERY", q->unique != NULL ? SLICE_LIT("true") : SLICE_LIT("false"));
		}
		one = adm_end(a, k, SLICE_NONE);
		if (one == RC_OK)
			add_matching(found, k->answer.body, brokers.v[i].name, q);
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
	rc = b ? by_offset_id(a, b, physical, found)
	       : query_brokers(a, &(struct key_query){id, id, 32, 0, INT64_MAX}, found);
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
		adm_messages(a, found, adm_message_long);
	else
		json_decref(found);
	return rc;
}

enum rc
cmd_query_msg_by_key(struct adm *a)
{
	struct key_query q = {.key = adm_value(a, 'k')};
	json_t *found = json_array();
	enum rc rc = adm_number(a, 'm', 64, 1, 64, &q.most);

	if (rc == RC_OK)
		rc = adm_time(a, 'b', 0, &q.begin_ms);
	if (rc == RC_OK)
		rc = adm_time(a, 'e', INT64_MAX, &q.end_ms);
	if (rc == RC_OK)
		rc = query_brokers(a, &q, found);
	if (rc == RC_OK)
		adm_messages(a, found, adm_message_line);
	else
		json_decref(found);
	return rc;
}

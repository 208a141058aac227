/*
 * cmd_send: sendMessage.
 */
#include <stdio.h>

#include "common/clock.h"
#include "common/str.h"
#include "tools/adm_message.h"

/* Queues that we ask for when the topic is made by our message: the original's clients ask for as many. */
#define NEW_TOPIC_QUEUES 4

static void
put_send(struct adm *a, struct ask *k, const struct adm_queue *q, struct slice props)
{
	frame_field(&k->f, "a", SLICE_LIT("TOOLS_PRODUCER"));
	frame_field(&k->f, "b", slice_of(adm_value(a, 't')));
	frame_field(&k->f, "c", SLICE_LIT("TBW102"));
	frame_field_i64(&k->f, "d", NEW_TOPIC_QUEUES);
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

/* --property NAME=VALUE,.. */
static enum rc
put_properties(struct adm *a, struct buf *props)
{
	struct slice rest = slice_of(adm_value(a, 'P')), pair;
	char name[128];

	while (rest.n > 0 && str_next(&rest, ',', &pair)) {
		const char *eq = memchr(pair.p, '=', pair.n);
		size_t n = eq != NULL ? (size_t)(eq - pair.p) : 0;

		if (n == 0 || n >= sizeof(name) || n + 1 == pair.n)
			return adm_misused(a, "--property takes NAME=VALUE,NAME=VALUE.., not '%.*s'", (int)pair.n, pair.p);
		snprintf(name, sizeof(name), "%.*s", (int)n, pair.p);
		props_put(props, name, (struct slice){eq + 1, pair.n - n - 1});
	}
	return RC_OK;
}

/* Three answers besides success say that the message is there, but not as safe as wanted: they are a result, not a
 * failure. */
static enum rc
send_to(struct adm *a, const struct adm_queue *q, struct slice more)
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
	buf_put_slice(&props, more);
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

/* The default topic may have more queues than the new topic will get. */
static enum rc
keep_first_queues(struct adm_queues *q)
{
	size_t kept = 0;

	for (size_t i = 0; i < q->n; i++)
		if (q->v[i].id < NEW_TOPIC_QUEUES)
			q->v[kept++] = q->v[i];
	q->n = kept;
	return kept > 0 ? RC_OK : RC_NOTFOUND;
}

enum rc
cmd_send_message(struct adm *a)
{
	struct buf props = {0};
	struct adm_queues q;
	json_t *route;
	enum rc rc;

	if (adm_value(a, 'i') && adm_value(a, 'b') == NULL) {
		return adm_misused(a, "-i (a queue) needs -b (its broker's name)");
	}
	if (adm_value(a, 'P') && (rc = put_properties(a, &props)) != RC_OK) {
		buf_free(&props);
		return rc;
	}
	rc = adm_find_queues(a, adm_value(a, 't'), 2, &q, &route);
	if (rc == RC_NOTFOUND && route == NULL) {
		/* as a producer does: a topic that is not there yet is made at the first message, by the default
		 * topic's route */
		rc = adm_find_queues(a, "TBW102", 2, &q, &route);
		if (rc == RC_OK)
			rc = keep_first_queues(&q);
		if (rc == RC_NOTFOUND)
			err_set(&a->e, "there is no topic %s, and brokers do not make topics by themselves",
				adm_value(a, 't'));
	}
	if (rc == RC_OK)
		rc = send_to(a, &q.v[(uint64_t)clock_mono_us() % q.n], buf_slice(&props));
	buf_free(&props);
	adm_queues_free(&q);
	json_decref(route);
	return rc;
}

/*
 * req_lock: locks of queues for orderly consumption (41, 42).
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/answer.h"
#include "workers/broker/orderly.h"

struct lock_request {
	json_t		*body, *queues;
	struct slice	 group, client_id;
};

/* False: answered already. The caller frees body. */
static bool
read_request(struct lock_request *r, struct conn *c, const struct request_id *id, const struct command *cmd)
{
	struct err e = {"no JSON object"};

	r->body = NULL;
	if (json_load_relaxed(cmd->body, &r->body, &e) != RC_OK || !json_is_object(r->body)) {
		json_decref(r->body);
		conn_answer(c, id, RES_SYSTEM_ERROR, "the body of request %d is not what it must be: %s", id->code, e.text);
		return false;
	}
	r->group = slice_of(json_get_str(r->body, "consumerGroup", ""));
	r->client_id = slice_of(json_get_str(r->body, "clientId", ""));
	r->queues = json_object_get(r->body, "mqSet");
	return true;
}

static struct mq_name
read_mq(const json_t *o)
{
	return (struct mq_name){slice_of(json_get_str(o, "brokerName", "")), slice_of(json_get_str(o, "topic", "")),
	    (int32_t)json_get_i64(o, "queueId", 0)};
}

static void
put_mq(struct buf *out, const struct mq_name *mq)
{
	if (out->len > 0 && out->p[out->len - 1] != '[')
		buf_put_char(out, ',');
	buf_put_str(out, "{\"brokerName\":");
	buf_put_json(out, mq->broker_name);
	buf_printf(out, ",\"queueId\":%d,\"topic\":", mq->queue_id);
	buf_put_json(out, mq->topic);
	buf_put_char(out, '}');
}

void
req_lock(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct lock_request r;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (!read_request(&r, c, &id, cmd))
		return;
	buf_put_str(&body, "{\"lockOKMQSet\":[");
	for (size_t i = 0; r.group.n > 0 && r.client_id.n > 0 && i < json_array_size(r.queues); i++) {
		struct mq_name mq = read_mq(json_array_get(r.queues, i));

		if (orderly_lock(b->orderly, r.group, &mq, r.client_id))
			put_mq(&body, &mq);
	}
	buf_put_str(&body, "]}");
	json_decref(r.body);
	answer_buf(c, &id, &body);
}

void
req_unlock(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct lock_request r;

	request_id_of(&id, cmd);
	if (!read_request(&r, c, &id, cmd))
		return;
	for (size_t i = 0; i < json_array_size(r.queues); i++) {
		struct mq_name mq = read_mq(json_array_get(r.queues, i));

		orderly_unlock(b->orderly, r.group, &mq, r.client_id);
	}
	json_decref(r.body);
	conn_answer(c, &id, RES_SUCCESS, NULL);
}

/*
 * req_reply: codes 324 and 325: a consumer's reply to a request message is pushed to the asker and kept in the reply topic.
 *
 * Runs in:    the broker process.
 * Owns:       replies until both have ended: the push to the asker's connection, and the storing.
 * Must not:   answer before both, nor twice. The answer says how the push went, whatever the store did.
 */
#include "workers/broker/clients.h"
#include "workers/broker/reply.h"
#include "workers/broker/send.h"

#include <stdio.h>

#include "common/clock.h"

#define PUSH_TIMEOUT_MS 10000

struct reply {
	struct broker	*b;
	struct conn	*conn;		/* the consumer's; a reference */
	struct request_id id;
	char		*asker;		/* client id; NULL: the reply names none */
	int		 open_parts;	/* push and store, as far as they are under way */
	int		 code;
	char		 remark[512];
	char		*msg_id;	/* as stored; NULL: it was not */
	int32_t		 queue_id;
	int64_t		 queue_offset;
};

static void
answer(struct reply *r)
{
	struct sent sent = {.msg_id = slice_of(r->msg_id), .queue_id = r->queue_id, .queue_offset = r->queue_offset};

	if (r->msg_id == NULL)
		sent.msg_id = SLICE_LIT("0"); /* clients read the field on success */
	if (r->code == RES_SUCCESS)
		sent_answer(r->b, r->conn, &r->id, r->code, &sent);
	else
		send_refuse(r->b, r->conn, &r->id, r->code, "%s", r->remark);
	conn_unref(&r->conn);
	free(r->asker);
	free(r->msg_id);
	free(r);
}

static void
part_done(struct reply *r)
{
	if (--r->open_parts == 0)
		answer(r);
}

void
reply_stored(struct reply *r, const struct sent *sent)
{
	if (sent != NULL) {
		r->msg_id = xslicedup(sent->msg_id);
		r->queue_offset = sent->queue_offset;
	} else {
		log_warn("a reply of %s was not stored", r->conn->peer_text);
	}
	part_done(r);
}

/* ---- push */

static void
push_failed(struct reply *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
push_failed(struct reply *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->remark, sizeof(r->remark), fmt, ap);
	va_end(ap);
	r->code = RES_SYSTEM_ERROR;
}

static void
pushed(void *arg, struct command *cmd, const char *why)
{
	struct reply *r = arg;

	if (cmd == NULL || cmd->code != RES_SUCCESS) {
		push_failed(r, "push reply message to %sfail.", r->asker);
		log_warn("a reply could not be pushed to %s: %s", r->asker, cmd == NULL ? why : "the client refused it");
	}
	part_done(r);
}

/* The client's properties, without those of the broker, and the time of the push. */
static void
put_push_props(struct broker *b, const struct send_header *h, struct buf *out)
{
	char now[24];

	send_props_strip(h->props, false, out);
	snprintf(now, sizeof(now), "%lld", (long long)clock_wall_ms());
	props_put(out, "PUSH_REPLY_TIME", slice_of(now));
	props_put(out, "MSG_REGION", slice_of(b->conf->regionId));
	props_put(out, "TRACE_ON", slice_of(b->conf->traceOn ? "true" : "false"));
}

static void
put_push_fields(struct reply *r, struct frame_out *f, const struct send_header *h)
{
	struct buf *props = sends_scratch(r->b->sends);

	frame_field(f, "producerGroup", h->group);
	frame_field(f, "topic", h->topic);
	frame_field(f, "defaultTopic", h->default_topic);
	frame_field_i64(f, "defaultTopicQueueNums", h->default_queues);
	frame_field_i64(f, "queueId", h->queue_id);
	frame_field_i64(f, "sysFlag", h->sys_flag);
	frame_field_i64(f, "bornTimestamp", h->born_ms);
	frame_field_i64(f, "flag", h->flag);
	put_push_props(r->b, h, props);
	frame_field(f, "properties", buf_slice(props));
	frame_field_i64(f, "reconsumeTimes", h->reconsume);
	frame_field_bool(f, "unitMode", h->unit);
	frame_field(f, "bornHost", slice_of(r->conn->peer_text));
	frame_field(f, "storeHost", slice_of(r->b->store_host_text));
	frame_field_i64(f, "storeTimestamp", clock_wall_ms());
}

static void
push(struct reply *r, const struct send_header *h, struct slice asker, struct slice body)
{
	struct call_out call;
	struct conn *to;

	if (asker.n == 0) {
		push_failed(r, "reply message properties[REPLY_TO_CLIENT] is null");
		return;
	}
	if ((to = producer_conn_by_client(r->b->clients, asker)) == NULL) {
		push_failed(r, "push reply message fail, channel of <%.*s> not found.", (int)asker.n, asker.p);
		return;
	}
	r->asker = xslicedup(asker);
	r->open_parts++;
	call_begin(&call, r->b->calls, to, REQ_PUSH_REPLY_MESSAGE_TO_CLIENT, PUSH_TIMEOUT_MS, pushed, r);
	put_push_fields(r, &call.f, h);
	call_end(&call, body);
}

/* ---- store */

static void
store_reply(struct reply *r, struct topic *t, const struct send_header *h, const struct send_props *p, struct slice body)
{
	struct broker *b = r->b;
	struct message m = {.topic = t->name_slice, .queue_id = r->queue_id, .flag = h->flag, .sysflag = h->sys_flag,
	    .reconsume_times = h->reconsume, .born_ms = h->born_ms, .born_host = r->conn->peer, .store_host = b->store_host,
	    .body = body};
	struct pending *line;
	enum rc rc;

	m.props[0] = h->props;
	m.props[1] = p->unterminated ? SLICE_LIT("\2") : SLICE_NONE;
	m.props[2] = (struct slice){b->props_suffix, b->props_suffix_len};
	if ((rc = sends_stage(b->sends, &m, &line)) != RC_OK) {
		log_warn("a reply of %s was not stored: %s", r->conn->peer_text, rc_name(rc));
		return;
	}
	r->open_parts++;
	line->conn = r->conn;
	line->topic = t;
	line->id = r->id;
	line->reply = r;
}

static struct reply *
reply_new(struct broker *b, struct conn *c, const struct request_id *id, int32_t queue_id)
{
	struct reply *r = xcalloc(1, sizeof(*r));

	r->b = b;
	r->conn = c;
	conn_ref(c);
	r->id = *id;
	r->queue_id = queue_id;
	r->open_parts = 1; /* this call */
	return r;
}

void
req_reply(struct broker *b, struct conn *c, struct command *cmd)
{
	struct send_header h;
	struct send_props p;
	struct request_id id;
	struct topic *t;
	struct reply *r;
	int32_t queue_id;

	if (!send_header_read(&h, c, cmd))
		return;
	request_id_of(&id, cmd);
	if ((t = send_check(b, c, &id, &h, &queue_id)) == NULL)
		return;
	send_props_scan(h.props, &p);
	r = reply_new(b, c, &id, queue_id);
	push(r, &h, p.reply_to, cmd->body);
	if (b->conf->storeReplyMessageEnable && cmd->body.n > 0)
		store_reply(r, t, &h, &p, cmd->body);
	part_done(r);
}

/*
 * req_sendback: code 36: a consumer could not handle a message: it is stored again for its group, to be delivered later, or goes to the
 * group's dead letters when it was tried often enough.
 *
 * Runs in:    the broker process.
 * Owns:       requests whose record warm reads, or whose copy waits for flush and ha.
 * Must not:   answer success before the copy is as safe as a send's would be: the consumer moves on then. The original does not
 *             wait here.
 */
#include "workers/broker/append.h"
#include "workers/broker/cold.h"
#include "workers/broker/delay.h"
#include "workers/broker/groups.h"
#include "workers/broker/sends.h"

#include <errno.h>
#include <stdio.h>

#include "remoting/codes.h"

#define VERSION_3_4_9  121 /* from here on maxReconsumeTimes counts */
#define FIRST_LEVEL    3   /* of the first retry; each further one is a level longer */
#define COLD_ASKS_MAX  2   /* the head, then the whole record if it is large */
#define RETRY_PREFIX   "%RETRY%"
#define DLQ_PREFIX     "%DLQ%"
#define GROUP_TEXT_MAX 248 /* with the prefix a topic's name */

struct sendback {
	struct broker	*b;
	struct conn	*conn;		/* a reference once it has to wait */
	struct request_id id;
	int64_t		 offset;	/* of the record */
	int32_t		 level, queue_id, max_times;
	unsigned	 asked;		/* times that warm was */
	char		*group;
	char		 topic[sizeof(RETRY_PREFIX) + GROUP_TEXT_MAX];
};

static void
end(struct sendback *s)
{
	conn_unref(&s->conn);
	free(s->group);
	free(s);
}

/* ---- the copy */

static void
stored(void *arg, int64_t tag, const struct appended *a)
{
	struct sendback *s = arg;

	(void)tag;
	if (a->code == RES_SUCCESS)
		conn_answer_body(s->conn, &s->id, RES_SUCCESS, SLICE_NONE);
	else if (append_is_stored(a->code))
		conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "%s", response_name(a->code));
	else
		conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "the message was not written: %s", a->why);
	end(s);
}

/* What the record's text has of it is replaced. */
static bool
is_replaced(struct slice name)
{
	return slice_is(name, "WAIT") || slice_is(name, "DELAY") || slice_is(name, "ORIGIN_MESSAGE_ID") || slice_is(name, "RETRY_TOPIC");
}

static void
put_kept(struct buf *out, struct slice props)
{
	struct slice name, value;

	while (props_next(&props, &name, &value)) {
		if (is_replaced(name))
			continue;
		buf_put_slice(out, name);
		buf_put_char(out, 1);
		buf_put_slice(out, value);
		buf_put_char(out, 2);
	}
}

/* Where the message was first, and which it was then, stays as it is through all retries. */
static void
put_props(const struct message *from, struct buf *out)
{
	struct slice topic = props_get(from->props[0], "RETRY_TOPIC"), id = props_get(from->props[0], "ORIGIN_MESSAGE_ID");
	char text[MSG_ID_TEXT];

	if (topic.n == 0)
		topic = from->topic;
	if (id.n == 0)
		id = (struct slice){text, message_id_text(&from->store_host, from->physical, text)};
	put_kept(out, from->props[0]);
	props_put(out, "RETRY_TOPIC", topic);
	props_put(out, "ORIGIN_MESSAGE_ID", id);
	props_put(out, "WAIT", SLICE_LIT("false"));
}

static void
refuse_unwritten(struct sendback *s, enum rc rc)
{
	const char *why = store_refusal(s->b->store);

	conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "the message was not written: %s", why != NULL ? why : rc_name(rc));
	end(s);
}

static void
append_copy_of(struct sendback *s, const struct message *from, int32_t level)
{
	struct append_to to = {.done = stored, .arg = s};
	struct buf props = {0}, wrapped = {0};
	struct message m;
	enum rc rc;

	append_copy(s->b, from, &m);
	m.reconsume_times++;
	m.topic = slice_of(s->topic);
	m.queue_id = s->queue_id;
	put_props(from, &props);
	if (level > 0)
		delay_wrap(s->b->delay, &m, level, slice_of(s->topic), s->queue_id, buf_slice(&props), &wrapped);
	else
		props_put(&props, "DELAY", SLICE_LIT("0"));
	m.props[0] = buf_slice(level > 0 ? &wrapped : &props);
	rc = append_message(s->b, &m, &to);
	buf_free(&props);
	buf_free(&wrapped);
	if (rc != RC_OK)
		refuse_unwritten(s, rc);
}

/* ---- retry, or dead letter */

static bool
to_dead_letters(struct sendback *s)
{
	snprintf(s->topic, sizeof(s->topic), "%s%s", DLQ_PREFIX, s->group);
	s->queue_id = 0;
	return topic_ensure(s->b->topics, slice_of(s->topic), 1, PERM_READ | PERM_WRITE, 0) != NULL;
}

static void
store_again(struct sendback *s, const struct message *from)
{
	int32_t level = s->level == 0 ? FIRST_LEVEL + MAX_OF(from->reconsume_times, 0) : s->level;

	if (from->reconsume_times >= s->max_times || s->level < 0) {
		level = 0;
		if (!to_dead_letters(s)) {
			conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "topic[%s] not exist", s->topic);
			end(s);
			return;
		}
	}
	append_copy_of(s, from, level);
}

static void read_record(struct sendback *s);

static void
is_warm(void *arg, int error)
{
	struct sendback *s = arg;

	if (error == 0 && !s->conn->closed) {
		read_record(s);
		return;
	}
	if (error != 0 && error != ECANCELED)
		conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "look message by offset failed, %lld: %s", (long long)s->offset,
		    strerror(error));
	end(s);
}

/* True: it goes on when the record was read from the disk, or was told that too many wait. */
static bool
wait_for_warm(struct sendback *s)
{
	int64_t at, len;
	enum rc rc;

	if (s->asked >= COLD_ASKS_MAX || !store_record_is_cold(s->b->store, s->offset, 0, &at, &len))
		return false;
	s->asked++;
	rc = cold_wait(s->b->cold, at, len, is_warm, s);
	if (rc == RC_FULL) {
		conn_answer(s->conn, &s->id, RES_SYSTEM_BUSY, "too many requests wait for the disk, try again later");
		end(s);
	}
	return rc == RC_OK || rc == RC_FULL;
}

static void
read_record(struct sendback *s)
{
	struct slice record;
	struct message from;

	if (wait_for_warm(s))
		return;
	if (store_record_at(s->b->store, s->offset, &record) != RC_OK || message_decode(&from, record.p, record.n, false) != RC_OK) {
		conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "look message by offset failed, %lld", (long long)s->offset);
		end(s);
		return;
	}
	store_again(s, &from);
}

/* ---- the checks, in the original's order */

static bool
may_be_written(struct broker *b, struct conn *c, const struct request_id *id)
{
	const char *why;
	int code;

	if (!broker_is_master(b))
		conn_answer(c, id, RES_SYSTEM_ERROR, "no master available along with %s", b->conf->brokerIP1);
	else if ((why = broker_send_refusal(b, &code)) != NULL)
		conn_answer(c, id, code, "%s", why);
	else
		return true;
	return false;
}

/* NULL: answered. */
static struct group *
check_group(struct broker *b, struct conn *c, const struct request_id *id, struct slice name)
{
	struct group *g = name.n <= GROUP_TEXT_MAX ? group_find_or_make(b->groups, name) : NULL;

	if (g == NULL)
		conn_answer(c, id, RES_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group not exist, %.*s " FAQ_HINT, (int)name.n, name.p);
	else if (!broker_writable(b))
		conn_answer(c, id, RES_NO_PERMISSION, "the broker[%s] sending message is forbidden", b->conf->brokerIP1);
	else if (g->retry_queues <= 0)
		conn_answer_body(c, id, RES_SUCCESS, SLICE_NONE); /* the group wants no retries */
	else
		return g;
	return NULL;
}

static bool
check_topic(struct sendback *s, const struct group *g, bool unit)
{
	struct topic *t;

	snprintf(s->topic, sizeof(s->topic), "%s%s", RETRY_PREFIX, s->group);
	t = topic_ensure(s->b->topics, slice_of(s->topic), g->retry_queues, PERM_READ | PERM_WRITE, unit ? TOPIC_SYS_UNIT_SUB : 0);
	if (t == NULL)
		conn_answer(s->conn, &s->id, RES_SYSTEM_ERROR, "topic[%s] not exist", s->topic);
	else if (!(t->perm & PERM_WRITE))
		conn_answer(s->conn, &s->id, RES_NO_PERMISSION, "the topic[%s] sending message is forbidden", s->topic);
	else
		return true;
	return false;
}

static int32_t
max_times(const struct group *g, const struct command *cmd)
{
	if (cmd->version < VERSION_3_4_9)
		return g->retry_max;
	return field_i32(cmd, "maxReconsumeTimes", g->retry_max);
}

void
req_sendback(struct broker *b, struct conn *c, struct command *cmd)
{
	static uint32_t turn;
	struct slice name = field_get(cmd, "group");
	struct sendback *s;
	struct request_id id;
	struct group *g;
	int64_t offset;
	int32_t level;

	if (field_need_i64(cmd, "offset", &offset) != RC_OK)
		return broker_bad_field(c, cmd, "offset");
	if (name.n == 0)
		return broker_bad_field(c, cmd, "group");
	if (field_need_i32(cmd, "delayLevel", &level) != RC_OK)
		return broker_bad_field(c, cmd, "delayLevel");
	request_id_of(&id, cmd);
	if (!may_be_written(b, c, &id) || (g = check_group(b, c, &id, name)) == NULL)
		return;
	s = xcalloc(1, sizeof(*s));
	*s = (struct sendback){.b = b, .conn = c, .id = id, .offset = offset, .level = level, .max_times = max_times(g, cmd),
	    .queue_id = (int32_t)(turn++ % (uint32_t)g->retry_queues), .group = xslicedup(name)};
	conn_ref(c);
	if (check_topic(s, g, field_bool(cmd, "unitMode", false)))
		read_record(s);
	else
		end(s);
}

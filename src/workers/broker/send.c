/*
 * send: what the send requests share: their header, what their properties ask for, the checks in the original's order.
 *
 * Runs in:    the broker process; the hot path: nothing here allocates for a usual message.
 * Must not:   store anything.
 */
#include "workers/broker/send.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "workers/broker/known.h"

#define LETTERS 14 /* 'a' to 'n' of the V2 header */


/* ---- header */

/* The V2 letter of a V1 name; 0: none that matters. */
static char
letter_of_name(struct slice name)
{
	static const struct {
		const char	*name;
		char		 letter;
	} names[] = {{"producerGroup", 'a'}, {"topic", 'b'}, {"defaultTopic", 'c'}, {"defaultTopicQueueNums", 'd'},
	    {"queueId", 'e'}, {"sysFlag", 'f'}, {"bornTimestamp", 'g'}, {"flag", 'h'}, {"properties", 'i'},
	    {"reconsumeTimes", 'j'}, {"unitMode", 'k'}, {"maxReconsumeTimes", 'l'}, {"batch", 'm'}};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (name.p[0] == names[i].name[0] && slice_is(name, names[i].name))
			return names[i].letter;
	return 0;
}

static void
collect_v1(const struct command *cmd, struct slice raw[LETTERS])
{
	char letter;

	for (unsigned i = 0; i < cmd->field_count; i++)
		if (cmd->fields[i].name.n > 0 && (letter = letter_of_name(cmd->fields[i].name)) != 0)
			raw[letter - 'a'] = cmd->fields[i].value;
}

static void
collect_v2(const struct command *cmd, struct slice raw[LETTERS])
{
	for (unsigned l = 0; l < LETTERS; l++)
		if (cmd->by_letter[l] != 0)
			raw[l] = cmd->fields[cmd->by_letter[l] - 1].value;
}

static bool
is_v1(const struct command *cmd)
{
	return cmd->code == REQ_SEND_MESSAGE || cmd->code == REQ_SEND_REPLY_MESSAGE;
}

static const char *
field_name(const struct command *cmd, char letter)
{
	static const char *const v1[LETTERS] = {"producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId",
	    "sysFlag", "bornTimestamp", "flag", "properties", "reconsumeTimes", "unitMode", "maxReconsumeTimes", "batch", "bname"};
	static const char *const v2[LETTERS] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"};

	return is_v1(cmd) ? v1[letter - 'a'] : v2[letter - 'a'];
}

/* The letter of the first field that is not as it must be; 0: all are. */
static char
parse_numbers(struct send_header *h, const struct slice raw[LETTERS])
{
	if (str_i32(raw['e' - 'a'], &h->queue_id) != RC_OK)
		return 'e';
	if (str_i32(raw['f' - 'a'], &h->sys_flag) != RC_OK)
		return 'f';
	if (str_i64(raw['g' - 'a'], &h->born_ms) != RC_OK)
		return 'g';
	if (str_i32(raw['h' - 'a'], &h->flag) != RC_OK)
		return 'h';
	if (raw['d' - 'a'].n > 0 && str_i32(raw['d' - 'a'], &h->default_queues) != RC_OK)
		return 'd';
	if (raw['j' - 'a'].n > 0 && str_i32(raw['j' - 'a'], &h->reconsume) != RC_OK)
		return 'j';
	h->has_max_reconsume = raw['l' - 'a'].n > 0;
	if (h->has_max_reconsume && str_i32(raw['l' - 'a'], &h->max_reconsume) != RC_OK)
		return 'l';
	return 0;
}

bool
send_header_read(struct send_header *h, struct conn *c, const struct command *cmd)
{
	struct slice raw[LETTERS] = {{NULL, 0}};
	struct request_id id;
	char bad;

	*h = (struct send_header){.default_queues = 4};
	if (is_v1(cmd))
		collect_v1(cmd, raw);
	else
		collect_v2(cmd, raw);
	bad = raw['b' - 'a'].p == NULL ? 'b' : parse_numbers(h, raw);
	if (bad != 0) {
		request_id_of(&id, cmd);
		broker_bad_value(c, &id, field_name(cmd, bad), raw[bad - 'a']);
		return false;
	}
	h->group = raw['a' - 'a'];
	h->topic = raw['b' - 'a'];
	h->default_topic = raw['c' - 'a'];
	h->props = raw['i' - 'a'];
	h->unit = raw['k' - 'a'].n > 0 && str_bool(raw['k' - 'a']);
	h->batch = raw['m' - 'a'].n > 0 && str_bool(raw['m' - 'a']);
	return true;
}

/* ---- properties */

static bool
is_reserved(struct slice name)
{
	return slice_is(name, "POP_CK") || slice_is(name, "MSG_REGION") || slice_is(name, "TRACE_ON") || slice_is(name, "CLUSTER");
}

static int32_t
delay_level(struct slice value)
{
	int32_t level;

	return str_i32(value, &level) == RC_OK && level > 0 ? level : 0;
}

static void
note_property(struct send_props *p, struct slice name, struct slice value)
{
	switch (name.p[0]) {
	case 'U':
		if (slice_is(name, "UNIQ_KEY"))
			p->uniq_key = value;
		break;
	case 'W':
		if (slice_is(name, "WAIT"))
			p->no_wait = !str_bool(value);
		break;
	case 'K':
		p->keys |= slice_is(name, "KEYS") && str_trim(value).n > 0;
		break;
	case 'D':
		if (slice_is(name, "DELAY"))
			p->delay_level = delay_level(value);
		break;
	case 'T':
		if (slice_is(name, "TIMER_DELAY_SEC") || slice_is(name, "TIMER_DELAY_MS") || slice_is(name, "TIMER_DELIVER_MS"))
			p->timed = true;
		else if (slice_is(name, "TRAN_MSG"))
			p->half = str_bool(value);
		else
			p->reserved |= is_reserved(name);
		break;
	case 'R':
		if (slice_is(name, "REPLY_TO_CLIENT"))
			p->reply_to = value;
		break;
	case 'P':
	case 'M':
	case 'C':
		p->reserved |= is_reserved(name);
		break;
	}
}

void
send_props_scan(struct slice props, struct send_props *p)
{
	struct slice rest = props, name, value;

	*p = (struct send_props){.unterminated = props.n > 0 && props.p[props.n - 1] != 2};
	while (props_next(&rest, &name, &value))
		if (name.n > 0)
			note_property(p, name, value);
}

void
send_props_strip(struct slice props, bool drop_delay, struct buf *out)
{
	struct slice rest = props, name, value;

	while (props_next(&rest, &name, &value)) {
		if (is_reserved(name) || (drop_delay && slice_is(name, "DELAY")))
			continue;
		buf_put_slice(out, name);
		buf_put_char(out, 1);
		buf_put_slice(out, value);
		buf_put_char(out, 2);
	}
}

/* ---- answers that refuse */

void
send_refuse(struct broker *b, struct conn *c, const struct request_id *id, int code, const char *fmt, ...)
{
	struct frame_out f;
	char text[1024];
	va_list ap;

	count_add(&b->w->shm->counters.put_failed, 1);
	if (id->oneway || c->closed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	frame_begin_response(&f, &c->out, id, code);
	frame_remark(&f, slice_of(text));
	frame_field(&f, "MSG_REGION", slice_of(b->conf->regionId));
	frame_field_bool(&f, "TRACE_ON", b->conf->traceOn);
	frame_end(&f, 0);
	conn_kick(c);
}

static void
refuse_unavailable(struct broker *b, struct conn *c, const struct request_id *id)
{
	const struct shm_line_clean *disk = &b->w->shm->clean;
	const char *why = store_refusal(b->store);

	send_refuse(b, c, id, RES_SERVICE_NOT_AVAILABLE,
	    "service not available now. %s. %s: %lld of %lld MiB are free; log disk %.1f %%, queue disk %.1f %% used",
	    why != NULL ? why : "the disk is full", b->conf->storePathCommitLog,
	    (long long)(atomic_load(&disk->disk_free_bytes) >> 20), (long long)(atomic_load(&disk->disk_total_bytes) >> 20),
	    (double)atomic_load(&disk->log_disk_permille) / 10, (double)atomic_load(&disk->queue_disk_permille) / 10);
}

void
send_refuse_rc(struct broker *b, struct conn *c, const struct request_id *id, enum rc rc)
{
	if (rc == RC_LIMIT)
		send_refuse(b, c, id, RES_MESSAGE_ILLEGAL,
		    "the message is illegal, maybe msg body or properties length not matched. msg body length limit %dB, msg "
		    "properties length limit 32KB.",
		    b->conf->maxMessageSize);
	else if (rc == RC_FULL || rc == RC_BUSY)
		refuse_unavailable(b, c, id);
	else
		send_refuse(b, c, id, RES_SYSTEM_ERROR, "UNKNOWN_ERROR: the message was not written (%s)", rc_name(rc));
}

/* ---- checks */

static bool
accepting(struct broker *b, struct conn *c, const struct request_id *id)
{
	char when[32];
	time_t seconds;
	struct tm tm;

	if (LIKELY(b->accept_ms == 0) || clock_wall_ms() >= b->accept_ms) {
		b->accept_ms = 0;
		return true;
	}
	seconds = (time_t)(b->accept_ms / 1000);
	localtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	send_refuse(b, c, id, RES_SYSTEM_ERROR, "broker unable to service, until %s,%03d", when, (int)(b->accept_ms % 1000));
	return false;
}

static struct topic *
make_topic(struct broker *b, struct conn *c, const struct request_id *id, const struct send_header *h)
{
	const char *fault;
	struct topic *topic;
	struct err e;

	if ((fault = topic_name_fault(h->topic, &e)) != NULL) {
		send_refuse(b, c, id, RES_INVALID_PARAMETER, "%s", fault);
		return NULL;
	}
	if (topic_is_send_forbidden(h->topic)) {
		send_refuse(b, c, id, RES_NO_PERMISSION, "Sending message to topic[%.*s] is forbidden.", (int)h->topic.n, h->topic.p);
		return NULL;
	}
	if (topic_for_send(b->topics, h->topic, h->default_topic, h->default_queues, h->unit, &topic) == RC_OK) {
		known_hold(b->known, c, id);
		return topic;
	}
	send_refuse(b, c, id, RES_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please!" FAQ_HINT, (int)h->topic.n, h->topic.p);
	return NULL;
}

/* A topic that is there. Names in the table have been checked; what may not be sent to is known by few first letters. */
static bool
topic_may_be_sent_to(struct broker *b, struct conn *c, const struct request_id *id, const struct topic *t)
{
	if (UNLIKELY(t->order && !broker_writable(b))) {
		send_refuse(b, c, id, RES_NO_PERMISSION, "the broker[%s] sending message is forbidden", b->conf->brokerIP1);
		return false;
	}
	if (topic_is_send_forbidden(t->name_slice)) {
		send_refuse(b, c, id, RES_NO_PERMISSION, "Sending message to topic[%s] is forbidden.", t->name);
		return false;
	}
	return true;
}

static const char *
perm_text(int32_t perm, char out[4])
{
	out[0] = perm & PERM_READ ? 'R' : '-';
	out[1] = perm & PERM_WRITE ? 'W' : '-';
	out[2] = perm & PERM_INHERIT ? 'X' : '-';
	out[3] = '\0';
	return out;
}

static void
refuse_queue(struct broker *b, struct conn *c, const struct request_id *id, const struct topic *t, int32_t queue_id)
{
	char perm[4];

	send_refuse(b, c, id, RES_INVALID_PARAMETER,
	    "request queueId[%d] is illegal, TopicConfig [topicName=%s, readQueueNums=%d, writeQueueNums=%d, perm=%s, "
	    "topicFilterType=%s, topicSysFlag=%d, order=%s, attributes={}] Producer: %s",
	    queue_id, t->name, t->read_queues, t->write_queues, perm_text(t->perm, perm), t->multi_tag ? "MULTI_TAG" : "SINGLE_TAG",
	    t->sys_flag, t->order ? "true" : "false", c->peer_text);
}

/* Any of the write queues: evenly, without a call into the C library's generator. */
static int32_t
pick_queue(const struct topic *t)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return t->write_queues > 0 ? (int32_t)((state >> 33) % (uint64_t)t->write_queues) : 0;
}

struct topic *
send_check(struct broker *b, struct conn *c, const struct request_id *id, const struct send_header *h, int32_t *queue_id)
{
	const char *why;
	struct topic *t;
	int code;

	if (UNLIKELY((why = broker_send_refusal(b, &code)) != NULL)) {
		send_refuse(b, c, id, code, "%s", why);
		return NULL;
	}
	if (!accepting(b, c, id))
		return NULL;
	if ((t = topic_find(b->topics, h->topic)) == NULL) {
		if ((t = make_topic(b, c, id, h)) == NULL)
			return NULL;
	} else if (!topic_may_be_sent_to(b, c, id, t)) {
		return NULL;
	}
	if (UNLIKELY(h->queue_id >= MAX_OF(t->read_queues, t->write_queues))) {
		refuse_queue(b, c, id, t, h->queue_id);
		return NULL;
	}
	*queue_id = h->queue_id >= 0 ? h->queue_id : pick_queue(t);
	return t;
}

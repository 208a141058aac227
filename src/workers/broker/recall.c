/*
 * recall: code 370: a timer message is taken back before it is due; and what is remembered of it.
 *
 * Runs in:    the broker process.
 * Owns:       the recalled keys; one for each recall until the message's time is over.
 * Must not:   answer success when the message may be delivered, or before the recall is as safe as a send would be.
 *
 * The handle has the message's TIMER_OUT_MS + 1, and no message is delivered before that; so whoever asks before is in
 * time: from that moment on the key is known here, whatever the marker's way into the timer queue.
 */
#include "workers/broker/timer.h"

#include "common/clock.h"
#include "workers/broker/answer.h"
#include "workers/broker/sends.h"
#include "workers/broker/topics.h"

#define SLOTS_FIRST 256
#define HANDLE_MAX  2048
#define RECALL_TAG  "_RECALL_TAG_"

/* ---- the keys */

static struct recalled **
slot_of(const struct recalls *r, struct slice key)
{
	return &r->slot[(uint32_t)str_java_hash(key) & (r->slots - 1)];
}

static struct recalled *
find(const struct recalls *r, struct slice key)
{
	struct recalled *it = r->slots > 0 ? *slot_of(r, key) : NULL;

	while (it != NULL && (it->len != key.n || memcmp(it->key, key.p, key.n) != 0))
		it = it->next;
	return it;
}

static void
grow(struct recalls *r)
{
	struct recalls more = {.slots = r->slots == 0 ? SLOTS_FIRST : r->slots * 2, .count = r->count};

	more.slot = xcalloc(more.slots, sizeof(struct recalled *));
	for (size_t i = 0; i < r->slots; i++)
		for (struct recalled *it = r->slot[i], *next; it != NULL; it = next) {
			struct recalled **to = slot_of(&more, (struct slice){it->key, it->len});

			next = it->next;
			it->next = *to;
			*to = it;
		}
	free(r->slot);
	*r = more;
}

static struct recalled *
insert(struct recalls *r, struct slice key)
{
	struct recalled *it = xcalloc(1, sizeof(*it) + key.n), **slot;

	if (r->count >= r->slots)
		grow(r);
	slot = slot_of(r, key);
	it->len = (uint32_t)key.n;
	memcpy(it->key, key.p, key.n);
	it->next = *slot;
	*slot = it;
	r->count++;
	return it;
}

struct recalled *
recalls_add(struct recalls *r, struct slice key, bool asked)
{
	struct recalled *it = find(r, key);

	if (it == NULL)
		it = insert(r, key);
	if (asked) {
		it->asked++;
		it->markers++;
	} else if (it->asked > 0) {
		it->asked--; /* the marker that the request has stored */
	} else {
		it->markers++;
	}
	return it;
}

void
recalls_drop(struct recalls *r, struct recalled *it, bool asked)
{
	struct recalled **slot;

	if (asked && it->asked > 0)
		it->asked--;
	if (--it->markers > 0)
		return;
	for (slot = slot_of(r, (struct slice){it->key, it->len}); *slot != it; slot = &(*slot)->next)
		;
	*slot = it->next;
	free(it);
	r->count--;
}

bool
recalls_have(const struct recalls *r, struct slice topic, struct slice uniq_key)
{
	char key[MSG_TOPIC_MAX_V2 + 1 + 512];

	if (LIKELY(r->count == 0) || topic.n + 1 + uniq_key.n > sizeof(key) || uniq_key.n == 0)
		return false;
	memcpy(key, topic.p, topic.n);
	key[topic.n] = '+';
	memcpy(key + topic.n + 1, uniq_key.p, uniq_key.n);
	return find(r, (struct slice){key, topic.n + 1 + uniq_key.n}) != NULL;
}

void
recalls_free(struct recalls *r)
{
	for (size_t i = 0; i < r->slots; i++)
		for (struct recalled *it = r->slot[i], *next; it != NULL; it = next) {
			next = it->next;
			free(it);
		}
	free(r->slot);
	*r = (struct recalls){0};
}

/* ---- the handle */

struct handle { /* slices are in the text that was decoded */
	struct slice topic, broker, uniq_key;
	int64_t at_ms;
};

static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Bytes of `in` (base64url, padded or not); 0: it is none, or too long. */
static size_t
decode(struct slice in, char out[HANDLE_MAX])
{
	uint32_t bits = 0;
	size_t n = 0;
	int have = 0, d;

	while (in.n > 0 && in.p[in.n - 1] == '=')
		in.n--;
	if (in.n / 4 * 3 + 3 > HANDLE_MAX)
		return 0;
	for (size_t i = 0; i < in.n; i++) {
		if ((d = digit(in.p[i])) < 0)
			return 0;
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		out[n++] = (char)(bits >> have);
	}
	return n;
}

static bool
read_handle(struct slice text, struct handle *h)
{
	struct slice version, at;

	return str_next(&text, ' ', &version) && slice_is(version, "v1") && str_next(&text, ' ', &h->topic) &&
	       str_next(&text, ' ', &h->broker) && str_next(&text, ' ', &at) && str_next(&text, ' ', &h->uniq_key) &&
	       h->topic.n > 0 && h->topic.n <= MSG_TOPIC_MAX_V2 && h->uniq_key.n > 0 && h->uniq_key.n <= 512 &&
	       str_i64(at, &h->at_ms) == RC_OK;
}

/* ---- checks, in the original's order */

static bool
may_recall(struct broker *b, struct conn *c, const struct request_id *id)
{
	const char *why;
	int code;

	if (!b->conf->recallMessageEnable)
		conn_answer(c, id, RES_NO_PERMISSION, "recall failed: recallMessageEnable is false at this broker");
	else if (!broker_is_master(b))
		conn_answer(c, id, RES_SLAVE_NOT_AVAILABLE, "recall failed: this broker is a slave");
	else if ((why = broker_send_refusal(b, &code)) != NULL)
		conn_answer(c, id, RES_SERVICE_NOT_AVAILABLE, "recall failed: %s", why);
	else if (clock_wall_ms() < b->accept_ms)
		conn_answer(c, id, RES_SERVICE_NOT_AVAILABLE, "recall failed: the broker does not take messages yet");
	else if (!broker_writable(b) && !b->conf->allowRecallWhenBrokerNotWriteable)
		conn_answer(c, id, RES_SERVICE_NOT_AVAILABLE, "recall failed: the broker has no write permission");
	else if (!b->conf->timerWheelEnable)
		conn_answer(c, id, RES_SYSTEM_ERROR, "recall failed: timerWheelEnable is false at this broker");
	else
		return true;
	return false;
}

static bool
fits(struct broker *b, struct conn *c, const struct request_id *id, struct slice topic, const struct handle *h)
{
	int64_t left = h->at_ms - clock_wall_ms();

	if (!slice_eq(topic, h->topic))
		conn_answer(c, id, RES_ILLEGAL_OPERATION, "recall failed: the handle is of another topic");
	else if (!slice_is(h->broker, b->conf->brokerName))
		conn_answer(c, id, RES_ILLEGAL_OPERATION, "recall failed: the handle is of another broker");
	else if (left <= 0 || h->at_ms <= timer_done_ms(b->timer)) /* the clock may have been set back */
		conn_answer(c, id, RES_ILLEGAL_OPERATION, "recall failed: the message's time has come");
	else if (left >= (int64_t)b->conf->timerMaxDelaySec * 1000)
		conn_answer(c, id, RES_ILLEGAL_OPERATION,
			    "recall failed: the handle has a time that no message can have");
	else
		return true;
	return false;
}

/* ---- the marker */

struct recall { /* one request whose marker is on its way */
	struct broker *b;
	struct conn *conn; /* a reference */
	struct request_id id;
	struct recalled *key;
	size_t key_len;
	char uniq_key[];
};

static void
stored(void *arg, int64_t tag, const struct appended *a)
{
	struct recall *r = arg;
	struct frame_out f;

	(void)tag;
	if (!append_is_stored(a->code)) {
		recalls_drop(timer_recalls(r->b->timer), r->key, true);
		conn_answer(r->conn, &r->id, RES_SYSTEM_ERROR, "recall failed, it was not stored: %s", a->why);
	} else if (answer_begin(&f, r->conn, &r->id, RES_SUCCESS)) {
		frame_field(&f, "msgId", (struct slice){r->uniq_key, r->key_len});
		frame_field(&f, "MSG_REGION", slice_of(r->b->conf->regionId));
		answer_end(&f, r->conn);
	}
	conn_unref(&r->conn);
	free(r);
}

static void
put_marker_props(const struct broker *b, const struct handle *h, struct slice key, struct message *m, struct buf *out)
{
	struct buf first = {0};

	props_put(&first, "TAGS", SLICE_LIT(RECALL_TAG));
	props_put(&first, "UNIQ_KEY", h->uniq_key);
	props_put(&first, "TIMER_DEL_UNIQKEY", key);
	buf_printf(&first, "TIMER_DELIVER_MS\1%lld\2", (long long)h->at_ms);
	buf_put(&first, b->props_suffix, b->props_suffix_len);
	timer_wrap(m, h->at_ms - 1, h->topic, 0, buf_slice(&first), out);
	buf_free(&first);
}

static enum rc
append_marker(struct recall *r, const struct handle *h, struct slice key)
{
	struct append_to to = {.done = stored, .arg = r};
	struct message m = {.body = SLICE_LIT("0"),
			    .born_ms = clock_wall_ms(),
			    .born_host = r->conn->peer,
			    .store_host = r->b->store_host};
	struct buf props = {0};
	enum rc rc;

	put_marker_props(r->b, h, key, &m, &props);
	m.props[0] = buf_slice(&props);
	rc = append_message(r->b, &m, &to);
	buf_free(&props);
	return rc;
}

static void
recall(struct broker *b, struct conn *c, const struct request_id *id, const struct handle *h)
{
	struct recall *r = xcalloc(1, sizeof(*r) + h->uniq_key.n);
	char key[MSG_TOPIC_MAX_V2 + 1 + 512];
	size_t n = h->topic.n + 1 + h->uniq_key.n;
	enum rc rc;

	*r = (struct recall){.b = b, .conn = c, .id = *id, .key_len = h->uniq_key.n};
	memcpy(r->uniq_key, h->uniq_key.p, h->uniq_key.n);
	memcpy(key, h->topic.p, h->topic.n);
	key[h->topic.n] = '+';
	memcpy(key + h->topic.n + 1, h->uniq_key.p, h->uniq_key.n);
	r->key = recalls_add(timer_recalls(b->timer), (struct slice){key, n}, true);
	conn_ref(c);
	if ((rc = append_marker(r, h, (struct slice){key, n})) == RC_OK)
		return;
	recalls_drop(timer_recalls(b->timer), r->key, true);
	conn_answer(c, id, RES_SYSTEM_ERROR, "recall failed, it was not stored: %s", rc_name(rc));
	conn_unref(&r->conn);
	free(r);
}

void
req_recall(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice topic = field_get(cmd, "topic"), text = field_get(cmd, "recallHandle");
	char decoded[HANDLE_MAX];
	struct request_id id;
	struct handle h;

	if (topic.n == 0)
		return broker_bad_field(c, cmd, "topic");
	if (text.n == 0)
		return broker_bad_field(c, cmd, "recallHandle");
	request_id_of(&id, cmd);
	if (!may_recall(b, c, &id))
		return;
	if (topic_find(b->topics, topic) == NULL)
		conn_answer(c, &id, RES_TOPIC_NOT_EXIST, "recall failed, topic[%.*s] not exist" FAQ_HINT, (int)topic.n,
			    topic.p);
	else if (!read_handle((struct slice){decoded, decode(text, decoded)}, &h))
		conn_answer(c, &id, RES_ILLEGAL_OPERATION, "recall failed: the handle cannot be read");
	else if (fits(b, c, &id, topic, &h))
		recall(b, c, &id, &h);
}

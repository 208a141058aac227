/*
 * pop_text: what pop consumption writes and reads. See pop_text.h.
 *
 * Runs in:    the broker process.
 * Must not:   trust a number: offsets and counts are checked before anything is added to them.
 */
#include "workers/broker/pop_text.h"

#include <stdio.h>

#include "common/str.h"

/* ---- names */

bool
pop_retry_name(struct slice group, struct slice topic, enum pop_flag flag, struct pop_name *out)
{
	if (group.n + topic.n > POP_TOPIC_MAX - sizeof(POP_RETRY_PREFIX))
		return false;
	snprintf(out->text, sizeof(out->text), "%s%.*s%c%.*s", POP_RETRY_PREFIX, (int)group.n, group.p,
		 flag == POP_RETRY_V2 ? '+' : '_', (int)topic.n, topic.p);
	return true;
}

enum pop_flag
pop_flag_of(struct slice topic)
{
	if (!slice_starts(topic, POP_RETRY_PREFIX))
		return POP_NORMAL;
	return memchr(topic.p, '+', topic.n) != NULL ? POP_RETRY_V2 : POP_RETRY_V1;
}

struct slice
pop_normal_topic(struct slice topic, struct slice group)
{
	size_t skip = sizeof(POP_RETRY_PREFIX) - 1 + group.n + 1;

	if (!slice_starts(topic, POP_RETRY_PREFIX) || topic.n <= skip)
		return topic;
	if (memcmp(topic.p + sizeof(POP_RETRY_PREFIX) - 1, group.p, group.n) != 0)
		return topic;
	return (struct slice){topic.p + skip, topic.n - skip};
}

/* ---- handles */

static bool
read_flag(struct slice text, enum pop_flag *flag)
{
	if (text.n != 1 || text.p[0] < POP_NORMAL || text.p[0] > POP_RETRY_V2)
		return false;
	*flag = (enum pop_flag)text.p[0];
	return true;
}

enum rc
pop_handle_read(struct slice text, struct pop_handle *h)
{
	struct slice part[8];
	size_t n = 0;

	while (n < COUNT_OF(part) && str_next(&text, ' ', &part[n]))
		n++;
	*h = (struct pop_handle){.flag = POP_NORMAL, .queue_id = -1, .offset = -1};
	if (n < 6 || str_i64(part[0], &h->start) != RC_OK || str_i64(part[1], &h->pop_ms) != RC_OK ||
	    str_i64(part[2], &h->invisible_ms) != RC_OK || str_i32(part[3], &h->revive_queue) != RC_OK ||
	    !read_flag(part[4], &h->flag))
		return RC_INVAL;
	h->broker_name = part[5];
	if ((n > 6 && str_i32(part[6], &h->queue_id) != RC_OK) || (n > 7 && str_i64(part[7], &h->offset) != RC_OK))
		return RC_INVAL;
	return h->start >= 0 && h->pop_ms >= 0 && h->revive_queue >= 0 ? RC_OK : RC_INVAL;
}

void
pop_handle_put(const struct pop_handle *h, struct buf *out)
{
	buf_printf(out, "%lld %lld %lld %d %c ", (long long)h->start, (long long)h->pop_ms, (long long)h->invisible_ms,
		   h->revive_queue, (int)h->flag);
	buf_put_slice(out, h->broker_name);
	buf_printf(out, " %d %lld", h->queue_id, (long long)h->offset);
}

/* ---- records */

static void
put_text(struct buf *out, const char *key, struct slice text)
{
	buf_put_str(out, key);
	buf_put_json(out, text);
}

static void
put_number(struct buf *out, const char *key, int64_t v)
{
	buf_put_str(out, key);
	buf_put_i64(out, v);
}

void
pop_ck_put(const struct pop_ck *ck, struct slice broker_name, int64_t from_start, int64_t from_ms, struct buf *out)
{
	put_number(out, "{\"bm\":", (int32_t)ck->acked);
	put_text(out, ",\"bn\":", broker_name);
	put_text(out, ",\"c\":", ck->q->sub->group);
	for (int i = 0; i < ck->count; i++)
		put_number(out, i == 0 ? ",\"d\":[" : ",", ck->diff[i]);
	put_number(out, "],\"it\":", ck->invisible_ms);
	put_number(out, ",\"n\":", ck->count);
	put_number(out, ",\"pt\":", ck->pop_ms);
	put_number(out, ",\"q\":", ck->q->id);
	put_number(out, ",\"ro\":0,\"so\":", ck->start);
	put_text(out, ",\"t\":", ck->q->sub->topic);
	if (from_start >= 0) {
		put_number(out, ",\"xp\":", from_ms);
		put_number(out, ",\"xs\":", from_start);
	}
	buf_put_char(out, '}');
}

void
pop_ack_put(const struct pop_record_ack *a, struct slice broker_name, struct buf *out)
{
	put_number(out, "{\"ao\":", a->count == 1 ? a->offset[0] : -1);
	for (unsigned i = 0; a->count > 1 && i < a->count; i++)
		put_number(out, i == 0 ? ",\"aol\":[" : ",", a->offset[i]);
	put_text(out, a->count > 1 ? "],\"bn\":" : ",\"bn\":", broker_name);
	put_text(out, ",\"c\":", a->group);
	put_number(out, ",\"pt\":", a->pop_ms);
	put_number(out, ",\"q\":", a->queue_id);
	put_number(out, ",\"so\":", a->start);
	put_text(out, ",\"t\":", a->topic);
	buf_put_char(out, '}');
}

static enum rc
load(struct slice body, json_t **mem)
{
	struct err e;

	*mem = NULL;
	if (json_load_relaxed(body, mem, &e) != RC_OK || !json_is_object(*mem))
		return RC_BADDATA;
	return RC_OK;
}

static struct slice
get_text(const json_t *o, const char *name, const char *long_name)
{
	const char *text = json_get_str(o, name, NULL);

	return slice_of(text != NULL ? text : json_get_str(o, long_name, ""));
}

static int64_t
get_number(const json_t *o, const char *name, const char *long_name)
{
	return json_get_i64(o, name, json_get_i64(o, long_name, -1));
}

static bool
fits_i32(int64_t v)
{
	return v >= INT32_MIN && v <= INT32_MAX;
}

/* Where there is no list the offsets follow one another. */
static bool
read_diffs(const json_t *list, struct pop_record_ck *r)
{
	bool listed = json_array_size(list) > 0;

	if (listed && json_array_size(list) != r->count)
		return false;
	for (unsigned i = 0; i < r->count; i++) {
		json_int_t v = listed ? json_integer_value(json_array_get(list, i)) : (json_int_t)i;

		if (!fits_i32(v))
			return false;
		r->diff[i] = (int32_t)v;
	}
	return true;
}

enum rc
pop_ck_read(struct slice body, struct pop_record_ck *r, json_t **mem)
{
	int64_t count, queue, bits;

	*r = (struct pop_record_ck){.from_start = -1};
	if (load(body, mem) != RC_OK)
		return RC_BADDATA;
	count = json_get_i64(*mem, "n", 0);
	queue = json_get_i64(*mem, "q", -1);
	bits = json_get_i64(*mem, "bm", 0);
	if (count < 1 || count > POP_BATCH_MAX || queue < 0 || !fits_i32(queue) || !fits_i32(bits))
		return RC_BADDATA;
	r->count = (unsigned)count;
	r->queue_id = (int32_t)queue;
	r->acked = (uint32_t)(int32_t)bits;
	r->topic = slice_of(json_get_str(*mem, "t", ""));
	r->group = slice_of(json_get_str(*mem, "c", ""));
	r->start = json_get_i64(*mem, "so", -1);
	r->pop_ms = json_get_i64(*mem, "pt", -1);
	r->invisible_ms = json_get_i64(*mem, "it", 0);
	r->from_start = json_get_i64(*mem, "xs", -1);
	r->from_ms = json_get_i64(*mem, "xp", -1);
	return read_diffs(json_object_get(*mem, "d"), r) ? RC_OK : RC_BADDATA;
}

static bool
read_offsets(const json_t *o, struct pop_record_ack *a)
{
	const json_t *list = json_object_get(o, "aol");

	if (list == NULL)
		list = json_object_get(o, "ackOffsetList");
	if (json_array_size(list) > POP_BATCH_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++)
		a->offset[a->count++] = json_integer_value(json_array_get(list, i));
	if (a->count == 0)
		a->offset[a->count++] = get_number(o, "ao", "ackOffset");
	return true;
}

enum rc
pop_ack_read(struct slice body, struct pop_record_ack *a, json_t **mem)
{
	int64_t queue;

	*a = (struct pop_record_ack){.count = 0};
	if (load(body, mem) != RC_OK)
		return RC_BADDATA;
	queue = get_number(*mem, "q", "queueId");
	if (queue < 0 || !fits_i32(queue))
		return RC_BADDATA;
	a->queue_id = (int32_t)queue;
	a->topic = get_text(*mem, "t", "topic");
	a->group = get_text(*mem, "c", "consumerGroup");
	a->start = get_number(*mem, "so", "startOffset");
	a->pop_ms = get_number(*mem, "pt", "popTime");
	return read_offsets(*mem, a) ? RC_OK : RC_BADDATA;
}

/* ---- code 200151 */

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* How many bytes came out; -1: no Base64, or too long. */
static int
read_base64(struct slice text, unsigned char *out, size_t room)
{
	uint32_t v = 0;
	size_t n = 0, bits = 0;

	while (text.n > 0 && text.p[text.n - 1] == '=')
		text.n--;
	if (text.n % 4 == 1 || text.n / 4 * 3 + 3 > room)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		int digit = base64_digit(text.p[i]);

		if (digit < 0)
			return -1;
		v = v << 6 | (uint32_t)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (unsigned char)(v >> bits);
		}
	}
	return (int)n;
}

int
pop_ack_list(struct slice body, json_t **mem, struct err *e)
{
	json_t *list;

	*mem = NULL;
	if (body.n == 0)
		return 0;
	if (json_load_relaxed(body, mem, e) != RC_OK)
		return -1;
	list = json_object_get(*mem, "acks");
	if (!json_is_object(*mem) || (list != NULL && !json_is_array(list) && !json_is_null(list))) {
		err_set(e, "no object with a list `acks`");
		return -1;
	}
	return (int)MIN_OF(json_array_size(list), (size_t)INT32_MAX);
}

enum rc
pop_ack_list_get(const json_t *mem, size_t i, struct pop_ack_item *item)
{
	const json_t *o = json_array_get(json_object_get(mem, "acks"), i);
	int64_t queue = get_number(o, "q", "queueId"), revive = get_number(o, "rq", "reviveQueueId");
	int bytes = read_base64(get_text(o, "b", "bitSet"), item->map, sizeof(item->map));

	item->group = get_text(o, "c", "consumerGroup");
	item->topic = get_text(o, "t", "topic");
	item->start = get_number(o, "so", "startOffset");
	item->pop_ms = get_number(o, "pt", "popTime");
	item->invisible_ms = get_number(o, "it", "invisibleTime");
	if (bytes < 0 || queue < 0 || !fits_i32(queue) || revive < 0 || !fits_i32(revive) || item->start < 0 ||
	    item->start > INT64_MAX / 2 || item->group.n == 0 || item->topic.n == 0 ||
	    !read_flag(get_text(o, "r", "retry"), &item->flag))
		return RC_INVAL;
	item->queue_id = (int32_t)queue;
	item->revive_queue = (int32_t)revive;
	item->bits = (size_t)bytes * 8;
	return RC_OK;
}

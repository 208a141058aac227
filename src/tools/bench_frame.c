/*
 * bench_frame: request frames as the Java client 5.3.3 sends them, built once and patched; answers scanned, not parsed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/message.h"
#include "remoting/command.h"
#include "tools/bench.h"

#define UNIQUE_MARK "7F00000100000000"	/* first half of our unique keys: like the address and process of a Java client */
#define KEY_DIGITS  11
#define DUE_MARK    "8000000000000"

void
bench_put_digits(char *at, unsigned width, uint64_t v)
{
	while (width-- > 0) {
		at[width] = (char)('0' + v % 10);
		v /= 10;
	}
}

void
bench_put_hex16(char *at, uint64_t v)
{
	static const char digit[] = "0123456789ABCDEF";

	for (int i = 15; i >= 0; i--, v >>= 4)
		at[i] = digit[v & 15];
}

static size_t
place_of(const struct bench_frame *f, const char *text, size_t skip)
{
	char *at = memmem(f->p, f->n, text, strlen(text));

	ensure(at != NULL);
	return (size_t)(at - f->p) + skip;
}

static bool
is_timed(const struct bench_opts *o)
{
	return o->delay_level == 0 && (o->delay_ms > 0 || o->due_at_ms > 0);
}

/* Properties of one message. */
static void
put_props(struct buf *b, const struct bench_opts *o)
{
	if (o->keys)
		props_put(b, "KEYS", SLICE_LIT("K00000000000"));
	props_put(b, "UNIQ_KEY", SLICE_LIT(UNIQUE_MARK "0000000000000000"));
	props_put(b, "WAIT", SLICE_LIT("true"));
	if (o->delay_level > 0) {
		char level[16];

		snprintf(level, sizeof(level), "%u", o->delay_level);
		props_put(b, "DELAY", slice_of(level));
	} else if (is_timed(o)) {
		props_put(b, "TIMER_DELIVER_MS", SLICE_LIT(DUE_MARK));
	}
}

static void
put_body(struct buf *b, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		buf_put_char(b, (char)('a' + (i * 7 + i / 26) % 26));
}

static void
put_batch(struct buf *b, const struct bench_opts *o)
{
	struct buf props = {0};

	put_props(&props, o);
	for (unsigned i = 0; i < o->batch; i++) {
		buf_put_be32(b, (uint32_t)(4 + 4 + 4 + 4 + 4 + o->size + 2 + props.len));
		buf_put_be32(b, 0);
		buf_put_be32(b, 0);
		buf_put_be32(b, 0);
		buf_put_be32(b, o->size);
		put_body(b, o->size);
		buf_put_be16(b, (uint16_t)props.len);
		buf_put_slice(b, buf_slice(&props));
	}
	buf_free(&props);
}

static void
send_fields(struct frame_out *f, const struct bench_opts *o, const struct bench_target *t, struct slice props)
{
	frame_field(f, "a", slice_of(o->group));
	frame_field(f, "b", slice_of(o->topic));
	frame_field(f, "c", SLICE_LIT("TBW102"));
	frame_field(f, "d", SLICE_LIT("4"));
	frame_field(f, "e", SLICE_LIT("0000"));
	frame_field(f, "f", SLICE_LIT("0"));
	frame_field(f, "g", SLICE_LIT("1000000000000"));
	frame_field(f, "h", SLICE_LIT("0"));
	frame_field(f, "i", props);
	frame_field(f, "j", SLICE_LIT("0"));
	frame_field(f, "k", SLICE_LIT("false"));
	frame_field_bool(f, "m", o->batch > 1);
	frame_field(f, "n", slice_of(t->broker_name));
}

static size_t
queue_place(const struct bench_frame *f, bool binary)
{
	static const char mark[] = {0, 1, 'e', 0, 0, 0, 4, '0', '0', '0', '0'};
	char *at;

	if (!binary)
		return place_of(f, "\"0000\"", 1);
	at = memmem(f->p, f->n, mark, sizeof(mark));
	ensure(at != NULL);
	return (size_t)(at - f->p) + 7;
}

void
bench_frame_send(struct bench_frame *f, const struct bench_opts *o, const struct bench_target *t, int32_t opaque)
{
	struct buf out = {0}, props = {0}, body = {0};
	struct frame_out fo;

	memset(f, 0, sizeof(*f));
	if (o->batch > 1) {
		put_batch(&body, o);
		props_put(&props, "WAIT", SLICE_LIT("true"));
	} else {
		put_body(&body, o->size);
		put_props(&props, o);
	}
	frame_begin_request(&fo, &out, o->binary ? CODEC_ROCKETMQ : CODEC_JSON,
	    o->batch > 1 ? REQ_SEND_BATCH_MESSAGE : REQ_SEND_MESSAGE_V2, opaque, false);
	send_fields(&fo, o, t, buf_slice(&props));
	frame_end(&fo, body.len);
	buf_put_slice(&out, buf_slice(&body));
	ensure(!out.failed);
	f->n = out.len;
	f->p = buf_steal(&out);
	f->queue_at = queue_place(f, o->binary);
	f->born_at = place_of(f, "1000000000000", 0);
	f->unique_at = place_of(f, UNIQUE_MARK, 16);
	if (o->keys)
		f->key_at = place_of(f, "K00000000000", 1);
	if (is_timed(o))
		f->due_at = place_of(f, DUE_MARK, 0);
	f->unique_step = f->key_step = o->batch > 1 ? body.len / o->batch : 0;
	buf_free(&props);
	buf_free(&body);
}

void
bench_frame_pull(struct bench_frame *f, const struct bench_opts *o, const struct bench_target *t, int32_t opaque)
{
	struct buf out = {0};
	struct frame_out fo;

	memset(f, 0, sizeof(*f));
	frame_begin_request(&fo, &out, o->binary ? CODEC_ROCKETMQ : CODEC_JSON, REQ_PULL_MESSAGE, opaque, false);
	frame_field(&fo, "bname", slice_of(t->broker_name));
	frame_field(&fo, "commitOffset", SLICE_LIT("0"));
	frame_field(&fo, "consumerGroup", slice_of(o->group));
	frame_field(&fo, "expressionType", SLICE_LIT("TAG"));
	frame_field_i64(&fo, "maxMsgNums", o->pull_count);
	frame_field(&fo, "queueId", SLICE_LIT("9999"));
	frame_field(&fo, "queueOffset", SLICE_LIT("8888888888888888888"));
	frame_field_i64(&fo, "subVersion", 0);
	frame_field(&fo, "subscription", SLICE_LIT("*"));
	frame_field_i64(&fo, "suspendTimeoutMillis", o->hold ? 15000 : 0);
	frame_field_i64(&fo, "sysFlag", o->hold ? 6 : 4);
	frame_field(&fo, "topic", slice_of(o->topic));
	frame_end(&fo, 0);
	ensure(!out.failed);
	f->n = out.len;
	f->p = buf_steal(&out);
	f->queue_at = place_of(f, "9999", 0);
	f->offset_at = place_of(f, "8888888888888888888", 0);
}

/* ---- answers */

static int64_t
number_after(struct slice in, const char *name, int64_t dflt)
{
	char *at = memmem(in.p, in.n, name, strlen(name));

	if (at == NULL)
		return dflt;
	at += strlen(name);
	if (at < in.p + in.n && *at == '"')
		at++;
	return at < in.p + in.n ? strtoll(at, NULL, 10) : dflt; /* the header ends with }, so the digits end inside */
}

static enum rc
scan_json(struct bench_answer *a)
{
	struct slice h = a->header, tail = h;

	if (h.n < 12 || h.p[h.n - 1] != '}')
		return RC_BADDATA;
	if (h.n > 120)
		tail = (struct slice){h.p + h.n - 120, 120};
	a->opaque = (int32_t)number_after(tail, "\"opaque\":", -1);
	if (a->opaque < 0)
		a->opaque = (int32_t)number_after(h, "\"opaque\":", -1);
	a->code = h.p[8] == '0' && h.p[9] == ',' ? 0 : (int32_t)number_after(h, "\"code\":", -1);
	return a->opaque < 0 || a->code < 0 ? RC_BADDATA : RC_OK;
}

enum rc
bench_answer_scan(const char *p, size_t n, struct bench_answer *a)
{
	uint32_t header;

	if (n < FRAME_PREFIX)
		return RC_AGAIN;
	a->total = (size_t)be32_get(p) + 4;
	header = be32_get(p + 4) & 0xFFFFFF;
	if (a->total > FRAME_MAX || a->total < FRAME_PREFIX || header > a->total - FRAME_PREFIX)
		return RC_BADDATA;
	if (n < a->total)
		return RC_AGAIN;
	a->header = (struct slice){p + FRAME_PREFIX, header};
	a->body = (struct slice){p + FRAME_PREFIX + header, a->total - FRAME_PREFIX - header};
	if (p[4] == CODEC_JSON)
		return scan_json(a);
	if (header < 21)
		return RC_BADDATA;
	a->code = (int16_t)be16_get(a->header.p);
	a->opaque = (int32_t)be32_get(a->header.p + 5);
	return RC_OK;
}

int64_t
bench_answer_i64(const struct bench_answer *a, const char *name, int64_t dflt)
{
	char text[64];
	const char *at;
	size_t n = strlen(name);

	if (a->header.n > 0 && a->header.p[0] == '{') {
		snprintf(text, sizeof(text), "\"%s\":", name);
		return number_after(a->header, text, dflt);
	}
	at = memmem(a->header.p, a->header.n, name, n);
	if (at == NULL || at + n + 4 > a->header.p + a->header.n)
		return dflt;
	snprintf(text, sizeof(text), "%.*s", (int)MIN_OF(be32_get(at + n), 24u), at + n + 4);
	return strtoll(text, NULL, 10);
}

void
bench_pace_start(struct bench_pace *p, double per_second, double now_us)
{
	p->interval_us = 1e6 / per_second;
	p->next_us = now_us;
}

bool
bench_pace_due(struct bench_pace *p, double now_us, double *intended_us)
{
	if (p->next_us > now_us)
		return false;
	*intended_us = p->next_us;
	p->next_us += p->interval_us;
	return true;
}

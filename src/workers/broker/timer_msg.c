/*
 * timer_msg: what a timer message looks like in the log, and the handle by which it is recalled.
 *
 * Runs in:    the broker process.
 *
 * TIMER_OUT_MS is as the original has it: the time cut down to whole timerPrecisionMs, one step less if it was whole.
 * When the message is due is found from what its sender asked for, as long as that lies behind TIMER_OUT_MS by no more
 * than such a step; a record that the original has put off (rolled) does not, and is due right behind TIMER_OUT_MS. So
 * nothing is delivered while its handle can still recall it.
 */
#include "workers/broker/timer.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/topics.h"

/* ---- sending */

/* Seconds may be so many that they do not fit: then the time is too far anyway. */
static bool
add_delay(int64_t now, int64_t delay, int64_t unit, int64_t *at)
{
	return !__builtin_mul_overflow(delay, unit, &delay) && !__builtin_add_overflow(now, delay, at);
}

static bool
asked_time(struct slice props, int64_t now, int64_t *at, bool *number)
{
	struct slice sec = props_get(props, "TIMER_DELAY_SEC"), ms = props_get(props, "TIMER_DELAY_MS");
	int64_t v;

	if (sec.n > 0) {
		*number = str_i64(sec, &v) == RC_OK;
		return *number && add_delay(now, v, 1000, at);
	}
	if (ms.n > 0) {
		*number = str_i64(ms, &v) == RC_OK;
		return *number && add_delay(now, v, 1, at);
	}
	*number = str_i64(props_get(props, "TIMER_DELIVER_MS"), at) == RC_OK;
	return *number;
}

/* As the original understands timerPrecisionMs. */
int64_t
timer_precision_ms(const struct broker *b)
{
	static const int64_t known[] = {1000, 500, 200};

	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (b->conf->timerPrecisionMs >= known[i])
			return known[i];
	return 100;
}

enum timer_ask
timer_asked(const struct broker *b, struct slice props, int64_t *out_ms)
{
	int64_t now = clock_wall_ms(), at = 0, step = timer_precision_ms(b);
	bool number = false;

	if (!asked_time(props, now, &at, &number))
		return number ? TIMER_TOO_FAR : TIMER_NO_NUMBER;
	if (at <= now)
		return TIMER_AT_ONCE;
	if (at - now > (int64_t)b->conf->timerMaxDelaySec * 1000)
		return TIMER_TOO_FAR;
	*out_ms = at % step == 0 ? at - step : at / step * step;
	return TIMER_LATER;
}

static void
put_i64(struct buf *out, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	props_put(out, name, slice_of(text));
}

void
timer_wrap(struct message *m, int64_t out_ms, struct slice real_topic, int32_t real_queue, struct slice props,
	   struct buf *out)
{
	buf_put_slice(out, props);
	if (props.n > 0 && props.p[props.n - 1] != 2)
		buf_put_char(out, 2);
	put_i64(out, "TIMER_OUT_MS", out_ms);
	props_put(out, "REAL_TOPIC", real_topic);
	put_i64(out, "REAL_QID", real_queue);
	m->topic = SLICE_LIT(TIMER_TOPIC);
	m->queue_id = 0;
}

/* ---- reading */

struct raw { /* the properties that matter */
	struct slice out_ms, sec, ms, deliver_ms, real_qid;
};

static void
note(struct timer_msg *tm, struct raw *raw, struct slice name, struct slice value)
{
	if (slice_is(name, "TIMER_OUT_MS"))
		raw->out_ms = value;
	else if (slice_is(name, "TIMER_DELAY_SEC"))
		raw->sec = value;
	else if (slice_is(name, "TIMER_DELAY_MS"))
		raw->ms = value;
	else if (slice_is(name, "TIMER_DELIVER_MS"))
		raw->deliver_ms = value;
	else if (slice_is(name, "TIMER_DEL_UNIQKEY"))
		tm->recalls = value;
	else if (slice_is(name, "TIMER_ROLL_TIMES"))
		tm->rolled = str_i32(value, &tm->roll_times) == RC_OK && tm->roll_times > 0;
	else if (slice_is(name, "REAL_TOPIC"))
		tm->real_topic = value;
	else if (slice_is(name, "REAL_QID"))
		raw->real_qid = value;
	else if (slice_is(name, "UNIQ_KEY"))
		tm->uniq_key = value;
}

/* The time that the sender has asked for; below zero: none that can be read. */
static int64_t
exact_time(const struct raw *raw, int64_t stored_ms)
{
	int64_t v, at = -1;

	if (raw->sec.n > 0)
		return str_i64(raw->sec, &v) == RC_OK && add_delay(stored_ms, v, 1000, &at) ? at : -1;
	if (raw->ms.n > 0)
		return str_i64(raw->ms, &v) == RC_OK && add_delay(stored_ms, v, 1, &at) ? at : -1;
	return str_i64(raw->deliver_ms, &v) == RC_OK ? v : -1;
}

static bool
may_be_real(struct slice topic)
{
	return topic.n > 0 && topic.n <= MSG_TOPIC_MAX_V2 && topic_name_alphabet(topic) &&
	       !slice_is(topic, TIMER_TOPIC) && !topic_is_send_forbidden(topic);
}

bool
timer_msg_read(const struct message *record, struct timer_msg *tm)
{
	struct slice rest = record->props[0], name, value;
	struct raw raw = {SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE};
	int64_t exact;

	*tm = (struct timer_msg){0};
	while (props_next(&rest, &name, &value))
		if (name.n > 0 && (name.p[0] == 'T' || name.p[0] == 'R' || name.p[0] == 'U'))
			note(tm, &raw, name, value);
	if (str_i64(raw.out_ms, &tm->out_ms) != RC_OK || tm->out_ms < 0 || tm->out_ms > INT64_MAX / 2 ||
	    !may_be_real(tm->real_topic) || str_i32(raw.real_qid, &tm->real_queue) != RC_OK || tm->real_queue < 0)
		return false;
	exact = exact_time(&raw, record->store_ms);
	tm->due_ms = exact > tm->out_ms && exact < tm->out_ms + TIMER_OUT_SPREAD_MS ? exact : tm->out_ms + 1;
	return true;
}

/* ---- the handle */

static void
put_base64url(struct buf *out, struct slice in)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t i = 0; i < in.n; i += 3) {
		size_t n = MIN_OF(in.n - i, (size_t)3);
		uint32_t v = (uint32_t)(unsigned char)in.p[i] << 16;

		v |= n > 1 ? (uint32_t)(unsigned char)in.p[i + 1] << 8 : 0;
		v |= n > 2 ? (unsigned char)in.p[i + 2] : 0;
		buf_put_char(out, digits[v >> 18]);
		buf_put_char(out, digits[v >> 12 & 63]);
		buf_put_char(out, n > 1 ? digits[v >> 6 & 63] : '=');
		buf_put_char(out, n > 2 ? digits[v & 63] : '=');
	}
}

void
timer_put_handle(const struct broker *b, struct slice real_topic, int64_t out_ms, struct slice uniq_key,
		 struct buf *out)
{
	struct buf text = {0};

	buf_put_str(&text, "v1 ");
	buf_put_slice(&text, real_topic);
	buf_printf(&text, " %s %lld ", b->conf->brokerName, (long long)out_ms + 1);
	buf_put_slice(&text, uniq_key);
	put_base64url(out, buf_slice(&text));
	buf_free(&text);
}

/*
 * The histogram, the pacing and the frames of rmqbench: figures that everybody will quote must be right.
 */
#include "test.h"

#include "common/message.h"
#include "common/str.h"
#include "remoting/command.h"
#include "tools/bench.h"

static void
small_values_are_exact(void)
{
	static struct hist h;

	memset(&h, 0, sizeof(h));
	for (unsigned i = 1; i <= 200; i++)
		hist_add(&h, i);
	CU_ASSERT_EQUAL(hist_at(&h, 0.5), 100);
	CU_ASSERT_EQUAL(hist_at(&h, 0.99), 198);
	CU_ASSERT_EQUAL(hist_at(&h, 1.0), 200);
	CU_ASSERT_EQUAL(h.max, 200);
}

static void
large_values_are_off_by_less_than_one_percent(void)
{
	static struct hist h;

	for (uint64_t v = 300; v < 1ull << 40; v = v * 3 / 2 + 1) {
		memset(&h, 0, sizeof(h));
		hist_add(&h, v);
		hist_add(&h, v * 4);
		CU_ASSERT(hist_at(&h, 0.5) >= v);
		CU_ASSERT((double)hist_at(&h, 0.5) <= (double)v * 1.01);
	}
}

static void
merging_is_adding(void)
{
	static struct hist a, b;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	hist_add(&a, 10);
	hist_add(&b, 1000000);
	hist_merge(&a, &b);
	CU_ASSERT_EQUAL(a.count, 2);
	CU_ASSERT_EQUAL(a.max, 1000000);
	CU_ASSERT_EQUAL(hist_at(&a, 0.5), 10);
}

static void
an_empty_histogram_is_zero(void)
{
	static struct hist h;

	CU_ASSERT_EQUAL(hist_at(&h, 0.99), 0);
}

static void
late_requests_keep_their_intended_times(void)
{
	struct bench_pace p;
	double intended = 0;

	bench_pace_start(&p, 1000, 5000);
	CU_ASSERT(bench_pace_due(&p, 5000, &intended) && intended == 5000);
	CU_ASSERT_FALSE(bench_pace_due(&p, 5999, &intended));
	/* the generator was away for 3 ms: three are due, each with its own time */
	for (double want = 6000; want <= 8000; want += 1000) {
		CU_ASSERT(bench_pace_due(&p, 8500, &intended));
		CU_ASSERT_DOUBLE_EQUAL(intended, want, 0.001);
	}
	CU_ASSERT_FALSE(bench_pace_due(&p, 8500, &intended));
}

static void
check_send_frame(bool binary, unsigned batch)
{
	struct bench_opts o = {.topic = "T", .group = "G", .size = 100, .batch = batch, .keys = true, .binary = binary};
	struct bench_target t = {.broker_name = "b", .queues = 4};
	struct bench_frame f;
	struct command c;
	struct err e;
	size_t total;

	bench_frame_send(&f, &o, &t, 1000000001);
	bench_put_digits(f.p + f.queue_at, 4, 3);
	bench_put_digits(f.p + f.born_at, 13, 1795169869529);
	for (unsigned i = 0; i < (batch > 1 ? batch : 1); i++) {
		bench_put_hex16(f.p + f.unique_at + i * f.unique_step, 0xABC0 + i);
		bench_put_digits(f.p + f.key_at + i * f.key_step, 11, 42 + i);
	}
	CU_ASSERT_EQUAL_FATAL(frame_length(f.p, f.n, &total, &e), RC_OK);
	CU_ASSERT_EQUAL(total, f.n);
	CU_ASSERT_EQUAL_FATAL(command_decode(&c, f.p, total, &e), RC_OK);
	CU_ASSERT_EQUAL(c.opaque, 1000000001);
	CU_ASSERT_EQUAL(field_i32(&c, "e", -1), 3);
	CU_ASSERT_EQUAL(field_i64(&c, "g", -1), 1795169869529);
	if (batch > 1) {
		CU_ASSERT_PTR_NOT_NULL(memmem(c.body.p, c.body.n, "000000000000ABC1", 16));
		CU_ASSERT_PTR_NOT_NULL(memmem(c.body.p, c.body.n, "K00000000043", 12));
	} else {
		CU_ASSERT_EQUAL(c.body.n, 100);
		CU_ASSERT_PTR_NOT_NULL(memmem(field_get(&c, "i").p, field_get(&c, "i").n, "000000000000ABC0\2", 17));
	}
	free(f.p);
}

static void
patched_send_frames_decode_to_what_was_patched(void)
{
	check_send_frame(false, 1);
	check_send_frame(true, 1);
	check_send_frame(false, 3);
	check_send_frame(true, 3);
}

static void
a_timer_message_has_its_moment_patched_in(void)
{
	struct bench_opts o = {.topic = "T", .group = "G", .size = 10, .delay_ms = 500};
	struct bench_target t = {.broker_name = "b", .queues = 4};
	struct bench_frame f;
	struct command c;
	struct err e;
	int64_t level;

	bench_frame_send(&f, &o, &t, 1);
	bench_put_digits(f.p + f.due_at, 13, 1795169869529);
	CU_ASSERT_EQUAL_FATAL(command_decode(&c, f.p, f.n, &e), RC_OK);
	CU_ASSERT(slice_is(props_get(field_get(&c, "i"), "TIMER_DELIVER_MS"), "1795169869529"));
	free(f.p);
	o.delay_level = 3;
	bench_frame_send(&f, &o, &t, 1);
	CU_ASSERT_EQUAL(f.due_at, 0);
	CU_ASSERT_EQUAL_FATAL(command_decode(&c, f.p, f.n, &e), RC_OK);
	CU_ASSERT(str_i64(props_get(field_get(&c, "i"), "DELAY"), &level) == RC_OK && level == 3);
	free(f.p);
}

/* One record; due_ms 0: it says nothing of its time. */
static void
put_record(struct buf *b, int64_t born_ms, int64_t due_ms)
{
	struct message m = {.topic = SLICE_LIT("T"), .body = SLICE_LIT("x"), .born_ms = born_ms};
	struct buf props = {0};
	char *room;

	if (due_ms > 0) {
		buf_printf(&props, "TIMER_DELIVER_MS\1%lld\2", (long long)due_ms);
		m.props[0] = buf_slice(&props);
	}
	room = buf_room(b, message_size(&m));
	message_encode(&m, room);
	b->len += message_size(&m);
	buf_free(&props);
}

static void
early_and_late_messages_are_both_told_by_their_distance(void)
{
	static struct bench_result r;
	struct buf b = {0};

	put_record(&b, 0, 10000);
	put_record(&b, 0, 10020);
	put_record(&b, 9900, 0);
	CU_ASSERT_EQUAL(bench_due_note(&r, buf_slice(&b), 0, 10005000), 3);
	CU_ASSERT_EQUAL(r.latency.count, 2);
	CU_ASSERT_EQUAL(r.early, 1);
	CU_ASSERT_EQUAL(r.latency.max, 15000);
	memset(&r, 0, sizeof(r));
	CU_ASSERT_EQUAL(bench_due_note(&r, buf_slice(&b), 100, 10005000), 3);
	CU_ASSERT_EQUAL(r.latency.count, 3);
	CU_ASSERT(hist_at(&r.latency, 0.3) >= 5000 && hist_at(&r.latency, 0.3) <= 5050);
	buf_free(&b);
}

static void
answers_are_scanned_in_both_codecs(void)
{
	for (int codec = CODEC_JSON; codec <= CODEC_ROCKETMQ; codec++) {
		struct request_id id = {.opaque = 1000000007, .codec = (uint8_t)codec};
		struct buf b = {0};
		struct frame_out f;
		struct bench_answer a;

		frame_begin_response(&f, &b, &id, RES_PULL_OFFSET_MOVED);
		frame_field_i64(&f, "nextBeginOffset", 123456789);
		frame_end(&f, 4);
		buf_put(&b, "body", 4);
		for (size_t n = 0; n < b.len; n++)
			CU_ASSERT_EQUAL(bench_answer_scan(b.p, n, &a), RC_AGAIN);
		CU_ASSERT_EQUAL_FATAL(bench_answer_scan(b.p, b.len, &a), RC_OK);
		CU_ASSERT_EQUAL(a.opaque, 1000000007);
		CU_ASSERT_EQUAL(a.code, 21);
		CU_ASSERT_EQUAL(bench_answer_i64(&a, "nextBeginOffset", -1), 123456789);
		CU_ASSERT(slice_is(a.body, "body"));
		buf_free(&b);
	}
}

TEST_MAIN("tools/bench", TEST(small_values_are_exact), TEST(large_values_are_off_by_less_than_one_percent), TEST(merging_is_adding),
    TEST(an_empty_histogram_is_zero), TEST(late_requests_keep_their_intended_times),
    TEST(patched_send_frames_decode_to_what_was_patched), TEST(a_timer_message_has_its_moment_patched_in),
    TEST(early_and_late_messages_are_both_told_by_their_distance), TEST(answers_are_scanned_in_both_codecs))

/*
 * Timer messages with a made clock: where they wait, when they come and in which order, what is refused, recalls, and
 * that a killed broker neither loses nor doubles one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/cold.h"
#include "workers/broker/timer.h"
#include "workers/broker/timer_heap.h"

#define NOW 1700000000000

static const char *const recall_on[] = {"recallMessageEnable=true", NULL};
static struct fixture f;
static int fd;

static void
begin(const char *const *settings)
{
	clock_set_made(NOW);
	fixture_start(&f, settings);
	fd = fixture_connect(&f);
	fixture_turns(&f, 8);
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
	clock_set_made(-1);
}

static void
kill_and_restart(const char *const *settings)
{
	close(fd);
	fixture_kill(&f);
	fixture_restart(&f, settings);
	fd = fixture_connect(&f);
	fixture_turns(&f, 8);
}

/* All is flushed, and the place that is wanted is taken; it is in the file at the latest when the broker ends. */
static void
save(void)
{
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	for (int i = 0; i < 8; i++)
		fixture_pass_ms(&f, 1000);
}

static void
send_timed(const char *name, int64_t value, const char *key, const char *body, struct got *g)
{
	char *props = xasprintf("UNIQ_KEY\1%s\2%s\1%lld\2TAGS\1red\2", key, name, (long long)value);

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2, props, body, g));
	free(props);
}

static void
send_at(int64_t ms, const char *body)
{
	struct got g;

	send_timed("TIMER_DELIVER_MS", ms, body, body, &g);
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
}

static int64_t
come(void)
{
	return fixture_queue_end(&f, "T1", 2);
}

static void
bodies_are(const char *const *bodies)
{
	struct message m;
	int64_t n = 0;

	for (; bodies[n] != NULL; n++) {
		CU_ASSERT_FATAL(n < come());
		(void)fixture_message(&f, "T1", 2, n, &m, NULL);
		CU_ASSERT(slice_is(m.body, bodies[n]));
	}
	CU_ASSERT_EQUAL(come(), n);
}

#define BODIES(...) bodies_are((const char *const[]){__VA_ARGS__, NULL})

static int
recall(const char *topic, const char *handle)
{
	struct ask a;
	struct got g;
	int code;

	ask_begin(&a, REQ_RECALL_MESSAGE, 9);
	ask_field(&a, "producerGroup", "PG");
	ask_field(&a, "topic", topic);
	ask_field(&a, "recallHandle", handle);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	code = g.cmd.code;
	if (code == RES_SUCCESS)
		CU_ASSERT_STRING_EQUAL(got_text(&g, "msgId"), "K1");
	got_free(&g);
	return code;
}

/* ---- */

static void
message_waits_in_the_timer_queue(void)
{
	struct message m;
	struct got g;

	begin(NULL);
	send_timed("TIMER_DELAY_MS", 2500, "K1", "a", &g);
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueId"), "2");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueOffset"), "0");
	/* "v1 T1 broker-t 1700000002001 K1" */
	CU_ASSERT_STRING_EQUAL(got_text(&g, "recallHandle"), "djEgVDEgYnJva2VyLXQgMTcwMDAwMDAwMjAwMSBLMQ==");
	got_free(&g);
	CU_ASSERT_EQUAL(come(), 0);
	(void)fixture_message(&f, "rmq_sys_wheel_timer", 0, 0, &m, NULL);
	CU_ASSERT(slice_is(props_get(m.props[0], "TIMER_OUT_MS"), "1700000002000"));
	CU_ASSERT(slice_is(props_get(m.props[0], "REAL_TOPIC"), "T1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "REAL_QID"), "2"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TAGS"), "red"));
	end();
}

static void
message_comes_at_the_millisecond_asked_for(void)
{
	struct message m;
	struct got g;

	begin(NULL);
	send_timed("TIMER_DELAY_MS", 2500, "K1", "a", &g);
	got_free(&g);
	fixture_pass_ms(&f, 2499);
	CU_ASSERT_EQUAL(come(), 0);
	fixture_pass_ms(&f, 1);
	BODIES("a");
	(void)fixture_message(&f, "T1", 2, 0, &m, NULL);
	CU_ASSERT_EQUAL(m.born_ms, 1700000000000);
	CU_ASSERT_EQUAL(m.store_ms, NOW + 2500);
	CU_ASSERT(slice_is(props_get(m.props[0], "UNIQ_KEY"), "K1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TIMER_ENQUEUE_MS"), "1700000000000"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TIMER_DEQUEUE_MS"), "1700000002500"));
	fixture_pass_ms(&f, 60000);
	CU_ASSERT_EQUAL(come(), 1);
	end();
}

static void
whole_second_lowers_the_property_but_not_the_time(void)
{
	struct message m;
	struct got g;

	begin(NULL);
	send_timed("TIMER_DELAY_SEC", 2, "K1", "a", &g);
	got_free(&g);
	(void)fixture_message(&f, "rmq_sys_wheel_timer", 0, 0, &m, NULL);
	CU_ASSERT(slice_is(props_get(m.props[0], "TIMER_OUT_MS"), "1700000001000"));
	fixture_pass_ms(&f, 1999);
	CU_ASSERT_EQUAL(come(), 0);
	fixture_pass_ms(&f, 1);
	BODIES("a");
	end();
}

static void
messages_come_in_the_order_of_their_times(void)
{
	begin(NULL);
	send_at(NOW + 3000, "c");
	send_at(NOW + 1000, "a");
	send_at(NOW + 3000, "d");
	send_at(NOW + 2000, "b");
	fixture_pass_ms(&f, 1000);
	BODIES("a");
	fixture_pass_ms(&f, 5000);
	BODIES("a", "b", "c", "d");
	end();
}

#define TURN_MOST 256 /* messages: DELIVER_STEP */

static void
thousands_due_at_once_all_come_and_a_bounded_part_in_each_turn(void)
{
	struct timer_state s;
	char body[16];

	begin(NULL);
	for (int i = 0; i < 5000; i++) {
		snprintf(body, sizeof(body), "%d", i);
		send_at(NOW + 1500, body);
	}
	timer_state(f.b->timer, &s);
	CU_ASSERT_EQUAL(s.waiting, 5000);
	CU_ASSERT_EQUAL(s.next_due_ms, NOW + 1500);
	fixture_pass_ms(&f, 1500);
	CU_ASSERT_EQUAL(come(), TURN_MOST);
	for (int n = 1; n * TURN_MOST < 5000; n++) {
		CU_ASSERT_EQUAL(come(), n * TURN_MOST);
		fixture_pass_ms(&f, 1); /* clients have had this one */
	}
	CU_ASSERT_EQUAL(come(), 5000);
	timer_state(f.b->timer, &s);
	CU_ASSERT_EQUAL(s.waiting, 0);
	CU_ASSERT_EQUAL(s.delivered, 5000);
	end();
}

static void
an_operator_stops_reading_and_delivering(void)
{
	struct timer_state s;

	begin(NULL);
	send_at(NOW + 1500, "a");
	f.b->conf->timerStopDequeue = true;
	fixture_pass_ms(&f, 2000);
	CU_ASSERT_EQUAL(come(), 0);
	f.b->conf->timerStopEnqueue = true;
	send_at(NOW + 3000, "b");
	f.b->conf->timerStopDequeue = false;
	fixture_pass_ms(&f, 2000);
	CU_ASSERT_EQUAL(come(), 1);
	timer_state(f.b->timer, &s);
	CU_ASSERT_EQUAL(s.unread, 1);
	f.b->conf->timerStopEnqueue = false;
	fixture_pass_ms(&f, 1000);
	CU_ASSERT_EQUAL(come(), 2);
	end();
}

static void
sent(const char *name, int64_t value, int code, int64_t comes)
{
	struct got g;

	send_timed(name, value, "K1", "x", &g);
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "recallHandle"), "");
	got_free(&g);
	CU_ASSERT_EQUAL(come(), comes);
}

static void
time_gone_by_is_at_once_and_one_too_far_is_refused(void)
{
	struct got g;

	begin(NULL);
	sent("TIMER_DELIVER_MS", NOW, RES_SUCCESS, 1);
	sent("TIMER_DELAY_MS", -5, RES_SUCCESS, 2);
	sent("TIMER_DELAY_SEC", 259201, RES_MESSAGE_ILLEGAL, 2);
	sent("TIMER_DELAY_SEC", INT64_MAX, RES_MESSAGE_ILLEGAL, 2);
	sent("TIMER_DELIVER_MS", NOW + 259200001, RES_MESSAGE_ILLEGAL, 2);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2, "UNIQ_KEY\1K\2TIMER_DELIVER_MS\1soon\2", "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_MESSAGE_ILLEGAL);
	got_free(&g);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "rmq_sys_wheel_timer", 0), 0);
	end();
}

static void
wheel_that_is_off_refuses(void)
{
	static const char *const off[] = {"timerWheelEnable=false", NULL};
	struct got g;

	begin(off);
	send_timed("TIMER_DELAY_SEC", 3, "K1", "x", &g);
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), "timerWheelEnable"));
	got_free(&g);
	end();
}

static void
delay_level_wins_over_a_time(void)
{
	struct got g;

	begin(NULL);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2,
				 "UNIQ_KEY\1K\2DELAY\1"
				 "3\2TIMER_DELAY_SEC\1"
				 "2\2",
				 "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "rmq_sys_wheel_timer", 0), 0);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "SCHEDULE_TOPIC_XXXX", 2), 1);
	end();
}

/* ---- recalls */

static char *
send_and_take_handle(int64_t delay_ms)
{
	struct got g;
	char *handle;

	send_timed("TIMER_DELAY_MS", delay_ms, "K1", "x", &g);
	handle = xstrdup(got_text(&g, "recallHandle"));
	got_free(&g);
	return handle;
}

static void
recalled_message_never_comes(void)
{
	char *handle;

	begin(recall_on);
	handle = send_and_take_handle(5500);
	send_at(NOW + 5500, "kept");
	CU_ASSERT_EQUAL(recall("T1", handle), RES_SUCCESS);
	fixture_pass_ms(&f, 6000);
	BODIES("kept");
	fixture_pass_ms(&f, 10000);
	BODIES("kept");
	CU_ASSERT_EQUAL(timer_recalls(f.b->timer)->count, 0); /* and is forgotten */
	free(handle);
	end();
}

static void
recall_outlives_a_kill(void)
{
	char *handle;

	begin(recall_on);
	handle = send_and_take_handle(5500);
	CU_ASSERT_EQUAL(recall("T1", handle), RES_SUCCESS);
	kill_and_restart(recall_on);
	fixture_pass_ms(&f, 6000);
	kill_and_restart(recall_on);
	fixture_pass_ms(&f, 6000);
	CU_ASSERT_EQUAL(come(), 0);
	free(handle);
	end();
}

static void
recall_of_what_was_due_is_refused(void)
{
	char *handle;

	begin(recall_on);
	handle = send_and_take_handle(2500);
	fixture_pass_ms(&f, 2500);
	CU_ASSERT_EQUAL(come(), 1);
	CU_ASSERT_EQUAL(recall("T1", handle), RES_ILLEGAL_OPERATION);
	free(handle);
	end();
}

static void
bad_recalls_are_refused(void)
{
	char *handle;

	begin(recall_on);
	handle = send_and_take_handle(5500);
	CU_ASSERT_EQUAL(recall("nowhere", handle), RES_TOPIC_NOT_EXIST);
	CU_ASSERT_EQUAL(recall("BenchmarkTest", handle), RES_ILLEGAL_OPERATION);
	CU_ASSERT_EQUAL(recall("T1", "no handle"), RES_ILLEGAL_OPERATION);
	CU_ASSERT_EQUAL(recall("T1", "djEgVDE="), RES_ILLEGAL_OPERATION);
	fixture_pass_ms(&f, 6000);
	BODIES("x");
	free(handle);
	end();
}

static void
recall_is_off_unless_configured(void)
{
	char *handle;

	begin(NULL);
	handle = send_and_take_handle(5500);
	CU_ASSERT_EQUAL(recall("T1", handle), RES_NO_PERMISSION);
	free(handle);
	end();
}

/* ---- kills */

static void
killed_broker_delivers_each_once(void)
{
	begin(NULL);
	send_at(NOW + 1000, "a");
	send_at(NOW + 30000, "c");
	send_at(NOW + 2000, "b");
	fixture_pass_ms(&f, 1000);
	BODIES("a");
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 0);
	BODIES("a");
	fixture_pass_ms(&f, 2000);
	BODIES("a", "b");
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 30000);
	BODIES("a", "b", "c");
	end();
}

static void
written_place_and_the_log_behind_it_say_what_was_delivered(void)
{
	begin(NULL);
	send_at(NOW + 1000, "a");
	send_at(NOW + 100000, "d");
	send_at(NOW + 2000, "b");
	fixture_pass_ms(&f, 1000);
	fixture_pass_ms(&f, 1000);
	save(); /* a and b */
	BODIES("a", "b");
	send_at(NOW + 50000, "c");
	send_at(NOW + 90000, "e");
	fixture_pass_ms(&f, 50000);
	BODIES("a", "b", "c");
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 0);
	BODIES("a", "b", "c");
	save();
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 100000);
	BODIES("a", "b", "c", "e", "d");
	end();
}

static void
copies_that_only_the_log_knows_are_in_the_next_place(void)
{
	begin(NULL);
	send_at(NOW + 1000, "a");
	send_at(NOW + 100000, "b");
	fixture_pass_ms(&f, 1000);
	kill_and_restart(NULL); /* the file was written before a */
	save();
	fixture_pass_ms(&f, 6000);
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 100000);
	BODIES("a", "b");
	end();
}

/* The original's file says: read up to place 2, delivered what was due before. */
static void
file_of_the_original_is_understood(void)
{
	char page[4096] = {0}, *path;
	FILE *file;

	begin(NULL);
	send_at(NOW + 1500, "gone");
	send_at(NOW + 5500, "waits");
	send_at(NOW + 1700, "not read");
	close(fd);
	fixture_kill(&f);
	be64_put(page, NOW + 3000);
	be64_put(page + 16, 2);
	be64_put(page + 24, 2);
	path = xasprintf("%s/config/timercheck", f.dir);
	file = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL(fwrite(page, sizeof(page), 1, file), 1);
	fclose(file);
	free(path);
	clock_advance_ms(10000);
	fixture_restart(&f, NULL);
	fd = fixture_connect(&f);
	fixture_pass_ms(&f, 0);
	BODIES("not read", "waits");
	end();
}

static void
check_point_is_told(void)
{
	struct ask a;
	struct got g;

	begin(NULL);
	send_at(NOW + 1000, "a");
	fixture_pass_ms(&f, 1000);
	ask_begin(&a, REQ_GET_TIMER_CHECK_POINT, 9);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.body.n, 56);
	got_free(&g);
	ask_begin(&a, REQ_GET_TIMER_METRICS, 9);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\"timingCount\":{\"T1\":{\"count\":0", 30));
	got_free(&g);
	end();
}

/* ---- records that are not in memory */

#define FILL_BODY (2 << 20)

/* The pages of p, in the log's first segment, leave memory. */
static void
evict(const char *p)
{
	char *path = xasprintf("%s/commitlog/00000000000000000000", f.dir);
	int log = open(path, O_RDWR);

	CU_ASSERT_FATAL(log >= 0);
	(void)madvise((void *)((uintptr_t)p & ~(uintptr_t)4095), 8192, MADV_DONTNEED);
	CU_ASSERT_EQUAL(fsync(log), 0);
	(void)posix_fadvise(log, 0, 0, POSIX_FADV_DONTNEED);
	close(log);
	free(path);
	clock_advance_ms(60000); /* what is known of memory is forgotten */
}

static void
fill_log(int messages)
{
	char *body = xmalloc(FILL_BODY + 1);
	struct got g;

	memset(body, 'x', FILL_BODY);
	body[FILL_BODY] = '\0';
	for (int i = 0; i < messages; i++) {
		CU_ASSERT_FATAL(send_one(&f, fd, "T2", 0, NULL, body, &g));
		CU_ASSERT_EQUAL_FATAL(g.cmd.code, RES_SUCCESS);
		got_free(&g);
	}
	free(body);
}

/* Answers warm's next ask; false: there is none. */
static bool
answer_warm(int error)
{
	struct ipc_msg m;
	int64_t id;

	do {
		if (ipc_recv(f.warm_fd, &m) != RC_OK)
			return false;
	} while (m.type != IPC_BROKER_WARM_RANGE);
	id = ipc_i64(&m);
	cold_done(f.b->cold, id, error);
	fixture_turns(&f, 8);
	return true;
}

static const char *
first_record(void)
{
	struct message m;

	(void)fixture_message(&f, "rmq_sys_wheel_timer", 0, 0, &m, NULL);
	return m.body.p;
}

/* Where files are in memory anyway (tmpfs) it comes without being asked for. */
static void
message_that_left_memory_is_read_by_warm(void)
{
	begin(NULL);
	send_at(NOW + 200000000, "far");
	fill_log(36);
	evict(first_record());
	send_at(NOW + 200000000, "near");
	fixture_pass_ms(&f, 200000000);
	if (come() == 1) {
		BODIES("near"); /* the other one holds nobody up */
		CU_ASSERT(answer_warm(EIO));
		CU_ASSERT_EQUAL(come(), 1);
		fixture_pass_ms(&f, 1000);
		CU_ASSERT(answer_warm(0));
		BODIES("near", "far");
	} else {
		BODIES("far", "near");
	}
	end();
}

/* ---- the heap alone */

static void
heap_gives_the_earliest_and_knows_the_lowest(void)
{
	struct timer_heap h = {0};
	int64_t last = 0;

	for (int64_t i = 0; i < 20000; i++)
		timer_heap_add(&h, &(struct timer_entry){.due_ms = i * 7919 % 20011, .at = 5000 + i, .topic = 1});
	CU_ASSERT_EQUAL(timer_heap_low(&h, 99999), 4096);
	for (int64_t i = 0; i < 20000; i++) {
		struct timer_entry e = timer_heap_pop(&h);

		CU_ASSERT(e.due_ms >= last);
		last = e.due_ms;
		if (e.at != 20000)
			timer_heap_finish(&h, e.at);
	}
	CU_ASSERT_PTR_NULL(timer_heap_top(&h));
	CU_ASSERT_EQUAL(timer_heap_low(&h, 99999), 16384);
	timer_heap_finish(&h, 20000);
	CU_ASSERT_EQUAL(timer_heap_low(&h, 99999), 99999);
	timer_heap_free(&h);
}

TEST_MAIN("timer", TEST(message_waits_in_the_timer_queue), TEST(message_comes_at_the_millisecond_asked_for),
	  TEST(whole_second_lowers_the_property_but_not_the_time), TEST(messages_come_in_the_order_of_their_times),
	  TEST(thousands_due_at_once_all_come_and_a_bounded_part_in_each_turn),
    TEST(an_operator_stops_reading_and_delivering), TEST(time_gone_by_is_at_once_and_one_too_far_is_refused),
	  TEST(wheel_that_is_off_refuses), TEST(delay_level_wins_over_a_time), TEST(recalled_message_never_comes),
	  TEST(recall_outlives_a_kill), TEST(recall_of_what_was_due_is_refused), TEST(bad_recalls_are_refused),
	  TEST(recall_is_off_unless_configured), TEST(killed_broker_delivers_each_once),
	  TEST(written_place_and_the_log_behind_it_say_what_was_delivered),
	  TEST(copies_that_only_the_log_knows_are_in_the_next_place), TEST(file_of_the_original_is_understood),
	  TEST(check_point_is_told), TEST(message_that_left_memory_is_read_by_warm),
	  TEST(heap_gives_the_earliest_and_knows_the_lowest))

/*
 * Delayed messages with a made clock: where they wait, when they come, in which order, and that a killed broker neither
 * loses nor doubles one.
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/delay.h"
#include "workers/broker/delay_mark.h"

#define NOW 1700000000000

static struct fixture f;
static int fd;

static void
begin(const char *const *settings)
{
	clock_set_made(NOW);
	fixture_start(&f, settings);
	fd = fixture_connect(&f);
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
}

static void
send_delayed(const char *level, const char *body)
{
	char *props = xasprintf("UNIQ_KEY\1K\2DELAY\1%s\2TAGS\1red\2", level);
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2, props, body, &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueId"), "2");
	got_free(&g);
	free(props);
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
	int64_t code, n = 0;

	for (; bodies[n] != NULL; n++) {
		CU_ASSERT_FATAL(n < come());
		(void)fixture_message(&f, "T1", 2, n, &m, &code);
		CU_ASSERT(slice_is(m.body, bodies[n]));
	}
	CU_ASSERT_EQUAL(come(), n);
}

#define BODIES(...) bodies_are((const char *const[]){__VA_ARGS__, NULL})

/* ---- */

/* In a process of its own: faults are read once. */
static void
commit_that_fails_is_tried_again_in_order(void)
{
#ifdef ENABLE_DEV
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		setenv("RMQ_FAULTS", "append.write=ENOSPC@3", 1);
		begin(NULL);
		send_delayed("1", "a");
		send_delayed("1", "b");
		fixture_pass_ms(&f, 1000);
		CU_ASSERT_EQUAL(come(), 0);
		fixture_pass_ms(&f, 1000);
		BODIES("a", "b");
		end();
		_exit(CU_get_number_of_failures() > 0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
#endif
}

static void
message_waits_in_the_queue_of_its_level(void)
{
	struct message m;
	int64_t code;

	begin(NULL);
	send_delayed("3", "later");
	CU_ASSERT_EQUAL(come(), 0);
	(void)fixture_message(&f, "SCHEDULE_TOPIC_XXXX", 2, 0, &m, &code);
	CU_ASSERT_EQUAL(code, NOW + 10000);
	CU_ASSERT(slice_is(m.body, "later"));
	CU_ASSERT(slice_is(props_get(m.props[0], "REAL_TOPIC"), "T1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "REAL_QID"), "2"));
	CU_ASSERT(slice_is(props_get(m.props[0], "DELAY"), "3"));
	CU_ASSERT(slice_is(props_get(m.props[0], "UNIQ_KEY"), "K"));
	CU_ASSERT(slice_is(props_get(m.props[0], "CLUSTER"), "test"));
	end();
}

static void
message_comes_when_it_is_due_and_not_before(void)
{
	struct message waiting, m;
	int64_t code;

	begin(NULL);
	send_delayed("2", "later");
	fixture_pass_ms(&f, 4999);
	CU_ASSERT_EQUAL(come(), 0);
	fixture_pass_ms(&f, 1);
	BODIES("later");
	(void)fixture_message(&f, "SCHEDULE_TOPIC_XXXX", 1, 0, &waiting, &code);
	(void)fixture_message(&f, "T1", 2, 0, &m, &code);
	CU_ASSERT_EQUAL(code, message_tags_code(SLICE_LIT("red")));
	CU_ASSERT_EQUAL(m.store_ms, NOW + 5000);
	CU_ASSERT_EQUAL(m.born_ms, waiting.born_ms);
	CU_ASSERT_EQUAL(m.born_host.port, waiting.born_host.port);
	CU_ASSERT(slice_eq(m.props[0], waiting.props[0]));
	fixture_pass_ms(&f, 60000);
	CU_ASSERT_EQUAL(come(), 1);
	end();
}

static void
the_timer_delivers_without_the_second(void)
{
	static const char *const settings[] = {"messageDelayLevel=0s", NULL};

	begin(settings);
	send_delayed("1", "soon");
	for (int i = 0; i < 1000 && come() == 0; i++)
		ev_run(f.w.loop, EVRUN_ONCE);
	BODIES("soon");
	end();
}

static void
level_above_the_last_is_the_last(void)
{
	static const char *const settings[] = {"messageDelayLevel=1s 2s", NULL};
	struct message m;
	int64_t code;

	begin(settings);
	send_delayed("77", "x");
	(void)fixture_message(&f, "SCHEDULE_TOPIC_XXXX", 1, 0, &m, &code);
	CU_ASSERT_EQUAL(code, NOW + 2000);
	CU_ASSERT(slice_is(props_get(m.props[0], "DELAY"), "2"));
	fixture_pass_ms(&f, 2000);
	BODIES("x");
	end();
}

static void
levels_do_not_wait_for_each_other(void)
{
	begin(NULL);
	send_delayed("3", "ten");
	send_delayed("1", "one");
	send_delayed("2", "five");
	fixture_pass_ms(&f, 1000);
	BODIES("one");
	fixture_pass_ms(&f, 4000);
	BODIES("one", "five");
	fixture_pass_ms(&f, 5000);
	BODIES("one", "five", "ten");
	end();
}

#define TURN_MOST 256 /* messages: DELIVER_STEP */

static void
thousands_come_in_their_order_and_a_bounded_part_in_each_turn(void)
{
	struct message m;
	char body[16];
	int64_t code, before;

	begin(NULL);
	for (int i = 0; i < 2500; i++) {
		snprintf(body, sizeof(body), "%d", i);
		send_delayed("1", body);
	}
	fixture_pass_ms(&f, 1000);
	CU_ASSERT_EQUAL(come(), TURN_MOST);
	for (int n = 0; n < 9; n++) {
		before = come();
		fixture_pass_ms(&f, 1); /* clients have had this one */
		CU_ASSERT(come() > before && come() <= before + TURN_MOST);
	}
	CU_ASSERT_EQUAL_FATAL(come(), 2500);
	for (int i = 0; i < 2500; i++) {
		(void)fixture_message(&f, "T1", 2, i, &m, &code);
		snprintf(body, sizeof(body), "%d", i);
		CU_ASSERT(slice_is(m.body, body));
	}
	end();
}

static void
clock_that_is_set_back_makes_them_due(void)
{
	begin(NULL);
	send_delayed("1", "x");
	clock_set_made(NOW - 3600 * 1000);
	fixture_pass_ms(&f, 0);
	BODIES("x");
	end();
}

static void
timer_properties_give_way_to_a_level(void)
{
	struct message m;
	struct got g;
	int64_t code;

	begin(NULL);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2, "UNIQ_KEY\1K\2DELAY\0011\2TIMER_DELAY_SEC\00160\2", "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	(void)fixture_message(&f, "SCHEDULE_TOPIC_XXXX", 0, 0, &m, &code);
	CU_ASSERT_EQUAL(props_get(m.props[0], "TIMER_DELAY_SEC").n, 0);
	end();
}

static void
nothing_is_delivered_while_the_disk_is_full(void)
{
	begin(NULL);
	send_delayed("1", "x");
	atomic_store(&f.w.shm->clean.disk_full, 1);
	fixture_pass_ms(&f, 5000);
	CU_ASSERT_EQUAL(come(), 0);
	atomic_store(&f.w.shm->clean.disk_full, 0);
	fixture_pass_ms(&f, 1000);
	BODIES("x");
	end();
}

/* ---- after a kill */

static char *
mark_file(void)
{
	return xasprintf("%s/config/delayOffset.json", f.dir);
}

static void
write_mark_file(const char *text)
{
	char *path = mark_file();
	struct err e;

	CU_ASSERT_EQUAL_FATAL(file_replace(path, slice_of(text), &e), RC_OK);
	free(path);
}

static void
flush_all(void)
{
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
}

static void
delivered_ones_do_not_come_again_after_a_kill(void)
{
	begin(NULL);
	for (int round = 0; round < 3; round++) {
		send_delayed("1", "a");
		send_delayed("2", "b");
		fixture_pass_ms(&f, 1000);
		flush_all(); /* the file gets a place in the middle */
		kill_and_restart(NULL);
		CU_ASSERT_EQUAL(come(), 2 * round + 1);
		fixture_pass_ms(&f, 5000);
		CU_ASSERT_EQUAL(come(), 2 * round + 2);
		kill_and_restart(NULL);
		fixture_pass_ms(&f, 10000);
		CU_ASSERT_EQUAL(come(), 2 * round + 2);
	}
	BODIES("a", "b", "a", "b", "a", "b");
	end();
}

static void
what_fell_due_while_it_was_down_comes_at_the_start(void)
{
	begin(NULL);
	send_delayed("1", "a");
	clock_advance_ms(3600 * 1000);
	kill_and_restart(NULL);
	fixture_turns(&f, 8);
	BODIES("a");
	end();
}

static void
file_does_not_know_of_copies_that_are_not_flushed(void)
{
	static const char *const settings[] = {"flushDelayOffsetInterval=1000", NULL};
	json_t *root;
	char *path;
	struct err e;

	begin(settings);
	path = mark_file();
	send_delayed("1", "a");
	fixture_pass_ms(&f, 1000);
	fixture_pass_ms(&f, 5000);
	CU_ASSERT_EQUAL(come(), 1);
	CU_ASSERT_EQUAL(json_load_config(path, &root, &e), RC_NOTFOUND);
	flush_all();
	fixture_pass_ms(&f, 5000); /* the place that waited for flush */
	fixture_pass_ms(&f, 5000); /* and the newest */
	close(fd);
	fixture_kill(&f); /* writes what is marked */
	CU_ASSERT_EQUAL_FATAL(json_load_config(path, &root, &e), RC_OK);
	CU_ASSERT_EQUAL(json_get_i64(json_object_get(root, "offsetTable"), "1", -1), 1);
	CU_ASSERT(json_get_i64(root, "logOffset", -1) > 0);
	json_decref(root);
	free(path);
	fixture_restart(&f, settings);
	fd = fixture_connect(&f);
	end();
}

static void
file_of_the_original_is_believed(void)
{
	begin(NULL);
	send_delayed("1", "a");
	send_delayed("1", "b");
	send_delayed("1", "c");
	fixture_pass_ms(&f, 1000);
	write_mark_file(
	    "{\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":1},\"offsetTable\":{1:2,7:0}}");
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 1000);
	BODIES("a", "b", "c", "c");
	end();
}

static void
file_that_is_ahead_of_the_queue_is_not(void)
{
	begin(NULL);
	write_mark_file("{\"offsetTable\":{1:50}}");
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 1000);
	send_delayed("1", "a");
	fixture_pass_ms(&f, 1000);
	BODIES("a");
	end();
}

/* Copies that stood behind the log's end are gone: what was due since its last record comes again. */
static void
log_that_lost_its_tail_makes_them_come_again(void)
{
	begin(NULL);
	send_delayed("1", "a");
	fixture_pass_ms(&f, 1000);
	send_delayed("1", "b");
	write_mark_file("{\"logOffset\":999999999,\"offsetTable\":{1:2}}");
	clock_advance_ms(2000);
	kill_and_restart(NULL);
	fixture_pass_ms(&f, 1000);
	CU_ASSERT(come() >= 2);
	end();
}

static void
marks_of_copies_cannot_be_taken_for_transactions(void)
{
	int64_t offset;
	int level;

	for (int i = 1; i <= DELAY_LEVELS; i++) {
		CU_ASSERT(delay_mark_of(i, 12345678901) < 0);
		CU_ASSERT_FATAL(delay_mark_read(delay_mark_of(i, 12345678901), &level, &offset));
		CU_ASSERT_EQUAL(level, i);
		CU_ASSERT_EQUAL(offset, 12345678901);
	}
	CU_ASSERT_FALSE(delay_mark_read(0, &level, &offset));
	CU_ASSERT_FALSE(delay_mark_read(4711, &level, &offset));
	CU_ASSERT_FALSE(delay_mark_read(-1, &level, &offset));
	CU_ASSERT_FALSE(delay_mark_read(INT64_MIN, &level, &offset));
}

/* ---- what is told of it */

static bool
body_has(const struct got *g, const char *text)
{
	return memmem(g->cmd.body.p, g->cmd.body.n, text, strlen(text)) != NULL;
}

static void
progress_is_told(void)
{
	struct ask a;
	struct got g;

	begin(NULL);
	send_delayed("1", "a");
	send_delayed("1", "b");
	clock_advance_ms(500);
	send_delayed("1", "c");
	fixture_pass_ms(&f, 500);
	ask_begin(&a, REQ_GET_BROKER_RUNTIME_INFO, 5);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT(body_has(&g, "\"scheduleMessageOffset_1\":\"2,3\""));
	CU_ASSERT_FALSE(body_has(&g, "scheduleMessageOffset_18")); /* not in use */
	got_free(&g);
	flush_all();
	fixture_pass_ms(&f, 0);
	ask_begin(&a, REQ_GET_ALL_DELAY_OFFSET, 6);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT(body_has(&g, "\"offsetTable\":{\"1\":2}"));
	got_free(&g);
	end();
}

TEST_MAIN("broker/delay", TEST(commit_that_fails_is_tried_again_in_order),
	  TEST(message_waits_in_the_queue_of_its_level), TEST(message_comes_when_it_is_due_and_not_before),
	  TEST(the_timer_delivers_without_the_second), TEST(level_above_the_last_is_the_last),
	  TEST(levels_do_not_wait_for_each_other), TEST(thousands_come_in_their_order_and_a_bounded_part_in_each_turn),
	  TEST(clock_that_is_set_back_makes_them_due), TEST(timer_properties_give_way_to_a_level),
	  TEST(nothing_is_delivered_while_the_disk_is_full), TEST(delivered_ones_do_not_come_again_after_a_kill),
	  TEST(what_fell_due_while_it_was_down_comes_at_the_start),
	  TEST(file_does_not_know_of_copies_that_are_not_flushed), TEST(file_of_the_original_is_believed),
	  TEST(file_that_is_ahead_of_the_queue_is_not), TEST(log_that_lost_its_tail_makes_them_come_again),
	  TEST(marks_of_copies_cannot_be_taken_for_transactions), TEST(progress_is_told))

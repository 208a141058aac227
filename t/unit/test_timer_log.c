/*
 * The timer log that a clean stop leaves for the original: its bytes as doc/store.md 9.2 has them, and when it goes.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/timer.h"

#define NOW  INT64_C(1700000000000)
#define UNIT 52

static const char *const settings[] = {"recallMessageEnable=true", "mappedFileSizeTimerLog=4096", NULL};
static struct fixture f;
static int fd;
static char page[8192];

static void
begin(void)
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
pass_ms(int64_t ms)
{
	clock_advance_ms(ms);
	f.w.on_second(&f.w);
	fixture_turns(&f, 8);
}

static void
put_at(int64_t ms, const char *key, struct got *g)
{
	char *props = xasprintf("UNIQ_KEY\1%s\2TIMER_DELIVER_MS\1%lld\2", key, (long long)ms);

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2, props, key, g));
	CU_ASSERT_EQUAL(g->cmd.code, RES_SUCCESS);
	free(props);
}

static void
put(int64_t ms, const char *key)
{
	struct got g;

	put_at(ms, key, &g);
	got_free(&g);
}

/* Stored as the original has put it off: the same message once more. */
static void
put_again(int64_t ms, const char *key, int times)
{
	char *props = xasprintf("UNIQ_KEY\1%s\2TIMER_DELIVER_MS\1%lld\2TIMER_ROLL_TIMES\1%d\2", key, (long long)ms, times);
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2, props, key, &g));
	got_free(&g);
	free(props);
}

static void
leave(void)
{
	struct err e;

	timer_leave(f.b->timer);
	CU_ASSERT_EQUAL_FATAL(timer_save(f.b->timer, &e), RC_OK);
}

/* The file's size; what fits of it is in `page`. -1: it is not there. */
static int64_t
file(const char *name)
{
	char *path = xasprintf("%s/%s", f.dir, name);
	struct stat st;
	int in = open(path, O_RDONLY);

	free(path);
	memset(page, 0, sizeof(page));
	if (in < 0)
		return -1;
	CU_ASSERT_EQUAL(fstat(in, &st), 0);
	CU_ASSERT_TRUE(read(in, page, sizeof(page)) >= 0);
	close(in);
	return (int64_t)st.st_size;
}

#define LOG "timerlog/00000000000000000000"

static int64_t
unit64(int n, int at)
{
	return (int64_t)be64_get(page + n * UNIT + at);
}

static int32_t
unit32(int n, int at)
{
	return (int32_t)be32_get(page + n * UNIT + at);
}

/* The second that a unit is in. */
static int64_t
slot(int n)
{
	return unit64(n, 16) + unit32(n, 24);
}

static int
units(void)
{
	int n = 0;

	while (unit32(n, 0) == UNIT)
		n++;
	return n;
}

/* ---- tests */

static void
each_message_that_waits_has_a_unit_in_the_chain_of_its_second(void)
{
	begin();
	put(NOW + 9300, "second 9 b");
	put(NOW + 5500, "second 5");
	put(NOW + 9100, "second 9 a");
	put(NOW + 1500, "comes");
	pass_ms(2000);
	leave();
	CU_ASSERT_EQUAL(file(LOG), 4096);
	CU_ASSERT_EQUAL(units(), 4); /* and one for what was read last */
	CU_ASSERT_EQUAL(slot(0), NOW + 5000);
	CU_ASSERT_EQUAL(slot(1), NOW + 9000);
	CU_ASSERT_EQUAL(slot(2), NOW + 9000);
	CU_ASSERT_EQUAL(unit64(0, 4), -1);
	CU_ASSERT_EQUAL(unit64(1, 4), -1);
	CU_ASSERT_EQUAL(unit64(2, 4), UNIT); /* behind the unit before */
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(unit32(i, 12), 1);
		CU_ASSERT_EQUAL(unit64(i, 16), NOW + 2000);
		CU_ASSERT_EQUAL(unit32(i, 40), str_java_hash(SLICE_LIT("T1")));
	}
	/* in the order in which they came: the original delivers a second's messages so */
	CU_ASSERT_TRUE(unit64(1, 28) < unit64(0, 28));
	CU_ASSERT_TRUE(unit64(0, 28) < unit64(2, 28));
	CU_ASSERT_TRUE(unit64(3, 28) > unit64(2, 28));
	CU_ASSERT_TRUE(slot(3) < NOW + 2000);
	CU_ASSERT_EQUAL(file("config/timercheck"), 4096);
	CU_ASSERT_EQUAL((int64_t)be64_get(page), NOW + 2000);
	CU_ASSERT_EQUAL(be64_get(page + 8), 0);
	CU_ASSERT_EQUAL(be64_get(page + 16), 4);
	CU_ASSERT_EQUAL(be64_get(page + 24), 4);
	end();
}

static void
time_to_look_from_is_that_of_the_first_that_waits(void)
{
	begin();
	put(NOW + 1500, "late");
	clock_advance_ms(60000);
	leave();
	CU_ASSERT_EQUAL(file(LOG), 4096);
	CU_ASSERT_EQUAL(slot(0), NOW + 1000);
	CU_ASSERT_EQUAL(file("config/timercheck"), 4096);
	CU_ASSERT_EQUAL((int64_t)be64_get(page), NOW + 1000);
	end();
}

static void
nothing_that_waits_leaves_no_log_and_says_how_far_was_read(void)
{
	begin();
	put(NOW + 1500, "comes");
	pass_ms(2000);
	leave();
	CU_ASSERT_EQUAL(file(LOG), -1);
	CU_ASSERT_EQUAL(file("config/timercheck"), 4096);
	CU_ASSERT_EQUAL(be64_get(page + 16), 1);
	end();
}

static void
recall_stands_in_the_second_of_its_message_and_in_the_next(void)
{
	struct got g;
	struct ask a;
	char *handle;

	begin();
	put_at(NOW + 5500, "taken back", &g);
	handle = xstrdup(got_text(&g, "recallHandle"));
	got_free(&g);
	ask_begin(&a, REQ_RECALL_MESSAGE, 9);
	ask_field(&a, "producerGroup", "PG");
	ask_field(&a, "topic", "T1");
	ask_field(&a, "recallHandle", handle);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	free(handle);
	put(NOW + 8000, "another");
	pass_ms(0);
	leave();
	CU_ASSERT_EQUAL(file(LOG), 4096);
	CU_ASSERT_EQUAL(units(), 5);
	CU_ASSERT_EQUAL(unit32(0, 12), 1);
	CU_ASSERT_EQUAL(unit32(1, 12), 1 | 4);
	CU_ASSERT_EQUAL(unit32(2, 12), 1 | 4);
	CU_ASSERT_EQUAL(slot(0), NOW + 5000);
	CU_ASSERT_EQUAL(slot(1), NOW + 5000);
	CU_ASSERT_EQUAL(unit64(1, 4), 0);
	CU_ASSERT_EQUAL(slot(2), NOW + 6000);
	CU_ASSERT_EQUAL(slot(3), NOW + 7000); /* a whole second is one earlier */
	end();
}

static void
what_is_far_away_is_to_be_put_off(void)
{
	begin();
	put(NOW + INT64_C(200000) * 1000, "far");
	leave();
	CU_ASSERT_EQUAL(file(LOG), 4096);
	CU_ASSERT_EQUAL(unit32(0, 12), 1 | 2);
	CU_ASSERT_EQUAL(slot(0), NOW + INT64_C(172800) * 1000);
	end();
}

static void
full_files_end_with_a_filler_and_go_on_in_the_next(void)
{
	char key[16];

	begin();
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		put(NOW + 60000, key);
	}
	pass_ms(0);
	leave();
	CU_ASSERT_EQUAL(file(LOG), 4096);
	CU_ASSERT_EQUAL(units(), 78); /* 4096 - 78 * 52 = 40 are less than a unit and a filler */
	CU_ASSERT_EQUAL(unit32(78, 0), 40);
	CU_ASSERT_EQUAL((uint32_t)unit32(78, 12), 0xCBD43194u);
	CU_ASSERT_EQUAL(file("timerlog/00000000000000004096"), 4096);
	CU_ASSERT_EQUAL(units(), 23);
	CU_ASSERT_EQUAL(unit64(0, 4), 77 * UNIT);
	CU_ASSERT_EQUAL(unit64(1, 4), 4096);
	end();
}

static void
log_and_wheel_go_when_the_next_run_has_written_its_own_place(void)
{
	char *path;
	int out;

	begin();
	put(NOW + 60000, "waits");
	pass_ms(0);
	leave();
	path = xasprintf("%s/timerwheel", f.dir);
	out = open(path, O_CREAT | O_WRONLY, 0600);
	CU_ASSERT_TRUE(out >= 0);
	close(out);
	free(path);
	close(fd);
	fixture_kill(&f);
	CU_ASSERT_EQUAL(file(LOG), 4096);
	fixture_restart(&f, settings);
	fd = fixture_connect(&f);
	CU_ASSERT_EQUAL(file(LOG), 4096);
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	for (int i = 0; i < 8; i++)
		pass_ms(1000);
	CU_ASSERT_EQUAL(file(LOG), -1);
	CU_ASSERT_EQUAL(file("timerwheel"), -1);
	CU_ASSERT_EQUAL(file("config/timercheck"), 4096);
	CU_ASSERT_EQUAL(be64_get(page + 16), 0); /* the original would read from the first that waits */
	end();
}

static void
of_copies_that_the_original_has_put_off_the_last_one_comes(void)
{
	begin();
	put(NOW + 5000, "k");
	put_again(NOW + 5000, "k", 1);
	put_again(NOW + 5000, "k", 2);
	put(NOW + 5000, "other");
	pass_ms(0);
	leave();
	CU_ASSERT_EQUAL(file(LOG), 4096);
	CU_ASSERT_EQUAL(units(), 3);
	pass_ms(6000);
	CU_ASSERT_EQUAL(queue_max(store_queue_find(f.b->store, SLICE_LIT("T1"), 2)), 2);
	end();
}

TEST_MAIN("broker/timer_log", TEST(each_message_that_waits_has_a_unit_in_the_chain_of_its_second),
    TEST(time_to_look_from_is_that_of_the_first_that_waits), TEST(nothing_that_waits_leaves_no_log_and_says_how_far_was_read),
    TEST(recall_stands_in_the_second_of_its_message_and_in_the_next), TEST(what_is_far_away_is_to_be_put_off),
    TEST(full_files_end_with_a_filler_and_go_on_in_the_next), TEST(log_and_wheel_go_when_the_next_run_has_written_its_own_place),
    TEST(of_copies_that_the_original_has_put_off_the_last_one_comes))

/*
 * Long polling: a pull waits, is woken by what passes its filter, and is answered when its time is over.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/hold.h"

static struct fixture f;
static int fd, producer;

static void
begin(void)
{
	fixture_start(&f, NULL);
	clock_set_made(1700000000000);
	fd = fixture_connect(&f);
	producer = fixture_connect(&f);
}

static void
end(void)
{
	close(fd);
	close(producer);
	fixture_stop(&f);
	clock_set_made(-1);
}

static void
put(const char *props)
{
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, producer, "T1", 0, props, "body", &g));
	CU_ASSERT_EQUAL_FATAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
}

static bool
nothing_comes(void)
{
	char byte;

	fixture_turns(&f, 5);
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static void
answer_is(int code, const char *status, int32_t opaque, int64_t next)
{
	struct got g;

	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_EQUAL(g.cmd.opaque, opaque);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), status);
	CU_ASSERT_EQUAL(atoll(got_text(&g, "nextBeginOffset")), next);
	got_free(&g);
}

static void
seconds(int n)
{
	while (n-- > 0) {
		clock_advance_ms(1000);
		hold_second(f.b->hold);
		fixture_turns(&f, 1);
	}
}

#define TAG_A "UNIQ_KEY\1K\2TAGS\1A\2"
#define TAG_B "UNIQ_KEY\1K\2TAGS\1B\2"

static void
held_pull_is_woken_by_a_message(void)
{
	begin();
	put(TAG_A);
	pull_only(&f, fd, "T1", 0, 1, "*", 15000, 21);
	CU_ASSERT(nothing_comes());
	CU_ASSERT_EQUAL(hold_count(f.b->hold), 1);
	put(TAG_B);
	answer_is(RES_SUCCESS, "FOUND", 21, 2);
	CU_ASSERT_EQUAL(hold_count(f.b->hold), 0);
	end();
}

static void
pull_of_an_empty_queue_waits_too(void)
{
	begin();
	put(TAG_A); /* makes the topic; queue 1 has nothing */
	pull_only(&f, fd, "T1", 1, 0, "*", 15000, 22);
	CU_ASSERT(nothing_comes());
	send_only(&f, producer, "T1", 1, TAG_A, "x", 1);
	answer_is(RES_SUCCESS, "FOUND", 22, 1);
	end();
}

static void
time_over_is_answered_with_not_found(void)
{
	begin();
	put(TAG_A);
	pull_only(&f, fd, "T1", 0, 1, "*", 3000, 23);
	seconds(2);
	CU_ASSERT(nothing_comes());
	seconds(2);
	answer_is(RES_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 23, 1);
	end();
}

static void
foreign_tags_do_not_wake_but_move_the_offset_later(void)
{
	begin();
	put(TAG_A);
	pull_only(&f, fd, "T1", 0, 1, "A", 30000, 24);
	put(TAG_B);
	CU_ASSERT(nothing_comes());
	seconds(5);
	answer_is(RES_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", 24, 2);
	end();
}

static void
closed_connection_is_forgotten(void)
{
	begin();
	put(TAG_A);
	pull_only(&f, fd, "T1", 0, 1, "*", 15000, 25);
	pull_only(&f, fd, "T1", 1, 0, "*", 15000, 26);
	CU_ASSERT_EQUAL(hold_count(f.b->hold), 2);
	close(fd);
	fixture_turns(&f, 5);
	CU_ASSERT_EQUAL(hold_count(f.b->hold), 0);
	put(TAG_A);
	fd = fixture_connect(&f);
	end();
}

static void
very_long_times_end_too(void)
{
	begin();
	put(TAG_A);
	pull_only(&f, fd, "T1", 0, 1, "*", 300000, 27);
	seconds(299);
	CU_ASSERT(nothing_comes());
	seconds(2);
	answer_is(RES_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 27, 1);
	end();
}

static void
stop_answers_all(void)
{
	begin();
	put(TAG_A);
	pull_only(&f, fd, "T1", 0, 1, "*", 15000, 28);
	pull_only(&f, fd, "T1", 0, 1, "A", 15000, 29);
	hold_answer_all(f.b->hold);
	fixture_turns(&f, 2);
	CU_ASSERT_EQUAL(hold_count(f.b->hold), 0);
	CU_ASSERT(!nothing_comes());
	end();
}

TEST_MAIN("broker/hold", TEST(held_pull_is_woken_by_a_message), TEST(pull_of_an_empty_queue_waits_too),
    TEST(time_over_is_answered_with_not_found), TEST(foreign_tags_do_not_wake_but_move_the_offset_later),
    TEST(closed_connection_is_forgotten), TEST(very_long_times_end_too), TEST(stop_answers_all))

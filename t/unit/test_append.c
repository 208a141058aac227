/*
 * Messages of the broker itself: told once, when they are as safe as is configured, also when there are more from
 * within.
 */
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/append.h"
#include "workers/broker/sends.h"
#include "workers/broker/waiters.h"

static struct fixture f;

struct told {
	int times, code, more;
	int64_t tag, queue_offset, end;
};

static enum rc append(struct told *t, const char *body, int64_t tag, bool no_wait);

static void
told(void *arg, int64_t tag, const struct appended *a)
{
	struct told *t = arg;

	t->times++;
	t->code = a->code;
	t->tag = tag;
	t->queue_offset = a->queue_offset;
	t->end = a->end;
	CU_ASSERT_EQUAL(a->why == NULL, append_is_stored(a->code));
	if (t->more > 0) {
		t->more--;
		CU_ASSERT_EQUAL(append(t, "more", tag + 1, true), RC_OK);
	}
}

static enum rc
append(struct told *t, const char *body, int64_t tag, bool no_wait)
{
	struct append_to to = {.done = told, .arg = t, .tag = tag, .no_wait = no_wait};
	struct message m = {.topic = SLICE_LIT("T1"),
			    .body = slice_of(body),
			    .props = {SLICE_LIT("TAGS\1a\2")},
			    .born_host = f.b->store_host,
			    .store_host = f.b->store_host};

	return append_message(f.b, &m, &to);
}

static void
message_is_told_after_its_commit_and_not_from_within(void)
{
	struct told t = {0};

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(append(&t, "one", 77, false), RC_OK);
	CU_ASSERT_EQUAL(t.times, 0);
	fixture_turns(&f, 1);
	CU_ASSERT_EQUAL(t.times, 1);
	CU_ASSERT_EQUAL(t.code, RES_SUCCESS);
	CU_ASSERT_EQUAL(t.tag, 77);
	CU_ASSERT_EQUAL(t.queue_offset, 0);
	CU_ASSERT_EQUAL(t.end, pos_read(&f.w.shm->broker.appended));
	fixture_turns(&f, 5);
	CU_ASSERT_EQUAL(t.times, 1);
	fixture_stop(&f);
}

static void
whoever_is_told_may_append_more(void)
{
	struct told t = {.more = 3};

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(append(&t, "one", 1, false), RC_OK);
	for (int i = 0; i < 10 && t.times < 4; i++)
		ev_run(f.w.loop, EVRUN_ONCE); /* would sleep if nothing kept the loop going */
	CU_ASSERT_EQUAL(t.times, 4);
	CU_ASSERT_EQUAL(t.queue_offset, 3);
	CU_ASSERT_EQUAL(t.tag, 4);
	fixture_stop(&f);
}

static void
safety_is_waited_for_unless_it_need_not_be(void)
{
	static const char *const settings[] = {"flushDiskType=SYNC_FLUSH", NULL};
	struct told wait = {.more = 1}, hurry = {0};

	fixture_start(&f, settings);
	CU_ASSERT_EQUAL(append(&wait, "safe", 1, false), RC_OK);
	CU_ASSERT_EQUAL(append(&hurry, "soon", 2, true), RC_OK);
	fixture_turns(&f, 3);
	CU_ASSERT_EQUAL(hurry.times, 1);
	CU_ASSERT_EQUAL(wait.times, 0);
	CU_ASSERT_EQUAL(waiters_count(f.b->waiters), 1);
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	fixture_turns(&f, 3);
	CU_ASSERT_EQUAL(wait.times, 2); /* the second came from within and did not wait */
	CU_ASSERT_EQUAL(wait.code, RES_SUCCESS);
	fixture_stop(&f);
}

static void
late_flush_says_that_it_is_stored(void)
{
	static const char *const settings[] = {"flushDiskType=SYNC_FLUSH", "syncFlushTimeout=5000", NULL};
	struct told t = {0};

	fixture_start(&f, settings);
	CU_ASSERT_EQUAL(append(&t, "late", 1, false), RC_OK);
	fixture_turns(&f, 2);
	waiters_expire(f.b->waiters, INT64_MAX);
	CU_ASSERT_EQUAL(t.times, 1);
	CU_ASSERT_EQUAL(t.code, RES_FLUSH_DISK_TIMEOUT);
	CU_ASSERT(append_is_stored(t.code));
	fixture_stop(&f);
}

static void
failed_node_says_that_it_is_not(void)
{
	static const char *const settings[] = {"flushDiskType=SYNC_FLUSH", NULL};
	struct told waiting = {0}, staged = {0}, later = {0};

	fixture_start(&f, settings);
	CU_ASSERT_EQUAL(append(&waiting, "a", 1, false), RC_OK);
	fixture_turns(&f, 2);
	CU_ASSERT_EQUAL(append(&staged, "b", 1, true), RC_OK);
	atomic_store(&f.w.shm->flush.failed_errno, 5);
	fixture_turns(&f, 2);
	CU_ASSERT_EQUAL(waiting.times, 1);
	CU_ASSERT_FALSE(append_is_stored(waiting.code));
	CU_ASSERT_EQUAL(staged.times, 1);
	CU_ASSERT_FALSE(append_is_stored(staged.code));
	CU_ASSERT_EQUAL(append(&later, "c", 1, true), RC_BUSY);
	CU_ASSERT_EQUAL(later.times, 0);
	fixture_stop(&f);
}

static void
many_are_told_in_their_order(void)
{
	static struct told t;

	fixture_start(&f, NULL);
	t = (struct told){0};
	for (int64_t i = 0; i < 5000; i++)
		CU_ASSERT_EQUAL(append(&t, "x", i, i % 2 == 0), RC_OK);
	fixture_turns(&f, 1);
	CU_ASSERT_EQUAL(t.times, 5000);
	CU_ASSERT_EQUAL(t.tag, 4999);
	CU_ASSERT_EQUAL(t.queue_offset, 4999);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.put_msgs), 5000);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.put_requests), 0);
	fixture_stop(&f);
}

TEST_MAIN("broker/append", TEST(message_is_told_after_its_commit_and_not_from_within),
	  TEST(whoever_is_told_may_append_more), TEST(safety_is_waited_for_unless_it_need_not_be),
	  TEST(late_flush_says_that_it_is_stored), TEST(failed_node_says_that_it_is_not),
	  TEST(many_are_told_in_their_order))

#include "workers/flush/group.h"
#include "t/unit/test.h"

static const struct group_rule async = {.interval_ms = 500, .least_pages = 4, .thorough_ms = 10000};
static const struct group_rule sync_rule = {.sync = true, .interval_ms = 500, .least_pages = 4, .thorough_ms = 10000};

static enum group_verdict
decide(const struct group_rule *r, int64_t appended, int64_t flushed, int64_t sync_ms, int64_t look_ms, int64_t *ms)
{
	return group_decide(r, appended, flushed, (struct group_since){sync_ms, look_ms}, ms);
}

static void
nothing_appended_is_nothing_to_do(void)
{
	int64_t ms;

	CU_ASSERT_EQUAL(decide(&async, 100, 100, 99999, 500, &ms), GROUP_REST);
	CU_ASSERT_EQUAL(decide(&sync_rule, 100, 100, 99999, 500, &ms), GROUP_REST);
}

static void
a_position_that_went_back_is_nothing_to_do(void)
{
	int64_t ms;

	CU_ASSERT_EQUAL(decide(&sync_rule, 50, 100, 0, 500, &ms), GROUP_REST);
}

static void
sync_flush_syncs_every_byte_at_once(void)
{
	int64_t ms;

	CU_ASSERT_EQUAL(decide(&sync_rule, 101, 100, 0, 500, &ms), GROUP_SYNC);
}

static void
async_flush_waits_for_enough_pages(void)
{
	int64_t ms;

	CU_ASSERT_EQUAL(decide(&async, 4 * 4096 - 1, 0, 0, 500, &ms), GROUP_WAIT);
	CU_ASSERT_EQUAL(ms, 500);
	CU_ASSERT_EQUAL(decide(&async, 4 * 4096, 0, 0, 500, &ms), GROUP_SYNC);
}

static void
pages_are_counted_by_their_bounds(void)
{
	int64_t ms;

	/* 12290 bytes, but four bounds are passed */
	CU_ASSERT_EQUAL(decide(&async, 4 * 4096 + 1, 4095, 0, 500, &ms), GROUP_SYNC);
}

static void
a_little_is_synced_after_the_thorough_interval(void)
{
	int64_t ms;

	CU_ASSERT_EQUAL(decide(&async, 1, 0, 9700, 500, &ms), GROUP_WAIT);
	CU_ASSERT_EQUAL(ms, 300);
	CU_ASSERT_EQUAL(decide(&async, 1, 0, 10000, 500, &ms), GROUP_SYNC);
}

static void
async_flush_waits_for_its_interval_however_much_there_is(void)
{
	int64_t ms;

	CU_ASSERT_EQUAL(decide(&async, 1 << 30, 0, 200, 200, &ms), GROUP_WAIT);
	CU_ASSERT_EQUAL(ms, 300);
	CU_ASSERT_EQUAL(decide(&async, 1 << 30, 0, 5000, 499, &ms), GROUP_WAIT);
	CU_ASSERT_EQUAL(ms, 1);
	CU_ASSERT_EQUAL(decide(&async, 1 << 30, 0, 500, 500, &ms), GROUP_SYNC);
	CU_ASSERT_EQUAL(decide(&async, 1, 0, 10000, 0, &ms), GROUP_SYNC);
}

static void
no_least_pages_syncs_any_byte(void)
{
	struct group_rule r = async;
	int64_t ms;

	r.least_pages = 0;
	CU_ASSERT_EQUAL(decide(&r, 1, 0, 0, 500, &ms), GROUP_SYNC);
}

static void
spinning_needs_records_that_come_back_to_back(void)
{
	struct group_spin s = {0};

	CU_ASSERT_EQUAL(group_spin_us(&s), 0);
	for (int i = 0; i < 100; i++)
		group_spin_learn(&s, 5);
	CU_ASSERT_TRUE(group_spin_us(&s) > 0);
	group_spin_learn(&s, 60000000);
	CU_ASSERT_EQUAL(group_spin_us(&s), 0);
	for (int i = 0; i < 100; i++)
		group_spin_learn(&s, 5);
	CU_ASSERT_TRUE(group_spin_us(&s) > 0);
	for (int i = 0; i < 100; i++)
		group_spin_learn(&s, 400);
	CU_ASSERT_EQUAL(group_spin_us(&s), 0);
}

TEST_MAIN("flush/group", TEST(nothing_appended_is_nothing_to_do), TEST(a_position_that_went_back_is_nothing_to_do),
    TEST(sync_flush_syncs_every_byte_at_once), TEST(async_flush_waits_for_enough_pages),
    TEST(pages_are_counted_by_their_bounds), TEST(a_little_is_synced_after_the_thorough_interval),
    TEST(async_flush_waits_for_its_interval_however_much_there_is), TEST(no_least_pages_syncs_any_byte), TEST(spinning_needs_records_that_come_back_to_back))

/*
 * Locks of queues: who holds one, until when. The clock is made.
 */
#include "common/clock.h"
#include "t/unit/test.h"
#include "workers/broker/orderly.h"

static const struct slice G = SLICE_LIT("G"), A = SLICE_LIT("client-a"), B = SLICE_LIT("client-b");
static const struct mq_name Q0 = {SLICE_LIT("broker"), SLICE_LIT("T"), 0}, Q1 = {SLICE_LIT("broker"), SLICE_LIT("T"), 1};

static struct orderly *
begin(void)
{
	clock_set_made(1700000000000);
	return orderly_new(NULL);
}

static void
end(struct orderly *o)
{
	orderly_free(&o);
	clock_set_made(-1);
}

static void
a_queue_has_one_holder(void)
{
	struct orderly *o = begin();

	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	CU_ASSERT_FALSE(orderly_lock(o, G, &Q0, B));
	CU_ASSERT_TRUE(orderly_lock(o, G, &Q1, B));
	CU_ASSERT_TRUE(orderly_lock(o, slice_of("H"), &Q0, B));
	end(o);
}

static void
only_the_holder_frees_it(void)
{
	struct orderly *o = begin();

	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	orderly_unlock(o, G, &Q0, B);
	CU_ASSERT_FALSE(orderly_lock(o, G, &Q0, B));
	orderly_unlock(o, G, &Q0, A);
	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, B));
	orderly_unlock(o, slice_of("none"), &Q0, A);
	end(o);
}

static void
a_lock_that_is_not_renewed_for_a_minute_is_free(void)
{
	struct orderly *o = begin();

	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	clock_advance_ms(59000);
	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	clock_advance_ms(59000);
	CU_ASSERT_FALSE(orderly_lock(o, G, &Q0, B));
	CU_ASSERT_TRUE(orderly_group_locked(o, G));
	clock_advance_ms(1001);
	CU_ASSERT_FALSE(orderly_group_locked(o, G));
	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, B));
	end(o);
}

static void
old_locks_and_removed_groups_leave_nothing(void)
{
	struct orderly *o = begin();

	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	clock_advance_ms(30000);
	CU_ASSERT_TRUE(orderly_lock(o, slice_of("H"), &Q0, A));
	clock_advance_ms(31000);
	orderly_expire(o);
	CU_ASSERT_FALSE(orderly_group_locked(o, G));
	CU_ASSERT_TRUE(orderly_group_locked(o, slice_of("H")));
	orderly_remove_group(o, slice_of("H"));
	CU_ASSERT_FALSE(orderly_group_locked(o, slice_of("H")));
	end(o);
}

static void
queues_of_other_brokers_are_other_queues(void)
{
	struct orderly *o = begin();
	struct mq_name other = Q0;

	other.broker_name = slice_of("broker-2");
	CU_ASSERT_TRUE(orderly_lock(o, G, &Q0, A));
	CU_ASSERT_TRUE(orderly_lock(o, G, &other, B));
	end(o);
}

TEST_MAIN("broker/orderly", TEST(a_queue_has_one_holder), TEST(only_the_holder_frees_it),
    TEST(a_lock_that_is_not_renewed_for_a_minute_is_free), TEST(old_locks_and_removed_groups_leave_nothing),
    TEST(queues_of_other_brokers_are_other_queues))

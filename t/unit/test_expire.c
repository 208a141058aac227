#include "t/unit/test.h"
#include "workers/clean/expire.h"

#define HOUR INT64_C(3600000)

static struct broker_conf conf;
static struct expire_rule rule;

static void
begin(void)
{
	broker_conf_init(&conf);
	expire_rule_of(&conf, &rule);
}

static void
end(void)
{
	broker_conf_free(&conf);
}

static void
set(const char *key, const char *value)
{
	struct err e;

	CU_ASSERT_EQUAL(param_set(param_find(&broker_params, slice_of(key)), &conf, slice_of(value), &e), RC_OK);
	expire_rule_of(&conf, &rule);
}

static struct expire_plan
decide(int hour, int log_pct, int queue_pct, bool asked)
{
	const struct disk log = {.pct = log_pct}, queue = {.pct = queue_pct};

	return expire_decide(&rule, hour, &log, &queue, asked);
}

static void
the_used_part_is_rounded_up_as_the_original_does(void)
{
	/* 100 blocks, 20 free, of which 10 are root's: 80 used of 90 that others may use */
	CU_ASSERT_EQUAL(expire_used_pct(100, 20, 10), 89);
	CU_ASSERT_EQUAL(expire_used_pct(100, 100, 100), 0);
	CU_ASSERT_EQUAL(expire_used_pct(1000000, 999999, 999999), 1);
	CU_ASSERT_EQUAL(expire_used_pct(100, 0, 0), 100);
	CU_ASSERT_EQUAL(expire_used_pct(0, 0, 0), DISK_UNKNOWN);
	CU_ASSERT_EQUAL(expire_used_pct(UINT64_C(1) << 62, 0, 0), 100);
}

static void
files_are_looked_at_in_the_hours_of_deletewhen(void)
{
	begin();
	CU_ASSERT_TRUE(decide(4, 10, 10, false).look);
	CU_ASSERT_FALSE(decide(5, 10, 10, false).look);
	set("deleteWhen", "00;13;23");
	CU_ASSERT_TRUE(decide(0, 10, 10, false).look);
	CU_ASSERT_TRUE(decide(13, 10, 10, false).look);
	CU_ASSERT_TRUE(decide(23, 10, 10, false).look);
	CU_ASSERT_FALSE(decide(4, 10, 10, false).look);
	end();
}

static void
the_disk_decides_what_is_done_beside_the_hour(void)
{
	struct expire_plan p;

	begin();
	p = decide(12, 75, 75, false);
	CU_ASSERT_TRUE(!p.look && !p.force && !p.full);
	p = decide(12, 76, 0, false);
	CU_ASSERT_TRUE(p.look && !p.force && !p.full);
	p = decide(12, 86, 0, false);
	CU_ASSERT_TRUE(p.look && p.force && !p.full);
	p = decide(12, 90, 0, false);
	CU_ASSERT_FALSE(p.full);
	p = decide(12, 91, 0, false);
	CU_ASSERT_TRUE(p.look && p.force && p.full);
	end();
}

static void
the_disk_of_the_queues_counts_as_well(void)
{
	begin();
	CU_ASSERT_TRUE(decide(12, 10, 91, false).full);
	CU_ASSERT_TRUE(decide(12, 10, 76, false).look);
	CU_ASSERT_FALSE(decide(12, DISK_UNKNOWN, DISK_UNKNOWN, false).full);
	end();
}

static void
unexpired_files_stay_when_force_is_off(void)
{
	begin();
	set("cleanFileForciblyEnable", "false");
	CU_ASSERT_FALSE(decide(12, 95, 95, false).force);
	CU_ASSERT_TRUE(decide(12, 95, 95, false).look);
	end();
}

static void
an_operator_may_ask_at_any_hour(void)
{
	begin();
	CU_ASSERT_TRUE(decide(12, 10, 10, true).look);
	CU_ASSERT_FALSE(decide(12, 10, 10, true).force);
	end();
}

static void
levels_are_clamped_as_in_the_original(void)
{
	begin();
	set("diskMaxUsedSpaceRatio", "99");
	set("diskSpaceWarningLevelRatio", "99");
	set("diskSpaceCleanForciblyRatio", "99");
	CU_ASSERT_EQUAL(rule.max_pct, 95);
	CU_ASSERT_EQUAL(rule.warning_pct, 90);
	CU_ASSERT_EQUAL(rule.forcibly_pct, 85);
	set("diskMaxUsedSpaceRatio", "1");
	set("diskSpaceWarningLevelRatio", "1");
	set("diskSpaceCleanForciblyRatio", "1");
	CU_ASSERT_EQUAL(rule.max_pct, 10);
	CU_ASSERT_EQUAL(rule.warning_pct, 35);
	CU_ASSERT_EQUAL(rule.forcibly_pct, 30);
	end();
}

static void
the_first_file_that_is_not_due_stops_the_round(void)
{
	const int64_t now = 1000 * HOUR, mtimes[] = {1, now - 72 * HOUR, now - 72 * HOUR + 1, 2};
	struct expire_plan p = {.look = true};

	begin();
	CU_ASSERT_EQUAL(expire_count(&rule, &p, mtimes, 4, now), 2);
	p.force = true;
	CU_ASSERT_EQUAL(expire_count(&rule, &p, mtimes, 4, now), 4);
	p.look = false;
	CU_ASSERT_EQUAL(expire_count(&rule, &p, mtimes, 4, now), 0);
	end();
}

static void
one_round_removes_at_most_the_batch(void)
{
	int64_t mtimes[30] = {0};
	struct expire_plan p = {.look = true, .force = true};

	begin();
	CU_ASSERT_EQUAL(expire_count(&rule, &p, mtimes, 30, 1), 10);
	set("deleteFileBatchMax", "3");
	CU_ASSERT_EQUAL(expire_count(&rule, &p, mtimes, 30, 1), 3);
	end();
}

static void
free_bytes_decide_beside_the_percents(void)
{
	struct disk roomy = {.pct = 10, .total = INT64_C(1) << 40, .usable = INT64_C(1) << 39}, tight = roomy;
	struct expire_plan p;

	begin();
	tight.usable = INT64_C(5) << 30;
	p = expire_decide(&rule, 12, &tight, &roomy, false);
	CU_ASSERT_FALSE(p.full || p.force || p.look); /* not asked for */
	set("diskCleanFreeBytes", "10737418240");
	p = expire_decide(&rule, 12, &tight, &roomy, false);
	CU_ASSERT_TRUE(!p.full && p.force && p.look);
	p = expire_decide(&rule, 12, &roomy, &roomy, false);
	CU_ASSERT_FALSE(p.full || p.force || p.look);
	set("diskMinFreeBytes", "6442450944");
	p = expire_decide(&rule, 12, &roomy, &tight, false);
	CU_ASSERT_TRUE(p.full && p.force && p.look);
	set("diskCleanFreeBytes", "0"); /* what refuses writes makes room too */
	tight.usable = (INT64_C(6) << 30) - 1;
	p = expire_decide(&rule, 12, &tight, &roomy, false);
	CU_ASSERT_TRUE(p.full && p.force && p.look);
	tight.usable++;
	CU_ASSERT_FALSE(expire_decide(&rule, 12, &tight, &roomy, false).full);
	tight = (struct disk){.pct = DISK_UNKNOWN};
	CU_ASSERT_FALSE(expire_decide(&rule, 12, &tight, &tight, false).full);
	end();
}

static void
room_ends_where_writes_are_refused(void)
{
	struct disk d = {.pct = 10, .total = 1000000, .usable = 500000};

	begin();
	CU_ASSERT_EQUAL(expire_room(&rule, &d), 400000); /* 90 percent */
	set("diskMinFreeBytes", "200000");
	CU_ASSERT_EQUAL(expire_room(&rule, &d), 300000);
	d.usable = 100;
	CU_ASSERT_EQUAL(expire_room(&rule, &d), 0);
	end();
}

static void
time_to_full_follows_the_rate(void)
{
	struct growth g = {0};
	int64_t ms = 5000, usable = INT64_C(1) << 40;

	CU_ASSERT_EQUAL(growth_full_in_s(&g, 1000), -1);
	growth_look(&g, ms, usable);
	CU_ASSERT_EQUAL(growth_full_in_s(&g, 1000), -1); /* one look is no rate */
	for (int i = 0; i < 100; i++)
		growth_look(&g, ms += 10000, usable -= 10 * 1000000);
	CU_ASSERT_EQUAL(growth_full_in_s(&g, 5000000), 5); /* a megabyte a second */
	growth_look(&g, ms, usable); /* twice at one moment: nothing to learn */
	CU_ASSERT_EQUAL(growth_full_in_s(&g, 5000000), 5);
	for (int i = 0; i < 1000; i++)
		growth_look(&g, ms += 10000, usable -= 10 * 2000000);
	CU_ASSERT_EQUAL(growth_full_in_s(&g, 6000000), 3); /* what is long ago is forgotten */
	for (int i = 0; i < 1000; i++)
		growth_look(&g, ms += 10000, usable += 10);
	CU_ASSERT_EQUAL(growth_full_in_s(&g, 6000000), -1);
}

TEST_MAIN("clean/expire", TEST(the_used_part_is_rounded_up_as_the_original_does),
    TEST(files_are_looked_at_in_the_hours_of_deletewhen), TEST(the_disk_decides_what_is_done_beside_the_hour),
    TEST(the_disk_of_the_queues_counts_as_well), TEST(unexpired_files_stay_when_force_is_off),
    TEST(an_operator_may_ask_at_any_hour), TEST(levels_are_clamped_as_in_the_original),
    TEST(the_first_file_that_is_not_due_stops_the_round), TEST(one_round_removes_at_most_the_batch), TEST(free_bytes_decide_beside_the_percents),
    TEST(room_ends_where_writes_are_refused), TEST(time_to_full_follows_the_rate))

/*
 * test_power: what a power cut may leave of queues, index and segments that were not synced, piece by piece. t/power makes such things
 * by the thousand; each kind that was once not put right stands here by itself.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "store_world.h"
#include "test.h"

#define BODY  100
#define COUNT 60

static const char zeros[WORLD_LOG_BYTES];

/* COUNT messages in one queue with a key each, and a crash. No checkpoint: nothing but the log is trusted. */
static void
begin_crashed(struct world *w)
{
	world_begin(w);
	for (int i = 0; i < COUNT; i++)
		(void)world_put(w, "T", 0, BODY, "UNIQ_KEY\001u\002");
	world_crash(w);
}

static void
expect_all(struct world *w, int count)
{
	world_open(w);
	CU_ASSERT_EQUAL(queue_min(world_queue(w, "T", 0)), 0);
	CU_ASSERT_EQUAL(queue_max(world_queue(w, "T", 0)), count);
	CU_ASSERT_TRUE(world_queue_whole(w, "T", 0));
	CU_ASSERT_EQUAL(world_query(w, "T", "u"), (unsigned)count);
	CU_ASSERT_EQUAL(world_put(w, "T", 0, BODY, NULL).queue_offset, count);
	world_end(w);
}

static void
queue_whose_first_file_is_gone_is_made_again(void)
{
	struct world w;

	begin_crashed(&w);
	world_remove(&w, "consumequeue/T/0/00000000000000000000");
	expect_all(&w, COUNT);
}

static void
queue_of_which_only_an_empty_later_file_is_left_is_made_again(void)
{
	struct world w;

	begin_crashed(&w);
	for (int i = 0; i < COUNT / WORLD_QUEUE_UNITS; i++) {
		char name[64];

		snprintf(name, sizeof(name), "consumequeue/T/0/%020d", i * WORLD_QUEUE_UNITS * CQ_UNIT);
		if (i == 3)
			world_poke(&w, name, 0, zeros, WORLD_QUEUE_UNITS * CQ_UNIT);
		else
			world_remove(&w, name);
	}
	expect_all(&w, COUNT);
}

/* Any run of units may be missing, or be of other bytes. */
static void
units_that_did_not_reach_the_disk_are_made_again(void)
{
	static const char junk[CQ_UNIT] = {0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9};
	struct world w;

	for (int at = 0; at < WORLD_QUEUE_UNITS; at++)
		for (int mess = 0; mess < 2; mess++) {
			begin_crashed(&w);
			world_poke(&w, "consumequeue/T/0/00000000000000000200", at * CQ_UNIT, mess ? junk : zeros, CQ_UNIT);
			expect_all(&w, COUNT);
		}
}

/* The log lost its end, the queue kept units of it behind some that it lost: they must not be found later. */
static void
units_behind_a_gap_do_not_come_back(void)
{
	const char *file = "consumequeue/T/0/00000000000000001000";
	struct world w;
	char units[CQ_UNIT];
	struct cq_unit u = {.physical = 300, .size = 77};

	begin_crashed(&w);
	cq_unit_put(units, &u);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), COUNT);
	for (int i = 0; i < 2; i++)
		(void)world_put(&w, "T", 0, BODY, "UNIQ_KEY\001u\002");
	world_crash(&w);
	world_poke(&w, "consumequeue/T/0/00000000000000001200", 7 * CQ_UNIT, units, CQ_UNIT);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), COUNT + 2);
	world_stop(&w);
	world_peek(&w, "consumequeue/T/0/00000000000000001200", 7 * CQ_UNIT, units, CQ_UNIT);
	CU_ASSERT_EQUAL(memcmp(units, zeros, CQ_UNIT), 0);
	world_peek(&w, file, 0, units, CQ_UNIT);
	CU_ASSERT_NOT_EQUAL(memcmp(units, zeros, CQ_UNIT), 0);
	expect_all(&w, COUNT + 2);
}

static void
index_file_without_a_byte_is_removed(void)
{
	struct world w;

	begin_crashed(&w);
	world_remove(&w, "index");
	world_make(&w, "index", NULL);
	world_make(&w, "index/20260101000000000", "");
	expect_all(&w, COUNT);
}

static void
the_log_ends_at_a_segment_that_was_never_synced(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 10);
	end = w.s->log.end;
	world_checkpoint(&w, pos_read(&w.shm->broker.appended_store_ms));
	world_wait_ms(2); /* later ones are of a later time */
	world_put_many(&w, "T", 0, BODY, COUNT);
	CU_ASSERT_TRUE_FATAL(w.s->log.segs.count >= 3);
	world_crash(&w);
	world_remove(&w, world_log_file(WORLD_LOG_BYTES));
	world_make(&w, world_log_file(WORLD_LOG_BYTES), "");
	world_open(&w);
	CU_ASSERT_TRUE(w.s->log.end >= end);
	CU_ASSERT_TRUE(w.s->log.end <= WORLD_LOG_BYTES);
	CU_ASSERT_EQUAL(w.s->log.segs.count, 1);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_put_many(&w, "T", 0, BODY, COUNT);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

/* What the checkpoint says was synced: somebody has removed a file before it. */
static void
a_segment_that_is_missing_before_synced_ones_is_refused(void)
{
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, COUNT);
	CU_ASSERT_TRUE_FATAL(w.s->log.segs.count >= 3);
	world_checkpoint(&w, pos_read(&w.shm->broker.appended_store_ms));
	world_crash(&w);
	world_remove(&w, world_log_file(WORLD_LOG_BYTES));
	CU_ASSERT_EQUAL(world_try_open(&w), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "bring it back"));
	world_end(&w);
}

TEST_MAIN("store/power", TEST(queue_whose_first_file_is_gone_is_made_again),
    TEST(queue_of_which_only_an_empty_later_file_is_left_is_made_again), TEST(units_that_did_not_reach_the_disk_are_made_again),
    TEST(units_behind_a_gap_do_not_come_back), TEST(index_file_without_a_byte_is_removed),
    TEST(the_log_ends_at_a_segment_that_was_never_synced), TEST(a_segment_that_is_missing_before_synced_ones_is_refused))

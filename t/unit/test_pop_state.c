/*
 * The state machine of pop consumption, by examples; through random runs and crashes: test_pop_model.
 */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "t/unit/test.h"
#include "workers/broker/pop_state.h"

#define TOPIC SLICE_LIT("T")
#define GROUP SLICE_LIT("G")

static struct pop_state *s;
static struct pop_queue *q;

static void
begin(void)
{
	s = pop_state_new(2);
	q = pop_state_queue(s, TOPIC, GROUP, 3);
	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
}

static void
end(void)
{
	pop_state_free(&s);
}

/* Offsets first, first + 1 ... */
static struct pop_ck *
stage(int64_t first, unsigned count, int64_t pop_ms, int64_t invisible_ms)
{
	struct pop_batch b = {.q = q, .start = first, .pop_ms = pop_ms, .invisible_ms = invisible_ms, .count = count};

	for (unsigned i = 0; i < count; i++)
		b.offset[i] = first + i;
	return pop_state_stage(s, &b, first + count);
}

static struct pop_ck *
popped(int64_t first, unsigned count, int64_t pop_ms, int64_t invisible_ms, int64_t revive_offset)
{
	struct pop_ck *ck = stage(first, count, pop_ms, invisible_ms);

	pop_state_stored(s, ck, revive_offset);
	return ck;
}

static struct pop_facts
facts(void)
{
	struct pop_facts f;

	pop_state_facts(s, &f);
	return f;
}

/* ---- examples */

static void
checkpoint_goes_when_all_its_messages_are_acked(void)
{
	struct pop_ck *ck;

	begin();
	ck = popped(10, 3, 1000, 500, 0);
	CU_ASSERT(q->next == 13 && q->in_flight == 3 && facts().messages == 3);
	CU_ASSERT_EQUAL(pop_ck_index(ck, 11), 1);
	CU_ASSERT_EQUAL(pop_ck_index(ck, 13), -1);
	CU_ASSERT_FALSE(pop_state_done(s, ck, 2));
	CU_ASSERT_FALSE(pop_state_done(s, ck, 2)); /* twice is once */
	CU_ASSERT_EQUAL(q->in_flight, 2);
	CU_ASSERT_TRUE(pop_state_done(s, ck, 5));
	CU_ASSERT(facts().checkpoints == 0 && q->in_flight == 0 && pop_state_next_due(s) == -1);
	CU_ASSERT_PTR_NULL(pop_state_find(s, q, 10, 1000));
	end();
}

static void
time_takes_them_in_order_and_only_when_it_is_over(void)
{
	struct pop_ck *a, *b;

	begin();
	a = popped(0, 1, 1000, 500, 0);
	b = popped(1, 1, 1100, 100, 1);
	CU_ASSERT_EQUAL(pop_state_next_due(s), 1200);
	CU_ASSERT_PTR_NULL(pop_state_take_due(s, 1199));
	CU_ASSERT_PTR_EQUAL(pop_state_take_due(s, 1500), b);
	CU_ASSERT_PTR_EQUAL(pop_state_take_due(s, 1500), a);
	CU_ASSERT_FALSE(pop_state_done(s, a, 1)); /* an ack that comes too late: it is being revived */
	pop_state_revived(s, a, 0, 1700);
	CU_ASSERT_PTR_NULL(pop_state_find(s, q, 0, 1000)); /* the ack counted: nothing is left */
	pop_state_revived(s, b, 0, 1700);
	CU_ASSERT_EQUAL(pop_state_next_due(s), 1700);
	CU_ASSERT_PTR_EQUAL(pop_state_take_due(s, 1700), b);
	pop_state_revived(s, b, 1, 0);
	CU_ASSERT_EQUAL(facts().checkpoints, 0);
	end();
}

static void
what_the_log_did_not_take_is_popped_again(void)
{
	struct pop_ck *a;

	begin();
	popped(0, 2, 1000, 500, 0);
	a = stage(2, 4, 1000, 500);
	CU_ASSERT_EQUAL(q->next, 6);
	pop_state_refused(s, a);
	CU_ASSERT(q->next == 2 && q->in_flight == 2);
	end();
}

static void
times_that_overflow_are_far_away(void)
{
	begin();
	popped(0, 1, INT64_MAX - 5, INT64_MAX, 0);
	CU_ASSERT_EQUAL(pop_state_next_due(s), POP_DUE_MAX);
	popped(1, 1, 10, -50, 1);
	CU_ASSERT_EQUAL(pop_state_next_due(s), -40);
	end();
}

static void
low_is_the_first_record_that_is_needed(void)
{
	struct pop_ck *a, *b;

	begin();
	CU_ASSERT_EQUAL(pop_state_low(s, 0, 7), 7);
	a = popped(0, 1, 1000, 500, 7);
	b = popped(1, 1, 1000, 500, 9);
	CU_ASSERT_EQUAL(pop_state_low(s, 0, 10), 7);
	pop_state_moved(s, a, 12);
	CU_ASSERT_EQUAL(pop_state_low(s, 0, 13), 9);
	CU_ASSERT_PTR_EQUAL(pop_state_oldest(s, 0), b);
	(void)pop_state_done(s, b, 1);
	CU_ASSERT_EQUAL(pop_state_low(s, 0, 13), 12);
	CU_ASSERT_EQUAL(pop_state_low(s, 1, 4), 4);
	end();
}

static struct pop_record_ck
record(int64_t start, unsigned count, int64_t pop_ms)
{
	struct pop_record_ck r = {.topic = TOPIC,
				  .group = GROUP,
				  .queue_id = 3,
				  .start = start,
				  .pop_ms = pop_ms,
				  .invisible_ms = 500,
				  .count = count,
				  .raises = true,
				  .from_start = -1};

	for (unsigned i = 0; i < count; i++)
		r.diff[i] = (int32_t)i;
	return r;
}

static void
log_that_is_read_twice_is_as_if_once(void)
{
	struct pop_record_ck r = record(5, 3, 1000), late = record(5, 3, 1000);

	begin();
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_OK);
	CU_ASSERT_EQUAL(q->next, 8);
	pop_state_read_ack(s, q, 5, 1000, 6);
	pop_state_read_ack(s, q, 5, 1000, 6);
	pop_state_read_ack(s, q, 5, 1000, 99);
	pop_state_read_ack(s, q, 4, 1000, 5);
	late.revive_offset = 20; /* written anew, before it knew of the ack */
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &late), RC_OK);
	CU_ASSERT(q->in_flight == 2 && facts().checkpoints == 1 && pop_state_low(s, 0, 30) == 20);
	late.acked = 4;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &late), RC_OK);
	CU_ASSERT_EQUAL(q->in_flight, 1);
	end();
}

static void
message_that_was_put_off_leaves_its_checkpoint_by_the_new_record_alone(void)
{
	struct pop_record_ck r = record(5, 2, 1000), moved = record(6, 1, 1300);

	begin();
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_OK);
	moved.from_start = 5;
	moved.from_ms = 1000;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &moved), RC_OK);
	CU_ASSERT(facts().checkpoints == 2 && q->in_flight == 2 && q->next == 7);
	end();
}

static void
original_s_checkpoints_wait_for_acks_that_come_by_its_timer(void)
{
	struct pop_record_ck r = record(5, 1, 1000);

	begin();
	r.foreign = true;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_OK);
	CU_ASSERT_EQUAL(pop_state_next_due(s), 1500 + POP_FOREIGN_MS);
	end();
}

static void
records_with_numbers_that_cannot_be_are_refused(void)
{
	struct pop_record_ck r;

	begin();
	r = record(5, 0, 1000);
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_INVAL);
	r = record(-1, 1, 1000);
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_INVAL);
	r = record(5, 2, 1000);
	r.diff[1] = 0;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_INVAL);
	r = record(5, 1, 1000);
	r.revive_queue = 2;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_INVAL);
	r = record(5, 1, 1000);
	r.queue_id = 1 << 20;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_INVAL);
	r = record(5, 1, 1000);
	r.topic = SLICE_NONE;
	CU_ASSERT_EQUAL(pop_state_read_ck(s, &r), RC_INVAL);
	CU_ASSERT_EQUAL(facts().checkpoints, 0);
	end();
}

static void
heap_gives_the_lowest_whatever_is_moved_or_taken_out(void)
{
	struct heap_node n[500] = {{0}};
	struct heap h = {0};
	int64_t last = INT64_MIN;
	unsigned left = 0;

	srand(7);
	for (int i = 0; i < 20000; i++) {
		struct heap_node *it = &n[rand() % 500];

		if (rand() % 3 > 0)
			heap_set(&h, it, rand() % 1000);
		else
			heap_remove(&h, it);
	}
	for (int i = 0; i < 500; i++)
		left += n[i].place > 0;
	CU_ASSERT_EQUAL(h.count, left);
	while (h.count > 0) {
		struct heap_node *first = heap_first(&h);

		CU_ASSERT_FATAL(first->key >= last);
		last = first->key;
		heap_remove(&h, first);
	}
	heap_free(&h);
}

TEST_MAIN("broker/pop_state", TEST(checkpoint_goes_when_all_its_messages_are_acked),
	  TEST(time_takes_them_in_order_and_only_when_it_is_over), TEST(what_the_log_did_not_take_is_popped_again),
	  TEST(times_that_overflow_are_far_away), TEST(low_is_the_first_record_that_is_needed),
	  TEST(log_that_is_read_twice_is_as_if_once),
	  TEST(message_that_was_put_off_leaves_its_checkpoint_by_the_new_record_alone),
	  TEST(original_s_checkpoints_wait_for_acks_that_come_by_its_timer),
	  TEST(records_with_numbers_that_cannot_be_are_refused),
	  TEST(heap_gives_the_lowest_whatever_is_moved_or_taken_out))

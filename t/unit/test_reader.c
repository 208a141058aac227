/* test_reader: every answer of a pull, its limits, single records, and offsets by time. */
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "store_world.h"
#include "test.h"

static struct get_result
get(struct world *w, const char *topic, int64_t offset, int32_t max)
{
	struct get_result r;

	store_get(w->s, store_queue_find(w->s, slice_of(topic), 0), offset, max, NULL, true, &r);
	return r;
}

static void
cases_outside_of_the_queue(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	r = get(&w, "none", 5, 32);
	CU_ASSERT_EQUAL(r.status, GET_NO_MATCHED_LOGIC_QUEUE);
	CU_ASSERT_EQUAL(r.next, 0);
	(void)store_queue_get(w.s, SLICE_LIT("T"), 0);
	r = get(&w, "T", 5, 32);
	CU_ASSERT_EQUAL(r.status, GET_NO_MESSAGE_IN_QUEUE);
	CU_ASSERT_EQUAL(r.next, 0);
	world_put_many(&w, "T", 0, 5, 3);
	r = get(&w, "T", 3, 32);
	CU_ASSERT_EQUAL(r.status, GET_OFFSET_OVERFLOW_ONE);
	CU_ASSERT_EQUAL(r.next, 3);
	CU_ASSERT_EQUAL(r.max, 3);
	r = get(&w, "T", 4, 32);
	CU_ASSERT_EQUAL(r.status, GET_OFFSET_OVERFLOW_BADLY);
	CU_ASSERT_EQUAL(r.next, 3);
	r = get(&w, "T", -1, 32);
	CU_ASSERT_EQUAL(r.status, GET_OFFSET_TOO_SMALL);
	CU_ASSERT_EQUAL(r.next, 0);
	CU_ASSERT_STRING_EQUAL(get_status_name(GET_OFFSET_OVERFLOW_BADLY), "OFFSET_OVERFLOW_BADLY");
	CU_ASSERT_STRING_EQUAL(get_status_name(GET_FOUND), "FOUND");
	world_end(&w);
}

static void
slave_does_not_correct_offsets(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 3);
	atomic_store(&w.shm->master.role, ROLE_SLAVE);
	r = get(&w, "T", 7, 32);
	CU_ASSERT_EQUAL(r.status, GET_OFFSET_OVERFLOW_BADLY);
	CU_ASSERT_EQUAL(r.next, 7);
	w.conf.offsetCheckInSlave = true;
	r = get(&w, "T", 7, 32);
	CU_ASSERT_EQUAL(r.next, 3);
	world_end(&w);
}

static void
neighbours_in_the_log_are_one_range(void)
{
	struct get_result r;
	struct world w;
	size_t n = world_record_bytes("T", 5, NULL);

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 3);
	world_put_many(&w, "U", 0, 5, 1);
	world_put_many(&w, "T", 0, 5, 2);
	r = get(&w, "T", 1, 32);
	CU_ASSERT_EQUAL(r.status, GET_FOUND);
	CU_ASSERT_EQUAL(r.messages, 4);
	CU_ASSERT_EQUAL(r.ranges, 2);
	CU_ASSERT_EQUAL(r.range[0].n, 2 * n);
	CU_ASSERT_EQUAL(r.bytes, 4 * n);
	CU_ASSERT_EQUAL(be64_get(r.range[0].p + MSG_OFF_QUEUE_OFFSET), 1);
	CU_ASSERT_EQUAL(be64_get(r.range[1].p + MSG_OFF_QUEUE_OFFSET), 3);
	CU_ASSERT_EQUAL(r.next, 5);
	world_end(&w);
}

static void
batch_ends_at_the_number_asked_for(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 8);
	r = get(&w, "T", 0, 5);
	CU_ASSERT_EQUAL(r.messages, 5);
	CU_ASSERT_EQUAL(r.next, 5);
	r = get(&w, "T", 5, 5);
	CU_ASSERT_EQUAL(r.messages, 3);
	CU_ASSERT_EQUAL(r.next, 8);
	world_end(&w);
}

static void
limits_follow_the_settings_as_they_are_now(void)
{
	size_t n = world_record_bytes("T", 50, NULL);
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 50, 9);
	w.conf.maxTransferCountOnMessageInMemory = 4;
	CU_ASSERT_EQUAL(get(&w, "T", 0, 32).messages, 4);
	w.conf.maxTransferCountOnMessageInMemory = 32;
	w.conf.maxTransferBytesOnMessageInMemory = (int32_t)(3 * n);
	r = get(&w, "T", 0, 32);
	CU_ASSERT_EQUAL(r.messages, 3);
	CU_ASSERT_FALSE(r.suggest_slave);
	w.conf.maxTransferBytesOnMessageInMemory = 1; /* never for the first */
	CU_ASSERT_EQUAL(get(&w, "T", 0, 32).messages, 1);
	w.conf.accessMessageInMemoryMaxRatio = 0; /* nothing counts as in memory */
	w.conf.maxTransferCountOnMessageInDisk = 2;
	r = get(&w, "T", 0, 32);
	CU_ASSERT_EQUAL(r.messages, 2);
	CU_ASSERT_TRUE(r.suggest_slave);
	world_end(&w);
}

static bool
only_even(void *arg, int64_t tags_code)
{
	(void)arg;
	return tags_code % 2 == 0;
}

static bool
none(void *arg, int64_t tags_code)
{
	(void)arg;
	(void)tags_code;
	return false;
}

static bool
has_colour_red(void *arg, struct slice props)
{
	(void)arg;
	return slice_is(props_get(props, "colour"), "red");
}

static void
filters_pass_over_what_they_do_not_want(void)
{
	struct store_filter code = {.by_code = only_even}, no = {.by_code = none}, red = {.by_props = has_colour_red};
	struct get_result r;
	struct store_queue *q;
	struct world w;

	world_begin(&w);
	for (int i = 0; i < 6; i++)
		(void)world_put(&w, "T", 0, 5, i % 2 ? "TAGS\001a\002colour\001red\002" : "TAGS\001b\002colour\001blue\002");
	q = world_queue(&w, "T", 0);
	store_get(w.s, q, 0, 32, &code, true, &r); /* 'b' is 98 */
	CU_ASSERT_EQUAL(r.messages, 3);
	CU_ASSERT_EQUAL(r.next, 6);
	store_get(w.s, q, 0, 32, &no, true, &r);
	CU_ASSERT_EQUAL(r.status, GET_NO_MATCHED_MESSAGE);
	CU_ASSERT_EQUAL(r.next, 6);
	store_get(w.s, q, 0, 2, &red, true, &r);
	CU_ASSERT_EQUAL(r.status, GET_FOUND);
	CU_ASSERT_EQUAL(r.messages, 2);
	CU_ASSERT_EQUAL(r.next, 4);
	CU_ASSERT_EQUAL(be64_get(r.range[0].p + MSG_OFF_QUEUE_OFFSET), 1);
	world_end(&w);
}

static void
scan_ends_with_its_budget_and_with_the_file(void)
{
	struct store_filter no = {.by_code = none};
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 25);
	store_get(w.s, world_queue(&w, "T", 0), 3, 32, &no, true, &r);
	CU_ASSERT_EQUAL(r.status, GET_NO_MATCHED_MESSAGE);
	CU_ASSERT_EQUAL(r.next, 10); /* the queue file ends there */
	w.conf.maxFilterMessageSize = 3 * CQ_UNIT;
	store_get(w.s, world_queue(&w, "T", 0), 10, 1, &no, true, &r);
	CU_ASSERT_EQUAL(r.next, 13);
	world_end(&w);
}

static void
removed_log_is_passed_over_to_what_is_left(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 900, 9); /* four in a segment */
	/* the queue's min is not known yet */
	w.s->log.min = WORLD_LOG_BYTES;
	r = get(&w, "T", 0, 32);
	CU_ASSERT_EQUAL(r.status, GET_FOUND);
	CU_ASSERT_EQUAL(r.messages, 5);
	CU_ASSERT_EQUAL(be64_get(r.range[0].p + MSG_OFF_QUEUE_OFFSET), 4);
	w.s->log.min = 3 * WORLD_LOG_BYTES;
	r = get(&w, "T", 0, 32);
	CU_ASSERT_EQUAL(r.status, GET_MESSAGE_WAS_REMOVING);
	CU_ASSERT_EQUAL(r.next, 9);
	world_end(&w);
}

/* A consumer behind the minimum is sent to it by its next pull, not when the broker next looks around. */
static void
what_clean_has_just_removed_is_not_read_any_more(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 900, 25);
	pos_publish(&w.shm->clean.min, 3 * WORLD_LOG_BYTES);
	world_remove(&w, world_log_file(0));
	world_remove(&w, world_log_file(WORLD_LOG_BYTES));
	world_remove(&w, world_log_file(2 * WORLD_LOG_BYTES));
	cq_files_prune(&w.s->files, 0);
	world_remove(&w, "consumequeue/T/0/00000000000000000000");
	r = get(&w, "T", 0, 32);
	CU_ASSERT_EQUAL(r.status, GET_OFFSET_TOO_SMALL);
	CU_ASSERT_EQUAL(r.next, 12);
	CU_ASSERT_EQUAL(r.min, 12);
	store_second(w.s); /* the maps go later */
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 12), 13);
	world_end(&w);
}

static void
lost_queue_file_leads_on_to_the_next(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 60);
	CU_ASSERT_EQUAL(queue_min(world_queue(&w, "T", 0)), 0);
	cq_files_prune(&w.s->files, 0);
	world_remove(&w, "consumequeue/T/0/00000000000000000200");
	r = get(&w, "T", 13, 32);
	CU_ASSERT_EQUAL(r.status, GET_OFFSET_FOUND_NULL);
	CU_ASSERT_EQUAL(r.next, 20);
	CU_ASSERT_EQUAL(get(&w, "T", 20, 32).messages, 10);
	world_end(&w);
}

static void
unit_that_names_no_record_is_not_sent(void)
{
	struct get_result r;
	struct world w;
	char raw[CQ_UNIT];

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 40); /* the first are not in memory any more */
	world_peek(&w, "consumequeue/T/0/00000000000000000000", 0, raw, CQ_UNIT);
	be64_put(raw, 7); /* in the middle of a record */
	world_poke(&w, "consumequeue/T/0/00000000000000000000", 0, raw, CQ_UNIT);
	r = get(&w, "T", 0, 1);
	CU_ASSERT_EQUAL(r.status, GET_FOUND);
	CU_ASSERT_EQUAL(be64_get(r.range[0].p + MSG_OFF_QUEUE_OFFSET), 1);
	world_end(&w);
}

static void
many_pieces_end_the_batch(void)
{
	struct get_result r;
	struct world w;

	world_begin(&w);
	w.conf.maxTransferCountOnMessageInMemory = 1000;
	w.conf.mappedFileSizeConsumeQueue = 6000;
	world_stop(&w);
	world_open(&w);
	for (int i = 0; i < 100; i++) {
		(void)world_put(&w, "T", 0, 5, NULL);
		(void)world_put(&w, "U", 0, 5, NULL);
	}
	r = get(&w, "T", 0, 1000);
	CU_ASSERT_EQUAL(r.messages, GET_RANGES_MAX);
	CU_ASSERT_EQUAL(r.ranges, GET_RANGES_MAX);
	CU_ASSERT_EQUAL(r.next, GET_RANGES_MAX);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 0), 100);
	world_end(&w);
}

static void
record_by_its_place(void)
{
	struct store_put_result r;
	struct slice rec;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 900, 5);
	r = world_put(&w, "T", 0, 5, NULL);
	CU_ASSERT_EQUAL(store_record_at(w.s, r.physical, &rec), RC_OK);
	CU_ASSERT_EQUAL((int64_t)rec.n, r.end - r.physical);
	CU_ASSERT_EQUAL(store_record_at(w.s, r.physical + 1, &rec), RC_NOTFOUND);
	CU_ASSERT_EQUAL(store_record_at(w.s, r.end, &rec), RC_NOTFOUND);
	CU_ASSERT_EQUAL(store_record_at(w.s, r.end - 3, &rec), RC_NOTFOUND);
	CU_ASSERT_EQUAL(store_record_at(w.s, -1, &rec), RC_NOTFOUND);
	CU_ASSERT_EQUAL(store_record_at(w.s, INT64_MAX, &rec), RC_NOTFOUND);
	world_end(&w);
}

/* Messages at times 10, 20, 20, 30. */
static struct store_queue *
timed_queue(struct world *w)
{
	static const int64_t times[] = {10, 20, 20, 30};

	for (int i = 0; i < 4; i++) {
		clock_set_made(times[i] * 1000);
		(void)world_put(w, "T", 0, 900, NULL);
	}
	clock_set_made(-1);
	return world_queue(w, "T", 0);
}

static void
offset_by_time_at_each_boundary(void)
{
	static const struct {
		int64_t	ms, lower, upper;
	} cases[] = {{5000, 0, 0}, {10000, 0, 0}, {10001, 1, 0}, {15000, 1, 0}, {20000, 1, 2}, {25000, 3, 2}, {30000, 3, 3},
	    {30001, 4, 3}, {INT64_MAX, 4, 3}, {0, 0, 0}, {-1, 0, 0}};
	struct store_queue *q;
	struct world w;

	world_begin(&w);
	q = timed_queue(&w);
	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		CU_ASSERT_EQUAL(store_offset_by_time(w.s, q, cases[i].ms, BOUNDARY_LOWER), cases[i].lower);
		CU_ASSERT_EQUAL(store_offset_by_time(w.s, q, cases[i].ms, BOUNDARY_UPPER), cases[i].upper);
	}
	CU_ASSERT_EQUAL(store_offset_by_time(w.s, NULL, 20000, BOUNDARY_LOWER), 0);
	CU_ASSERT_EQUAL(store_time_at(w.s, q, 1), 20000);
	CU_ASSERT_EQUAL(store_time_at(w.s, q, 4), -1);
	CU_ASSERT_EQUAL(store_time_at(w.s, q, -1), -1);
	world_end(&w);
}

static void
offset_by_time_stays_within_what_is_left(void)
{
	struct store_queue *q;
	struct world w;

	world_begin(&w);
	q = timed_queue(&w);
	clock_set_made(40000);
	(void)world_put(&w, "T", 0, 900, NULL);
	clock_set_made(-1);
	pos_publish(&w.shm->clean.min, WORLD_LOG_BYTES);
	store_second(w.s);
	CU_ASSERT_EQUAL(store_offset_by_time(w.s, q, 10000, BOUNDARY_LOWER), 4);
	CU_ASSERT_EQUAL(store_offset_by_time(w.s, q, 10000, BOUNDARY_UPPER), 4);
	CU_ASSERT_EQUAL(store_offset_by_time(w.s, q, 50000, BOUNDARY_LOWER), 5);
	world_end(&w);
}

static void
pulls_of_a_store_that_was_opened_again(void)
{
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 300, 55);
	world_stop(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 0), 55);
	world_put_many(&w, "T", 0, 300, 5);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 0), 60);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 53), 7);
	world_end(&w);
}

static void
facts_tell_what_is_there(void)
{
	struct store_facts f;
	struct world w;

	world_begin(&w);
	store_facts(w.s, &f);
	CU_ASSERT_EQUAL(f.earliest_store_ms, -1);
	(void)timed_queue(&w);
	world_put_many(&w, "T", 1, 5, 11);
	store_facts(w.s, &f);
	CU_ASSERT_EQUAL(f.log_min, 0);
	CU_ASSERT_EQUAL(f.dispatched, f.log_max);
	CU_ASSERT_EQUAL(f.earliest_store_ms, 10000);
	CU_ASSERT_EQUAL(f.segments, 2);
	CU_ASSERT_EQUAL(f.queue_files, 3);
	CU_ASSERT_EQUAL(f.index_files, 0);
	world_end(&w);
}

TEST_MAIN("store/reader", TEST(cases_outside_of_the_queue), TEST(slave_does_not_correct_offsets),
    TEST(neighbours_in_the_log_are_one_range), TEST(batch_ends_at_the_number_asked_for),
    TEST(limits_follow_the_settings_as_they_are_now), TEST(filters_pass_over_what_they_do_not_want),
    TEST(scan_ends_with_its_budget_and_with_the_file), TEST(removed_log_is_passed_over_to_what_is_left), TEST(what_clean_has_just_removed_is_not_read_any_more),
    TEST(lost_queue_file_leads_on_to_the_next), TEST(unit_that_names_no_record_is_not_sent), TEST(many_pieces_end_the_batch),
    TEST(record_by_its_place), TEST(offset_by_time_at_each_boundary), TEST(offset_by_time_stays_within_what_is_left),
    TEST(pulls_of_a_store_that_was_opened_again), TEST(facts_tell_what_is_there))

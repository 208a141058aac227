/* test_cqueue: units byte for byte, the rules of appending, files that come and go, the first unit that counts. */
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "store_world.h"
#include "test.h"

static void
unit_is_twenty_bytes_with_the_hash_of_the_tag(void)
{
	size_t n = world_record_bytes("T", 5, "TAGS\001TagA\002");
	struct world w;
	char raw[3 * CQ_UNIT];

	world_begin(&w);
	(void)world_put(&w, "T", 7, 5, "TAGS\001TagA\002");
	(void)world_put(&w, "T", 7, 5, "TAGS\001zzzzzz\002");
	world_peek(&w, "consumequeue/T/7/00000000000000000000", 0, raw, sizeof(raw));
	CU_ASSERT_EQUAL(be64_get(raw), 0);
	CU_ASSERT_EQUAL(be32_get(raw + 8), n);
	CU_ASSERT_EQUAL(be64_get(raw + 12), 2598919);
	CU_ASSERT_EQUAL(be64_get(raw + 20), n);
	CU_ASSERT_EQUAL((int64_t)be64_get(raw + 32), message_tags_code(SLICE_LIT("zzzzzz")));
	CU_ASSERT_TRUE((int64_t)be64_get(raw + 32) < 0); /* sign-extended */
	CU_ASSERT_EQUAL(be64_get(raw + 40), 0);
	CU_ASSERT_EQUAL(be32_get(raw + 48), 0);
	world_end(&w);
}

static void
delayed_message_carries_its_time_of_delivery(void)
{
	struct world w;
	int64_t physical, code;
	int32_t size;

	world_begin(&w);
	clock_set_made(1700000000000);
	(void)world_put(&w, "SCHEDULE_TOPIC_XXXX", 2, 5, "DELAY\0013\002TAGS\001A\002");
	(void)world_put(&w, "SCHEDULE_TOPIC_XXXX", 2, 5, "DELAY\00199\002");
	(void)world_put(&w, "SCHEDULE_TOPIC_XXXX", 2, 5, "TAGS\001TagA\002");
	clock_set_made(-1);
	CU_ASSERT_EQUAL(store_unit_at(w.s, world_queue(&w, "SCHEDULE_TOPIC_XXXX", 2), 0, &physical, &size, &code), RC_OK);
	CU_ASSERT_EQUAL(code, 1700000000000 + 10 * 1000);
	CU_ASSERT_EQUAL(store_unit_at(w.s, world_queue(&w, "SCHEDULE_TOPIC_XXXX", 2), 1, &physical, &size, &code), RC_OK);
	CU_ASSERT_EQUAL(code, 1700000000000 + 2 * 3600 * 1000);
	CU_ASSERT_EQUAL(store_unit_at(w.s, world_queue(&w, "SCHEDULE_TOPIC_XXXX", 2), 2, &physical, &size, &code), RC_OK);
	CU_ASSERT_EQUAL(code, 2598919);
	world_end(&w);
}

static void
queue_goes_on_in_the_next_file(void)
{
	struct world w;
	char raw[CQ_UNIT];

	world_begin(&w);
	for (int i = 0; i < 25; i++)
		(void)world_stage(&w, "T", 0, 5, NULL);
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	CU_ASSERT_TRUE(world_has(&w, "consumequeue/T/0/00000000000000000200"));
	CU_ASSERT_TRUE(world_has(&w, "consumequeue/T/0/00000000000000000400"));
	CU_ASSERT_FALSE(world_has(&w, "consumequeue/T/0/00000000000000000600"));
	world_peek(&w, "consumequeue/T/0/00000000000000000400", 0, raw, CQ_UNIT);
	CU_ASSERT_EQUAL(be64_get(raw), 20 * world_record_bytes("T", 5, NULL));
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_stop(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 25);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
queue_that_ends_with_its_file_is_found_again(void)
{
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 20);
	world_stop(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 20);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, 5, NULL).queue_offset, 20);
	CU_ASSERT_TRUE(world_has(&w, "consumequeue/T/0/00000000000000000400"));
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

/* A topic that is deleted and used again while its old messages are in the log, or a slave that begins late. */
static void
queue_that_does_not_begin_at_zero_gets_blank_units_first(void)
{
	struct world w;
	struct store_queue *q;
	char raw[10 * CQ_UNIT];

	world_begin(&w);
	store_queue_get(w.s, SLICE_LIT("T"), 0)->next = 13;
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, 5, NULL).queue_offset, 13);
	(void)world_put(&w, "T", 0, 5, NULL);
	for (int i = 0; i < 2; i++) {
		q = world_queue(&w, "T", 0);
		CU_ASSERT_FALSE(world_has(&w, "consumequeue/T/0/00000000000000000000"));
		world_peek(&w, "consumequeue/T/0/00000000000000000200", 0, raw, sizeof(raw));
		for (int n = 0; n < 3; n++) {
			CU_ASSERT_EQUAL(be64_get(raw + n * CQ_UNIT), 0);
			CU_ASSERT_EQUAL(be32_get(raw + n * CQ_UNIT + 8), 0x7FFFFFFF);
			CU_ASSERT_EQUAL(be64_get(raw + n * CQ_UNIT + 12), 0);
		}
		CU_ASSERT_EQUAL(queue_min(q), 13);
		CU_ASSERT_EQUAL(queue_max(q), 15);
		CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
		world_stop(&w);
		world_open(&w);
	}
	world_end(&w);
}

static struct cq_unit
unit(int64_t offset, int64_t physical)
{
	return (struct cq_unit){.offset = offset, .physical = physical, .size = 100};
}

static void
built_units_are_dropped_and_strange_offsets_go_to_the_end(void)
{
	struct cq_unit u[3] = {unit(0, 0), unit(1, 100), unit(2, 200)}, found;
	struct store_queue *q;
	struct world w;

	world_begin(&w);
	q = store_queue_get(w.s, SLICE_LIT("T"), 0);
	CU_ASSERT_EQUAL(cqueue_append(&w.s->files, q, u, 3, &w.e), RC_OK);
	CU_ASSERT_EQUAL(cqueue_append(&w.s->files, q, u, 3, &w.e), RC_OK);
	CU_ASSERT_EQUAL(q->max, 3);
	u[0] = unit(2, 300); /* behind in the log, built by its offset */
	CU_ASSERT_EQUAL(cqueue_append(&w.s->files, q, u, 1, &w.e), RC_OK);
	CU_ASSERT_EQUAL(q->max, 3);
	u[0] = unit(7, 400); /* a gap: the original takes the end too */
	CU_ASSERT_EQUAL(cqueue_append(&w.s->files, q, u, 1, &w.e), RC_OK);
	CU_ASSERT_EQUAL(q->max, 4);
	CU_ASSERT_TRUE(cqueue_unit(&w.s->files, q, 3, &found));
	CU_ASSERT_EQUAL(found.physical, 400);
	CU_ASSERT_EQUAL(q->max_physical, 500);
	world_end(&w);
}

static void
cut_keeps_units_below_and_clear_zeroes_the_rest(void)
{
	struct store_queue *q;
	struct world w;
	char raw[CQ_UNIT];

	for (int64_t keep = 0; keep <= 25; keep++) {
		world_begin(&w);
		q = store_queue_get(w.s, SLICE_LIT("T"), 0);
		for (int64_t i = 0; i < 25; i++) {
			struct cq_unit u = unit(i, i * 100);

			CU_ASSERT_EQUAL(cqueue_append(&w.s->files, q, &u, 1, &w.e), RC_OK);
		}
		CU_ASSERT_EQUAL(cqueue_cut(&w.s->files, q, keep * 100, &w.e), RC_OK);
		CU_ASSERT_EQUAL(q->max, keep);
		CU_ASSERT_EQUAL(q->next, keep == 25 ? 0 : keep); /* a cut sets it; here nobody had */
		CU_ASSERT_EQUAL(q->max_physical, keep * 100);
		CU_ASSERT_EQUAL(world_has(&w, "consumequeue/T/0/00000000000000000400"), keep >= 20);
		CU_ASSERT_EQUAL(cqueue_clear(&w.s->files, q, &w.e), RC_OK);
		if (keep < 10) {
			world_peek(&w, "consumequeue/T/0/00000000000000000000", 9 * CQ_UNIT, raw, CQ_UNIT);
			CU_ASSERT_EQUAL(be32_get(raw + 8), 0);
		}
		if (keep > 0) {
			world_peek(&w, "consumequeue/T/0/00000000000000000000", 0, raw, CQ_UNIT);
			CU_ASSERT_EQUAL(be32_get(raw + 8), 100);
		}
		world_end(&w);
	}
}

/* As clean does it: the position first, then the files. */
static void
remove_log_below(struct world *w, int64_t min)
{
	pos_publish(&w->shm->clean.min, min);
	store_second(w->s);
	for (int64_t at = 0; at < min; at += WORLD_LOG_BYTES)
		world_remove(w, world_log_file(at));
}

static void
min_follows_the_first_byte_of_the_log(void)
{
	struct store_queue *t, *u, *v;
	struct world w;
	int64_t physical, code;
	int32_t size;

	world_begin(&w);
	world_put_many(&w, "U", 0, 50, 3);
	for (int i = 0; i < 20; i++) {
		(void)world_put(&w, "T", 0, 500, NULL);
		if (i >= 10)
			(void)world_put(&w, "V", 0, 5, NULL);
	}
	t = world_queue(&w, "T", 0);
	u = world_queue(&w, "U", 0);
	v = world_queue(&w, "V", 0);
	CU_ASSERT_EQUAL(queue_min(t), 0);
	remove_log_below(&w, WORLD_LOG_BYTES);
	CU_ASSERT_EQUAL(queue_min(u), 3); /* nothing of it is left */
	CU_ASSERT_EQUAL(queue_max(u), 3);
	CU_ASSERT_EQUAL(queue_min(v), 0);
	CU_ASSERT_EQUAL(store_unit_at(w.s, t, queue_min(t), &physical, &size, &code), RC_OK);
	CU_ASSERT_EQUAL(physical, WORLD_LOG_BYTES);
	CU_ASSERT_EQUAL(store_unit_at(w.s, t, queue_min(t) - 1, &physical, &size, &code), RC_NOTFOUND);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	remove_log_below(&w, 2 * WORLD_LOG_BYTES);
	world_remove(&w, "consumequeue/T/0/00000000000000000000"); /* clean takes it when all its units are too old */
	CU_ASSERT_EQUAL(store_unit_at(w.s, t, queue_min(t), &physical, &size, &code), RC_OK);
	CU_ASSERT_EQUAL(physical, 2 * WORLD_LOG_BYTES);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_stop(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(store_unit_at(w.s, world_queue(&w, "T", 0), queue_min(world_queue(&w, "T", 0)), &physical, &size,
	    &code), RC_OK);
	CU_ASSERT_EQUAL(physical, 2 * WORLD_LOG_BYTES);
	CU_ASSERT_EQUAL(queue_min(world_queue(&w, "U", 0)), 3);
	CU_ASSERT_EQUAL(world_put(&w, "U", 0, 5, NULL).queue_offset, 3);
	CU_ASSERT_TRUE(world_queue_whole(&w, "U", 0));
	world_end(&w);
}

static void
deleted_topic_leaves_no_files_and_may_come_again(void)
{
	struct store_put_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 12);
	world_put_many(&w, "T", 3, 5, 2);
	world_put_many(&w, "U", 0, 5, 2);
	(void)world_stage(&w, "U", 0, 5, NULL);
	store_topic_delete(w.s, SLICE_LIT("T"));
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT("T"), 0));
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT("T"), 3));
	CU_ASSERT_FALSE(world_has(&w, "consumequeue/T"));
	CU_ASSERT_TRUE(world_queue_whole(&w, "U", 0));
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	store_second(w.s);
	r = world_put(&w, "T", 0, 5, NULL);
	CU_ASSERT_EQUAL(r.queue_offset, 0);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "U", 0)), 3);
	world_end(&w);
}

static void
many_queues_share_few_open_files(void)
{
	struct world w;

	world_begin(&w);
	w.s->files.open_max = 5;
	for (int i = 0; i < 60; i++)
		(void)world_put(&w, "T", i % 20, 5, NULL);
	CU_ASSERT_TRUE(w.s->files.open <= 5);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_TRUE(world_queue_whole(&w, "T", i));
	world_stop(&w);
	world_open(&w);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", i)), 3);
	world_end(&w);
}

static void
topic_that_can_be_no_directory_is_kept_in_the_log_only(void)
{
	struct world w;

	CU_ASSERT_FALSE(cqtable_name_ok(SLICE_LIT("../x")));
	CU_ASSERT_FALSE(cqtable_name_ok(SLICE_LIT("..")));
	CU_ASSERT_FALSE(cqtable_name_ok(SLICE_LIT("")));
	CU_ASSERT_FALSE(cqtable_name_ok(((struct slice){"a\0b", 3})));
	CU_ASSERT_TRUE(cqtable_name_ok(SLICE_LIT("%RETRY%group")));
	world_begin(&w);
	(void)world_put(&w, "../../evil", 0, 5, NULL);
	(void)world_put(&w, "T", 0, 5, NULL);
	CU_ASSERT_FALSE(world_has(&w, "../evil"));
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
wrong_queue_files_are_refused_with_a_sentence(void)
{
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 5, 3);
	world_stop(&w);
	w.conf.mappedFileSizeConsumeQueue = 400;
	CU_ASSERT_EQUAL(world_try_open(&w), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "mappedFileSizeConsumeQueue"));
	world_end(&w);
}

static void
dirty_files_are_told_once_and_again_without_an_answer(void)
{
	struct store_mark m;
	struct world w;

	clock_set_made(1700000000000);
	world_begin(&w);
	w.conf.flushIntervalConsumeQueue = 0;
	world_put_many(&w, "T", 0, 5, 15); /* two files */
	world_put_many(&w, "T", 1, 5, 1);
	CU_ASSERT_FALSE(store_next_mark(w.s, &m));
	store_second(w.s);
	CU_ASSERT_EQUAL(w.dirty_files, 3);
	CU_ASSERT_TRUE(store_next_mark(w.s, &m));
	CU_ASSERT_EQUAL(m.log_offset, pos_read(&w.shm->broker.dispatched));
	CU_ASSERT_EQUAL(m.store_ms, pos_read(&w.shm->broker.dispatched_store_ms));
	CU_ASSERT_FALSE(store_next_mark(w.s, &m));
	world_put_many(&w, "T", 1, 5, 1);
	store_second(w.s); /* the first mark is not answered: nothing new is begun */
	CU_ASSERT_EQUAL(w.dirty_files, 3);
	store_marked(w.s, m.id + 1); /* of another life */
	store_second(w.s);
	CU_ASSERT_EQUAL(w.dirty_files, 3);
	store_marked(w.s, m.id);
	store_second(w.s);
	CU_ASSERT_EQUAL(w.dirty_files, 4);
	CU_ASSERT_TRUE(store_next_mark(w.s, &m));
	clock_advance_ms(60 * 1000);
	store_second(w.s);
	CU_ASSERT_EQUAL(w.dirty_files, 5);
	clock_set_made(-1);
	world_end(&w);
}

static void
all_dirty_files_are_told_to_a_flush_that_was_started_again(void)
{
	struct store_mark m;
	struct world w;

	clock_set_made(1700000000000);
	world_begin(&w);
	w.conf.flushIntervalConsumeQueue = 0;
	world_put_many(&w, "T", 0, 5, 15); /* two files */
	store_second(w.s);
	CU_ASSERT_EQUAL(w.dirty_files, 2);
	CU_ASSERT_TRUE(store_next_mark(w.s, &m));
	CU_ASSERT_EQUAL(m.life, 0);
	atomic_fetch_add(&w.shm->flush.life, 1);
	clock_advance_ms(1000);
	store_second(w.s);
	CU_ASSERT_EQUAL(w.dirty_files, 4);
	store_marked(w.s, m.id); /* late, by the one that has died */
	CU_ASSERT_TRUE(store_next_mark(w.s, &m));
	CU_ASSERT_EQUAL(m.life, 1);
	store_marked(w.s, m.id);
	clock_advance_ms(1000);
	store_second(w.s);
	CU_ASSERT_FALSE(store_next_mark(w.s, &m));
	CU_ASSERT_EQUAL(w.dirty_files, 4);
	clock_set_made(-1);
	world_end(&w);
}

TEST_MAIN("store/cqueue", TEST(unit_is_twenty_bytes_with_the_hash_of_the_tag),
    TEST(delayed_message_carries_its_time_of_delivery), TEST(queue_goes_on_in_the_next_file),
    TEST(queue_that_ends_with_its_file_is_found_again), TEST(queue_that_does_not_begin_at_zero_gets_blank_units_first),
    TEST(built_units_are_dropped_and_strange_offsets_go_to_the_end), TEST(cut_keeps_units_below_and_clear_zeroes_the_rest),
    TEST(min_follows_the_first_byte_of_the_log), TEST(deleted_topic_leaves_no_files_and_may_come_again),
    TEST(many_queues_share_few_open_files), TEST(topic_that_can_be_no_directory_is_kept_in_the_log_only),
    TEST(wrong_queue_files_are_refused_with_a_sentence), TEST(dirty_files_are_told_once_and_again_without_an_answer),
    TEST(all_dirty_files_are_told_to_a_flush_that_was_started_again))

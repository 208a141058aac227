/* test_recover: what a start finds after each kind of end. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "store_world.h"
#include "test.h"

#define BODY 100

static int64_t
log_end(struct world *w)
{
	struct store_facts f;

	store_facts(w->s, &f);
	CU_ASSERT_EQUAL(f.dispatched, f.log_max);
	CU_ASSERT_EQUAL(pos_read(&w->shm->broker.appended), f.log_max);
	CU_ASSERT_EQUAL(pos_read(&w->shm->broker.dispatched), f.log_max);
	return f.log_max;
}

static void
fill(struct world *w)
{
	for (int i = 0; i < 60; i++) {
		char props[64];

		snprintf(props, sizeof(props), "UNIQ_KEY\001u%d\002KEYS\001a%d b%d\002", i, i, i);
		(void)world_put(w, "T", i % 2, BODY, props);
	}
}

static void
expect_full(struct world *w, int64_t end)
{
	CU_ASSERT_EQUAL(log_end(w), end);
	for (int q = 0; q < 2; q++) {
		CU_ASSERT_EQUAL(queue_min(world_queue(w, "T", q)), 0);
		CU_ASSERT_EQUAL(queue_max(world_queue(w, "T", q)), 30);
		CU_ASSERT_TRUE(world_queue_whole(w, "T", q));
		CU_ASSERT_EQUAL(world_read_all(w, "T", q, 0), 30);
	}
}

static void
expect_keys(struct world *w, int from)
{
	char key[16];

	for (int i = from; i < 60; i++) {
		snprintf(key, sizeof(key), "u%d", i);
		CU_ASSERT_EQUAL(world_query(w, "T", key), 1);
		snprintf(key, sizeof(key), "b%d", i);
		CU_ASSERT_EQUAL(world_query(w, "T", key), 1);
	}
}

static void
clean_stop_takes_abort_away_and_leaves_a_checkpoint(void)
{
	struct checkpoint c;
	struct world w;
	char path[128];
	int64_t end;

	world_begin(&w);
	clock_set_made(1700000000000);
	fill(&w);
	end = log_end(&w);
	CU_ASSERT_TRUE(world_has(&w, "abort"));
	world_stop(&w);
	CU_ASSERT_FALSE(world_has(&w, "abort"));
	snprintf(path, sizeof(path), "%s/checkpoint", w.dir);
	CU_ASSERT_EQUAL(checkpoint_read(path, &c, &w.e), RC_OK);
	CU_ASSERT_EQUAL(c.physic_ms, 1700000000000);
	CU_ASSERT_EQUAL(c.logics_ms, 1700000000000);
	clock_set_made(-1);
	world_open(&w);
	CU_ASSERT_TRUE(world_has(&w, "abort"));
	expect_full(&w, end);
	expect_keys(&w, 0);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).queue_offset, 30);
	world_end(&w);
}

static void
abort_holds_the_pid(void)
{
	struct world w;
	char pid[32], found[32] = "";

	world_begin(&w);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	world_peek(&w, "abort", 0, found, strlen(pid));
	CU_ASSERT_STRING_EQUAL(found, pid);
	world_end(&w);
}

static void
crash_without_a_checkpoint_recovers_everything(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_crash(&w);
	world_open(&w);
	expect_full(&w, end);
	expect_keys(&w, 0);
	world_end(&w);
}

static void
crash_recovers_from_the_segment_of_the_checkpoint(void)
{
	int64_t end, now = 1700000000000;
	struct world w;

	world_begin(&w);
	clock_set_made(now);
	for (int i = 0; i < 60; i++) {
		char props[64];

		snprintf(props, sizeof(props), "UNIQ_KEY\001u%d\002KEYS\001a%d b%d\002", i, i, i);
		clock_set_made(now + i * 1000);
		(void)world_put(&w, "T", i % 2, BODY, props);
	}
	clock_set_made(-1);
	end = log_end(&w);
	world_crash(&w);
	world_checkpoint(&w, now + 40 * 1000);
	world_open(&w);
	expect_full(&w, end);
	expect_keys(&w, 0);
	world_end(&w);
}

static void
lost_queues_and_index_are_built_again_after_a_crash(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_crash(&w);
	world_remove(&w, "consumequeue");
	world_remove(&w, "index");
	world_open(&w);
	expect_full(&w, end);
	expect_keys(&w, 0);
	world_end(&w);
}

static void
lost_queues_are_built_again_as_a_whole_though_the_checkpoint_covers_them(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_crash(&w);
	world_checkpoint(&w, clock_wall_ms() + 60000);
	world_remove(&w, "consumequeue");
	world_open(&w);
	expect_full(&w, end);
	world_end(&w);
}

static void
lost_queues_are_built_again_after_a_clean_stop(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_stop(&w);
	world_remove(&w, "consumequeue");
	world_open(&w);
	expect_full(&w, end);
	expect_keys(&w, 0);
	world_end(&w);
}

static void
queues_behind_the_log_are_completed_after_a_clean_stop(void)
{
	struct world w;
	int64_t end;
	char zeros[CQ_UNIT * 2] = "";

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_stop(&w);
	/* the newest two units of each queue, as if dispatch had not come so far */
	world_poke(&w, "consumequeue/T/0/00000000000000000400", 8 * CQ_UNIT, zeros, sizeof(zeros));
	world_poke(&w, "consumequeue/T/1/00000000000000000400", 8 * CQ_UNIT, zeros, sizeof(zeros));
	world_open(&w);
	expect_full(&w, end);
	world_end(&w);
}

static void
lost_log_takes_queues_and_index_with_it(void)
{
	struct world w;

	world_begin(&w);
	fill(&w);
	world_stop(&w);
	world_remove(&w, "commitlog");
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), 0);
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT("T"), 0));
	CU_ASSERT_EQUAL(world_query(&w, "T", "u1"), 0);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, "UNIQ_KEY\001u1\002").queue_offset, 0);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 0), 1);
	CU_ASSERT_EQUAL(world_query(&w, "T", "u1"), 1);
	world_end(&w);
}

/* The last record lacks all bytes from `keep` on, as a crash in the middle of a write leaves it. */
static void
tear_last(struct world *w, const struct store_put_result *last, size_t keep)
{
	size_t n = (size_t)(last->end - last->physical) - keep;
	char zeros[512] = "";

	CU_ASSERT_FATAL(n <= sizeof(zeros));
	world_poke(w, world_log_file(last->physical), last->physical % WORLD_LOG_BYTES + (int64_t)keep, zeros, n);
}

static void
torn_last_record_is_cut_wherever_it_is_torn(void)
{
	size_t n = world_record_bytes("T", 13, "TAGS\001A\002");
	char raw[512];
	struct world w;

	for (size_t keep = 0; keep < n; keep++) {
		struct store_put_result last;

		world_begin(&w);
		world_put_many(&w, "T", 0, 13, 3);
		last = world_put(&w, "T", 0, 13, "TAGS\001A\002");
		world_crash(&w);
		tear_last(&w, &last, keep);
		world_open(&w);
		CU_ASSERT_EQUAL(log_end(&w), last.physical);
		CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
		world_peek(&w, world_log_file(0), last.physical, raw, n);
		for (size_t i = 0; i < n; i++)
			CU_ASSERT_EQUAL(raw[i], 0);
		CU_ASSERT_EQUAL(world_put(&w, "T", 0, 13, NULL).physical, last.physical);
		CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
		world_end(&w);
	}
}

static void
damaged_body_is_cut_and_what_follows_is_zeroed(void)
{
	struct store_put_result r[4];
	struct world w;
	char raw[WORLD_LOG_BYTES];

	world_begin(&w);
	for (int i = 0; i < 4; i++)
		r[i] = world_put(&w, "T", 0, BODY, NULL);
	world_crash(&w);
	world_poke(&w, world_log_file(0), r[1].physical + 100, "?", 1);
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), r[1].physical);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 1);
	world_peek(&w, world_log_file(0), 0, raw, sizeof(raw));
	for (int64_t i = r[1].physical; i < WORLD_LOG_BYTES; i++)
		CU_ASSERT_EQUAL(raw[i], 0);
	/* units 1..3 must not come back */
	world_stop(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 1);
	world_end(&w);
}

/* A record that was cut, then lies in line with what is written after it. */
static void
stale_records_behind_a_cut_do_not_come_back(void)
{
	struct store_put_result r[5];
	struct world w;
	char bad[4] = "";

	world_begin(&w);
	for (int i = 0; i < 5; i++)
		r[i] = world_put(&w, "T", 0, BODY, NULL);
	world_crash(&w);
	world_poke(&w, world_log_file(0), r[2].physical + MSG_OFF_MAGIC, bad, 4);
	world_open(&w);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).physical, r[2].physical);
	world_crash(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), r[2].end);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
	world_end(&w);
}

static void
records_of_another_place_are_not_taken(void)
{
	struct store_put_result r;
	struct world w;
	char raw[512];
	size_t n = world_record_bytes("T", BODY, NULL);

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 2);
	r = world_put(&w, "T", 0, BODY, NULL);
	world_crash(&w);
	world_peek(&w, world_log_file(0), 0, raw, n);
	world_poke(&w, world_log_file(0), r.end, raw, n); /* a whole record that says it stands at 0 */
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), r.end);
	world_end(&w);
}

static void
segments_behind_the_end_are_removed(void)
{
	struct store_put_result r;
	struct world w;
	char bad[4] = "";

	world_begin(&w);
	r = world_put(&w, "T", 0, BODY, NULL);
	world_put_many(&w, "T", 0, 900, 9);
	CU_ASSERT_TRUE(world_has(&w, world_log_file(2 * WORLD_LOG_BYTES)));
	world_crash(&w);
	world_poke(&w, world_log_file(0), r.end + MSG_OFF_MAGIC, bad, 4);
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), r.end);
	CU_ASSERT_FALSE(world_has(&w, world_log_file(WORLD_LOG_BYTES)));
	CU_ASSERT_FALSE(world_has(&w, world_log_file(2 * WORLD_LOG_BYTES)));
	world_put_many(&w, "T", 0, 900, 9);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
gap_in_the_log_is_refused_and_nothing_is_removed(void)
{
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 900, 13);
	world_crash(&w);
	world_remove(&w, world_log_file(WORLD_LOG_BYTES));
	CU_ASSERT_EQUAL(world_try_open(&w), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, "4096"));
	CU_ASSERT_TRUE(world_has(&w, world_log_file(2 * WORLD_LOG_BYTES)));
	world_end(&w);
}

static void
queue_ahead_of_the_log_is_cut(void)
{
	struct store_put_result r[6];
	struct world w;
	char zeros[4096] = "";

	for (int clean = 0; clean < 2; clean++) {
		world_begin(&w);
		for (int i = 0; i < 6; i++)
			r[i] = world_put(&w, "T", 0, BODY, "UNIQ_KEY\001k\002");
		if (clean)
			world_stop(&w);
		else
			world_crash(&w);
		world_poke(&w, world_log_file(0), r[3].physical, zeros, (size_t)(WORLD_LOG_BYTES - r[3].physical));
		world_open(&w);
		CU_ASSERT_EQUAL(log_end(&w), r[3].physical);
		CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
		CU_ASSERT_EQUAL(world_query(&w, "T", "k"), 3);
		world_peek(&w, "consumequeue/T/0/00000000000000000000", 3 * CQ_UNIT, zeros, 3 * CQ_UNIT);
		CU_ASSERT_EQUAL(be32_get(zeros + 8), 0);
		CU_ASSERT_EQUAL(be32_get(zeros + 2 * CQ_UNIT + 8), 0);
		CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).queue_offset, 3);
		world_end(&w);
	}
}

static void
units_with_a_wrong_code_are_made_again_after_a_crash(void)
{
	struct world w;
	struct cq_unit u;
	char raw[CQ_UNIT];

	world_begin(&w);
	(void)world_put(&w, "T", 0, BODY, "TAGS\001TagA\002");
	world_crash(&w);
	world_poke(&w, "consumequeue/T/0/00000000000000000000", 12, "\0\0\0\0\0\0\0\0", 8);
	world_open(&w);
	world_peek(&w, "consumequeue/T/0/00000000000000000000", 0, raw, CQ_UNIT);
	cq_unit_get(raw, &u);
	CU_ASSERT_EQUAL(u.tags_code, 2598919);
	world_end(&w);
}

/* ---- only the broker worker died */

static void
dead_worker_goes_on_at_the_known_positions(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_die(&w);
	world_open(&w);
	expect_full(&w, end);
	expect_keys(&w, 0);
	CU_ASSERT_EQUAL(world_put(&w, "T", 1, BODY, NULL).physical % WORLD_LOG_BYTES != 0, true);
	world_end(&w);
}

static void
count_queue(void *arg, struct store_queue *q)
{
	(void)q;
	++*(int *)arg;
}

static void
queues_are_loaded_when_asked_for_after_a_worker_died(void)
{
	struct world w;
	int all = 0;

	world_begin(&w);
	for (int i = 0; i < 100; i++)
		(void)world_put(&w, i < 80 ? "T" : "U", i % 20, BODY, NULL);
	world_die(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(w.s->queues.count, 0);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 3)), 4);
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT("T"), 77));
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT("V"), 0));
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT(".."), 0));
	CU_ASSERT_EQUAL(world_put(&w, "T", 4, BODY, NULL).queue_offset, 4);
	CU_ASSERT_EQUAL(world_put(&w, "V", 0, BODY, NULL).queue_offset, 0);
	CU_ASSERT_EQUAL(w.s->queues.count, 3);
	store_topic_delete(w.s, SLICE_LIT("U"));
	CU_ASSERT_FALSE(world_has(&w, "consumequeue/U"));
	store_queues_each(w.s, count_queue, &all);
	CU_ASSERT_EQUAL(all, 21);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_TRUE(world_queue_whole(&w, "T", i));
	CU_ASSERT_FALSE(w.s->queues.later);
	world_die(&w);
	world_open(&w);
	for (int i = 0; i < 100 && w.s->queues.later; i++)
		store_second(w.s);
	CU_ASSERT_EQUAL(w.s->queues.count, 21);
	CU_ASSERT_EQUAL(world_put(&w, "T", 4, BODY, NULL).queue_offset, 5);
	world_end(&w);
}

/* Units of what may not have been dispatched whole are made again, also when their queue is only loaded for that. */
static void
half_written_unit_is_made_again_after_a_worker_died(void)
{
	struct store_put_result r[3];
	struct world w;
	char raw[CQ_UNIT];

	world_begin(&w);
	for (int i = 0; i < 3; i++)
		r[i] = world_put(&w, "T", 0, BODY, "TAGS\001TagA\002");
	world_die(&w);
	pos_publish(&w.shm->broker.dispatched, r[1].physical);
	world_poke(&w, "consumequeue/T/0/00000000000000000000", CQ_UNIT + 12, "\0\0\0\0\0\0\0\0", 8);
	world_open(&w);
	world_peek(&w, "consumequeue/T/0/00000000000000000000", CQ_UNIT, raw, CQ_UNIT);
	CU_ASSERT_EQUAL(be64_get(raw + 12), 2598919);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
records_above_appended_are_kept_if_whole(void)
{
	struct store_put_result r[4];
	struct world w;

	for (int torn = 0; torn < 2; torn++) {
		world_begin(&w);
		for (int i = 0; i < 4; i++)
			r[i] = world_put(&w, "T", 0, BODY, NULL);
		world_die(&w);
		/* as if it had died after the write and before the positions were published */
		pos_publish(&w.shm->broker.appended, r[1].end);
		pos_publish(&w.shm->broker.dispatched, r[0].end);
		if (torn)
			tear_last(&w, &r[3], 60);
		world_open(&w);
		CU_ASSERT_EQUAL(log_end(&w), torn ? r[2].end : r[3].end);
		CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), torn ? 3 : 4);
		CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
		world_end(&w);
	}
}

static void
half_put_index_entry_does_not_break_its_chain(void)
{
	struct world w;
	char slot[4], entry[20], name[64];
	int64_t slots = 40, first = 40 + 64 * 4;
	struct index_file *f;

	world_begin(&w);
	for (int i = 0; i < 5; i++)
		(void)world_put(&w, "T", 0, BODY, "UNIQ_KEY\001same\002");
	f = &w.s->index.files[0];
	snprintf(name, sizeof(name), "index/%s", strrchr(f->path, '/') + 1);
	world_die(&w);
	/* entry 6 and its slot are written, the header is not */
	world_peek(&w, name, first + 5 * 20, entry, 20);
	be32_put(entry + 16, 5);
	be64_put(entry + 4, 999999);
	world_poke(&w, name, first + 6 * 20, entry, 20);
	be32_put(slot, 6);
	world_poke(&w, name, slots + be32_get(entry) % 64 * 4, slot, 4);
	world_open(&w);
	(void)world_put(&w, "T", 0, BODY, "UNIQ_KEY\001same\002");
	CU_ASSERT_EQUAL(world_query(&w, "T", "same"), 6);
	world_end(&w);
}

static void
failed_node_is_not_trusted(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	world_die(&w);
	atomic_store(&w.shm->broker.state, NODE_FAILED);
	pos_publish(&w.shm->broker.appended, 10); /* nonsense, not looked at */
	world_open(&w);
	expect_full(&w, end);
	world_end(&w);
}

/* ---- the index after a crash of the host */

static void
index_keeps_keys_older_than_the_recovery_start(void)
{
	int64_t now = 1700000000000;
	struct world w;

	world_begin(&w);
	for (int i = 0; i < 60; i++) {
		char props[64];

		snprintf(props, sizeof(props), "UNIQ_KEY\001u%d\002KEYS\001a%d b%d\002", i, i, i);
		clock_set_made(now + i * 1000);
		(void)world_put(&w, "T", i % 2, BODY, props);
	}
	clock_set_made(-1);
	world_crash(&w);
	world_checkpoint(&w, now + 59 * 1000);
	/* the first segments are gone: their keys cannot be dispatched again, only kept */
	world_remove(&w, world_log_file(0));
	world_open(&w);
	CU_ASSERT_EQUAL(w.s->log.min, WORLD_LOG_BYTES);
	expect_keys(&w, 30);
	CU_ASSERT_TRUE(queue_min(world_queue(&w, "T", 0)) > 0);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
second_broker_on_the_same_store_is_refused(void)
{
	struct world w;
	pid_t pid;
	int status;

	world_begin(&w);
	pid = fork();
	if (pid == 0) {
		struct world other = w;

		_exit(world_try_open(&other) == RC_BUSY ? 0 : 1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	(void)world_put(&w, "T", 0, BODY, NULL);
	world_end(&w);
}

static void
wrong_segment_size_is_refused(void)
{
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 1);
	world_stop(&w);
	w.conf.mappedFileSizeCommitLog = 8192;
	CU_ASSERT_EQUAL(world_try_open(&w), RC_BADDATA);
	CU_ASSERT_PTR_NULL(w.s);
	w.conf.mappedFileSizeCommitLog = WORLD_LOG_BYTES;
	world_open(&w);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 0), 1);
	world_end(&w);
}

static void
recovery_can_be_repeated(void)
{
	struct world w;
	int64_t end;

	world_begin(&w);
	fill(&w);
	end = log_end(&w);
	for (int i = 0; i < 3; i++) {
		world_crash(&w);
		world_open(&w);
		expect_full(&w, end);
		expect_keys(&w, 0);
	}
	world_end(&w);
}

TEST_MAIN("store/recover", TEST(clean_stop_takes_abort_away_and_leaves_a_checkpoint), TEST(abort_holds_the_pid),
    TEST(crash_without_a_checkpoint_recovers_everything), TEST(crash_recovers_from_the_segment_of_the_checkpoint),
    TEST(lost_queues_and_index_are_built_again_after_a_crash),
    TEST(lost_queues_are_built_again_as_a_whole_though_the_checkpoint_covers_them), TEST(lost_queues_are_built_again_after_a_clean_stop),
    TEST(queues_behind_the_log_are_completed_after_a_clean_stop), TEST(lost_log_takes_queues_and_index_with_it),
    TEST(torn_last_record_is_cut_wherever_it_is_torn), TEST(damaged_body_is_cut_and_what_follows_is_zeroed),
    TEST(stale_records_behind_a_cut_do_not_come_back), TEST(records_of_another_place_are_not_taken),
    TEST(segments_behind_the_end_are_removed), TEST(gap_in_the_log_is_refused_and_nothing_is_removed),
    TEST(queue_ahead_of_the_log_is_cut), TEST(units_with_a_wrong_code_are_made_again_after_a_crash),
    TEST(dead_worker_goes_on_at_the_known_positions), TEST(queues_are_loaded_when_asked_for_after_a_worker_died),
    TEST(half_written_unit_is_made_again_after_a_worker_died), TEST(records_above_appended_are_kept_if_whole),
    TEST(half_put_index_entry_does_not_break_its_chain), TEST(failed_node_is_not_trusted),
    TEST(index_keeps_keys_older_than_the_recovery_start), TEST(second_broker_on_the_same_store_is_refused),
    TEST(wrong_segment_size_is_refused), TEST(recovery_can_be_repeated))

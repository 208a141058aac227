/* test_positions: what a start believes when everything was killed, but the machine was not booted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "store/lockfile.h"
#include "store_world.h"
#include "test.h"

#define BODY 100
#define PUT  40

/*
 * A store with PUT records in two queues, noted; then `more` records after the note; then all is killed. Record 1 is
 * damaged: who walks the whole log cuts it there, who believes the positions does not look. Returns the log's end.
 */
static int64_t
killed_store(struct world *w, int more, int64_t *damaged)
{
	struct store_put_result r = {0};

	world_begin(w);
	for (int i = 0; i < PUT; i++) {
		r = world_put(w, "T", i % 2, BODY, "KEYS\001k\002");
		if (i == 1)
			*damaged = r.physical;
	}
	store_second(w->s);
	for (int i = 0; i < more; i++)
		r = world_put(w, "T", i % 2, BODY, NULL);
	world_kill(w);
	world_poke(w, world_log_file(*damaged), *damaged % WORLD_LOG_BYTES + 100, "?", 1);
	return r.end;
}

static int64_t
log_end(struct world *w)
{
	struct store_facts f;

	store_facts(w->s, &f);
	CU_ASSERT_EQUAL(f.dispatched, f.log_max);
	CU_ASSERT_EQUAL(pos_read(&w->shm->broker.appended), f.log_max);
	return f.log_max;
}

static void
expect_not_believed(struct world *w, int64_t damaged)
{
	world_open(w);
	CU_ASSERT_EQUAL(log_end(w), damaged);
	world_end(w);
}

static void
killed_store_goes_on_where_it_was(void)
{
	int64_t damaged, end;
	struct world w;

	end = killed_store(&w, 7, &damaged);
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), end);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), PUT / 2 + 4);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 1)), PUT / 2 + 3);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	CU_ASSERT_EQUAL(world_query(&w, "T", "k"), PUT);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).queue_offset, PUT / 2 + 4);
	world_kill(&w); /* and again, from positions that were noted at the open */
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), PUT / 2 + 5);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
torn_record_behind_the_noted_positions_is_cut(void)
{
	struct store_put_result last;
	char zeros[60] = "";
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 5);
	store_second(w.s);
	world_put_many(&w, "T", 0, BODY, 5);
	last = world_put(&w, "T", 0, BODY, NULL);
	world_kill(&w);
	world_poke(&w, world_log_file(last.physical), last.physical % WORLD_LOG_BYTES + 100, zeros, sizeof(zeros));
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), last.physical);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 10);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
another_boot_is_not_believed(void)
{
	int64_t damaged;
	struct world w;

	(void)killed_store(&w, 0, &damaged);
	positions_set_boot_id("another boot");
	expect_not_believed(&w, damaged);
	positions_set_boot_id(NULL);
}

static void
copied_file_is_not_believed(void)
{
	char page[4096], path[128];
	int64_t damaged;
	struct world w;
	int fd, copy;
	ssize_t n;

	(void)killed_store(&w, 0, &damaged);
	snprintf(path, sizeof(path), "%s/" POSITIONS_NAME, w.dir);
	fd = open(path, O_RDONLY);
	CU_ASSERT_FATAL(fd >= 0);
	n = read(fd, page, sizeof(page));
	CU_ASSERT_FATAL(n > 0);
	unlink(path);
	copy =
	    open(path, O_RDWR | O_CREAT | O_EXCL, 0644); /* the first is still open, so its inode is not given again */
	CU_ASSERT_FATAL(copy >= 0);
	CU_ASSERT_EQUAL(write(copy, page, (size_t)n), n);
	close(copy);
	close(fd);
	expect_not_believed(&w, damaged);
}

static void
store_that_a_java_broker_used_is_not_believed(void)
{
	int64_t damaged;
	struct world w;

	(void)killed_store(&w, 0, &damaged);
	world_poke(&w, LOCKFILE_NAME, 0, "lock", 4);
	expect_not_believed(&w, damaged);
}

static void
damaged_file_is_not_believed(void)
{
	int64_t damaged;
	struct world w;

	(void)killed_store(&w, 0, &damaged);
	world_poke(&w, POSITIONS_NAME, 95, "\001", 1); /* in the dispatched position */
	expect_not_believed(&w, damaged);
}

static void
missing_queues_are_not_believed(void)
{
	int64_t damaged;
	struct world w;

	(void)killed_store(&w, 0, &damaged);
	world_remove(&w, "consumequeue/T/1");
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), damaged);
	CU_ASSERT_FALSE(world_has(&w, "consumequeue/T/1")); /* its only record was the damaged one */
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).queue_offset, 1);
	world_end(&w);
}

/* As after a disk that lost what was in the page cache. */
static void
missing_last_record_is_not_believed(void)
{
	char zeros[8] = "";
	struct store_put_result last;
	int64_t damaged;
	struct world w;

	(void)killed_store(&w, 0, &damaged);
	world_open(&w);
	last = world_put(&w, "T", 0, BODY, NULL);
	store_second(w.s);
	world_kill(&w);
	world_poke(&w, world_log_file(last.physical), last.physical % WORLD_LOG_BYTES, zeros, sizeof(zeros));
	expect_not_believed(&w, damaged);
}

static void
deleted_topic_is_not_missed(void)
{
	int64_t damaged, end;
	struct world w;

	end = killed_store(&w, 0, &damaged);
	world_open(&w);
	store_topic_delete(w.s, SLICE_LIT("T"));
	world_kill(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(log_end(&w), end);
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, SLICE_LIT("T"), 0));
	world_end(&w);
}

static void
clean_stop_and_failed_sync_leave_no_positions(void)
{
	int64_t damaged;
	struct world w;

	(void)killed_store(&w, 0, &damaged);
	world_open(&w);
	CU_ASSERT_TRUE(world_has(&w, POSITIONS_NAME));
	world_stop(&w);
	CU_ASSERT_FALSE(world_has(&w, POSITIONS_NAME));
	world_open(&w);
	(void)world_put(&w, "T", 0, BODY, NULL);
	CU_ASSERT_TRUE(positions_remove(w.dir)); /* as flush does */
	atomic_store(&w.shm->flush.failed_errno, EIO);
	store_second(w.s);
	CU_ASSERT_FALSE(world_has(&w, POSITIONS_NAME));
	world_end(&w);
}

TEST_MAIN("store/positions", TEST(killed_store_goes_on_where_it_was),
	  TEST(torn_record_behind_the_noted_positions_is_cut), TEST(another_boot_is_not_believed),
	  TEST(copied_file_is_not_believed), TEST(store_that_a_java_broker_used_is_not_believed),
	  TEST(damaged_file_is_not_believed), TEST(missing_queues_are_not_believed),
	  TEST(missing_last_record_is_not_believed), TEST(deleted_topic_is_not_missed),
	  TEST(clean_stop_and_failed_sync_leave_no_positions))

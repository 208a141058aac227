#include <inttypes.h>
#include <sys/time.h>
#include <time.h>

#include "t/unit/node.h"
#include "workers/clean/clean.h"

#define SEG (1 << 20)

static struct node n;

static void
begin(void)
{
	node_init(&n, WORKER_CLEAN);
	n.spec.conf.mappedFileSizeConsumeQueue = 400; /* 20 units */
	n.spec.conf.cleanResourceInterval = 10;
	n.spec.conf.deleteCommitLogFilesInterval = 0;
	n.spec.conf.deleteConsumeQueueFilesInterval = 0;
	/* nothing but what a test asks for, whatever this machine's disk and clock say */
	free(n.spec.conf.deleteWhen);
	n.spec.conf.deleteWhen = xstrdup("");
	n.spec.conf.cleanFileForciblyEnable = false;
	n.spec.conf.diskMaxUsedSpaceRatio = 95;
}

static void
put_segment(int64_t from, int age_hours)
{
	const struct timeval age = {.tv_sec = time(NULL) - age_hours * 3600};
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "commitlog/%020" PRId64, from);
	fd = node_file(&n, name, SEG);
	CU_ASSERT_EQUAL(futimes(fd, (struct timeval[2]){age, age}), 0);
	close(fd);
}

/* A queue file whose last unit points at log_offset. */
static void
put_queue_file(const char *name, int64_t log_offset)
{
	char unit[20] = {0};
	int fd = node_file(&n, name, 400);

	be64_put(unit, (uint64_t)log_offset);
	CU_ASSERT_EQUAL(pwrite(fd, unit, sizeof(unit), 380), 20);
	close(fd);
}

static void
put_index(const char *name, int64_t end_offset)
{
	char field[8];
	int fd = node_file(&n, name, 4096);

	be64_put(field, (uint64_t)end_offset);
	CU_ASSERT_EQUAL(pwrite(fd, field, sizeof(field), 24), 8);
	close(fd);
}

static void
run(int64_t appended, int64_t dispatched)
{
	pos_publish(&n.shm->broker.appended, appended);
	pos_publish(&n.shm->broker.dispatched, dispatched);
	atomic_store(&n.shm->broker.state, NODE_RUNNING);
	node_start(&n, clean_run);
	node_ready(&n);
}

static void
ask(void)
{
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_CLEAN_NOW), RC_OK);
}

static void
end(void)
{
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	node_free(&n);
}

static void
expired_segments_go_and_what_points_at_them(void)
{
	begin();
	for (int i = 0; i < 4; i++)
		put_segment((int64_t)i * SEG, i < 2 ? 100 : 1);
	put_queue_file("consumequeue/T/0/00000000000000000000", SEG - 1);
	put_queue_file("consumequeue/T/0/00000000000000000400", 2 * SEG);
	put_queue_file("consumequeue/T/0/00000000000000000800", 0);
	put_queue_file("consumequeue/T/1/00000000000000000000", SEG);
	put_index("index/20200101000000000", 2 * SEG - 1);
	put_index("index/20200102000000000", 2 * SEG);
	put_index("index/20200103000000000", 0);
	run(3 * SEG + 100, 3 * SEG + 100);
	ask();
	node_until(atomic_load(&n.shm->clean.queues_removed) == 1);
	CU_ASSERT_EQUAL(pos_read(&n.shm->clean.min), 2 * SEG);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->clean.segments_removed), 2);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->clean.index_removed), 1);
	CU_ASSERT_FALSE(node_has(&n, "commitlog/00000000000001048576"));
	CU_ASSERT_TRUE(node_has(&n, "commitlog/00000000000002097152"));
	CU_ASSERT_FALSE(node_has(&n, "consumequeue/T/0/00000000000000000000"));
	CU_ASSERT_TRUE(node_has(&n, "consumequeue/T/0/00000000000000000400"));
	CU_ASSERT_TRUE(node_has(&n, "consumequeue/T/1/00000000000000000000"));
	CU_ASSERT_FALSE(node_has(&n, "index/20200101000000000"));
	CU_ASSERT_TRUE(node_has(&n, "index/20200102000000000"));
	CU_ASSERT_TRUE(node_has(&n, "index/20200103000000000"));
	end();
}

static void
what_is_not_dispatched_or_in_use_stays(void)
{
	struct ipc_msg m;

	begin();
	for (int i = 0; i < 4; i++)
		put_segment((int64_t)i * SEG, 100);
	run(3 * SEG + 100, SEG + 5);
	ask();
	CU_ASSERT_TRUE(node_message(n.control, IPC_ALL_MASTER_EVENT, &m));
	CU_ASSERT_EQUAL(pos_read(&n.shm->clean.min), SEG);
	pos_publish(&n.shm->broker.dispatched, 3 * SEG + 100);
	CU_ASSERT_TRUE(node_message(n.control, IPC_ALL_MASTER_EVENT, &m));
	CU_ASSERT_EQUAL(pos_read(&n.shm->clean.min), 3 * SEG);
	CU_ASSERT_TRUE(node_has(&n, "commitlog/00000000000003145728"));
	end();
}

static void
nothing_is_touched_while_the_broker_recovers(void)
{
	begin();
	put_segment(0, 100);
	put_segment(SEG, 1);
	pos_publish(&n.shm->broker.appended, SEG + 1);
	pos_publish(&n.shm->broker.dispatched, SEG + 1);
	atomic_store(&n.shm->broker.state, NODE_RECOVERING);
	node_start(&n, clean_run);
	node_ready(&n);
	ask();
	node_until(atomic_load(&n.shm->clean.disk_total_bytes) > 0);
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	CU_ASSERT_TRUE(node_has(&n, "commitlog/00000000000000000000"));
	node_free(&n);
}

#ifdef ENABLE_DEV
static void
min_is_published_before_the_file_goes(void)
{
	begin();
	put_segment(0, 100);
	put_segment(SEG, 1);
	setenv("RMQ_FAULTS", "expire.before_unlink=kill", 1);
	run(SEG + 1, SEG + 1);
	ask();
	CU_ASSERT_TRUE(WIFSIGNALED(node_died(&n)));
	unsetenv("RMQ_FAULTS");
	CU_ASSERT_EQUAL(pos_read(&n.shm->clean.min), SEG);
	CU_ASSERT_TRUE(node_has(&n, "commitlog/00000000000000000000"));
	/* the next clean goes on with it */
	run(SEG + 1, SEG + 1);
	ask();
	node_until(!node_has(&n, "commitlog/00000000000000000000"));
	CU_ASSERT_EQUAL(pos_read(&n.shm->clean.min), SEG);
	end();
}
#endif

static void
the_next_segment_is_ready_when_half_is_used_and_gone_at_a_stop(void)
{
	begin();
	put_segment(0, 1);
	run(SEG / 2 + 1, 0);
	node_until(pos_read(&n.shm->clean.prepared) == 2 * SEG);
	CU_ASSERT_TRUE(node_has(&n, "commitlog/prepare/00000000000001048576"));
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	CU_ASSERT_FALSE(node_has(&n, "commitlog/prepare"));
	node_free(&n);
}

static void
a_writer_that_rolls_gets_the_next_segment_at_once(void)
{
	char from[PATH_MAX], to[PATH_MAX];

	begin();
	n.spec.conf.cleanResourceInterval = 3600000;
	put_segment(0, 1);
	run(SEG / 2 + 1, 0);
	node_until(pos_read(&n.shm->clean.prepared) == 2 * SEG);
	node_path(&n, "commitlog/prepare/00000000000001048576", from);
	node_path(&n, "commitlog/00000000000001048576", to);
	CU_ASSERT_EQUAL(rename(from, to), 0);
	pos_publish(&n.shm->broker.appended, SEG + 10);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_CLEAN_PREPARE, INT64_C(1) * SEG), RC_OK);
	node_until(pos_read(&n.shm->clean.prepared) == 3 * SEG);
	CU_ASSERT_TRUE(node_has(&n, "commitlog/00000000000001048576"));
	end();
}

TEST_MAIN("clean/clean", TEST(expired_segments_go_and_what_points_at_them), TEST(what_is_not_dispatched_or_in_use_stays),
    TEST(nothing_is_touched_while_the_broker_recovers),
#ifdef ENABLE_DEV
    TEST(min_is_published_before_the_file_goes),
#endif
    TEST(the_next_segment_is_ready_when_half_is_used_and_gone_at_a_stop),
    TEST(a_writer_that_rolls_gets_the_next_segment_at_once))

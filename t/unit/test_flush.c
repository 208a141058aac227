#include <errno.h>

#include "store/checkpoint.h"
#include "t/unit/node.h"
#include "workers/flush/flush.h"

static struct node n;

static void
begin(enum flush_type type)
{
	node_init(&n, WORKER_FLUSH);
	n.spec.conf.flushDiskType = type;
	close(node_file(&n, "commitlog/00000000000000000000", 1 << 20));
	close(node_file(&n, "commitlog/00000000000001048576", 1 << 20));
}

static void
run(void)
{
	node_start(&n, flush_run);
	node_ready(&n);
}

static void
end(void)
{
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	unsetenv("RMQ_FAULTS");
	node_free(&n);
}

static void
read_checkpoint(struct checkpoint *c)
{
	char path[PATH_MAX];
	struct err e;

	node_path(&n, "checkpoint", path);
	CU_ASSERT_EQUAL(checkpoint_read(path, c, &e), RC_OK);
}

static void
flushed_follows_each_append_with_sync_flush(void)
{
	begin(FLUSH_SYNC);
	run();
	for (int64_t at = 1000; at <= 200000; at += 1000) {
		node_append(&n, at, 1700000000000 + at);
		CU_ASSERT_TRUE_FATAL(node_until_pos(&n, &n.shm->flush.flushed, at));
	}
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed), 200000);
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed_store_ms), 1700000200000);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->flush.sync_bytes), 200000);
	CU_ASSERT_TRUE(atomic_load(&n.shm->flush.syncs) > 0);
	end();
}

static void
one_sync_covers_two_segments(void)
{
	begin(FLUSH_SYNC);
	run();
	node_append(&n, 1500000, 1);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1500000));
	end();
}

static void
segments_that_have_expired_are_passed_over(void)
{
	char path[PATH_MAX];

	begin(FLUSH_SYNC);
	node_path(&n, "commitlog/00000000000000000000", path);
	unlink(path);
	run();
	node_append(&n, 1500000, 1);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1500000));
	end();
}

static void
what_was_appended_before_the_start_is_synced(void)
{
	begin(FLUSH_SYNC);
	node_append(&n, 5000, 7);
	run();
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 5000));
	end();
}

static void
async_flush_syncs_after_its_interval(void)
{
	begin(FLUSH_ASYNC);
	n.spec.conf.flushIntervalCommitLog = 1;
	run();
	node_append(&n, 100000, 5);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 100000));
	node_append(&n, 200000, 6);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 200000));
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed_store_ms), 6);
	end();
}

static void
all_is_synced_and_in_the_checkpoint_at_a_stop(void)
{
	struct checkpoint c;

	begin(FLUSH_ASYNC);
	n.spec.conf.flushIntervalCommitLog = 3600000;
	n.spec.conf.flushCommitLogThoroughInterval = 3600000;
	run();
	node_append(&n, 4242, 1700000000042);
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed), 4242);
	read_checkpoint(&c);
	CU_ASSERT_EQUAL(c.physic_ms, 1700000000042);
	node_free(&n);
}

static void
what_the_broker_wrote_at_its_end_is_kept(void)
{
	const int64_t wrote[] = {1700000000001, 1700000000002, 5, 0, 9};
	struct checkpoint c;
	char field[8];
	int fd;

	begin(FLUSH_SYNC);
	run();
	node_append(&n, 1000, 1700000000042);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1000));
	fd = node_file(&n, "checkpoint", CHECKPOINT_BYTES);
	for (int i = 0; i < 5; i++) {
		be64_put(field, (uint64_t)wrote[i]);
		CU_ASSERT_EQUAL(pwrite(fd, field, sizeof(field), i * 8), 8);
	}
	close(fd);
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	read_checkpoint(&c);
	CU_ASSERT_EQUAL(c.physic_ms, 1700000000042);
	CU_ASSERT_EQUAL(c.logics_ms, 1700000000002);
	CU_ASSERT_EQUAL(c.index_ms, 5);
	CU_ASSERT_EQUAL(c.confirm, 9);
	node_free(&n);
}

static void
a_mark_is_answered_when_the_checkpoint_says_so(void)
{
	struct checkpoint c;
	struct ipc_msg m;
	char path[PATH_MAX];

	begin(FLUSH_SYNC);
	close(node_file(&n, "consumequeue/T/0/00000000000000000000", 6000000));
	run();
	node_append(&n, 1000, 1700000000500);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1000));
	node_path(&n, "consumequeue/T/0/00000000000000000000", path);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_FLUSH_FILE, path), RC_OK);
	node_path(&n, "consumequeue/Gone/0/00000000000000000000", path);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_FLUSH_FILE, path), RC_OK);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_FLUSH_MARK, INT64_C(7), INT64_C(1700000000400), INT64_C(900),
	    INT64_C(1700000000300), atomic_load(&n.shm->flush.life)), RC_OK);
	CU_ASSERT_TRUE_FATAL(node_message(n.peer, IPC_FLUSH_BROKER_MARKED, &m));
	CU_ASSERT_EQUAL(ipc_i64(&m), 7);
	read_checkpoint(&c);
	CU_ASSERT_EQUAL(c.physic_ms, 1700000000500);
	CU_ASSERT_EQUAL(c.logics_ms, 1700000000400);
	CU_ASSERT_EQUAL(c.index_ms, 1700000000300);
	end();
}

static void
a_mark_for_the_flush_before_is_passed_over(void)
{
	struct checkpoint c;
	struct ipc_msg m;

	begin(FLUSH_SYNC);
	run();
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	run();
	CU_ASSERT_EQUAL(atomic_load(&n.shm->flush.life), 2);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_FLUSH_MARK, INT64_C(7), INT64_C(1700000000400), INT64_C(900), INT64_C(0), INT64_C(1)),
	    RC_OK);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_FLUSH_MARK, INT64_C(8), INT64_C(1700000000300), INT64_C(800), INT64_C(0), INT64_C(2)),
	    RC_OK);
	CU_ASSERT_TRUE_FATAL(node_message(n.peer, IPC_FLUSH_BROKER_MARKED, &m));
	CU_ASSERT_EQUAL(ipc_i64(&m), 8);
	read_checkpoint(&c);
	CU_ASSERT_EQUAL(c.logics_ms, 1700000000300);
	end();
}

#ifdef ENABLE_DEV
static void
a_failed_sync_is_final(void)
{
	struct ipc_msg m;

	begin(FLUSH_SYNC);
	setenv("RMQ_FAULTS", "flush.sync=EIO@2", 1);
	run();
	node_append(&n, 1000, 1);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1000));
	node_append(&n, 2000, 2);
	CU_ASSERT_TRUE_FATAL(node_message(n.control, IPC_ALL_MASTER_EVENT, &m));
	CU_ASSERT_PTR_NOT_NULL(strstr(ipc_str(&m), "commitlog/00000000000000000000"));
	CU_ASSERT_EQUAL(atomic_load(&n.shm->flush.failed_errno), EIO);
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed), 1000);
	node_append(&n, 3000, 3); /* the fault is over: only a second try could move it */
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed), 1000);
	unsetenv("RMQ_FAULTS");
	/* nor does a new process try */
	run();
	node_append(&n, 4000, 4);
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed), 1000);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->flush.failed_errno), EIO);
	node_free(&n);
}

static void
a_flush_killed_before_it_publishes_is_followed_by_one_that_does(void)
{
	begin(FLUSH_SYNC);
	setenv("RMQ_FAULTS", "flush.before_publish=kill", 1);
	run();
	node_append(&n, 1000, 1);
	CU_ASSERT_TRUE(WIFSIGNALED(node_died(&n)));
	CU_ASSERT_EQUAL(pos_read(&n.shm->flush.flushed), 0);
	unsetenv("RMQ_FAULTS");
	run();
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1000));
	end();
}
#endif

static void
an_idle_flush_is_asleep(void)
{
	uint64_t syncs;

	begin(FLUSH_SYNC);
	run();
	node_append(&n, 1000, 1);
	CU_ASSERT_TRUE(node_until_pos(&n, &n.shm->flush.flushed, 1000));
	node_until(atomic_load(&n.shm->waiters[WORKER_FLUSH].w.armed) == 1);
	syncs = atomic_load(&n.shm->flush.syncs);
	node_append(&n, 1000, 1);
	node_until(atomic_load(&n.shm->waiters[WORKER_FLUSH].w.armed) == 1);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->flush.syncs), syncs);
	end();
}

TEST_MAIN("flush/flush", TEST(flushed_follows_each_append_with_sync_flush), TEST(one_sync_covers_two_segments),
    TEST(segments_that_have_expired_are_passed_over), TEST(what_was_appended_before_the_start_is_synced),
    TEST(async_flush_syncs_after_its_interval), TEST(all_is_synced_and_in_the_checkpoint_at_a_stop),
    TEST(what_the_broker_wrote_at_its_end_is_kept), TEST(a_mark_is_answered_when_the_checkpoint_says_so),
    TEST(a_mark_for_the_flush_before_is_passed_over),
#ifdef ENABLE_DEV
    TEST(a_failed_sync_is_final), TEST(a_flush_killed_before_it_publishes_is_followed_by_one_that_does),
#endif
    TEST(an_idle_flush_is_asleep))

/*
 * SYNC_MASTER: sends that wait for copies, what they are told when there are none, and a master that another one has
 * replaced. The facts that ha would publish are written by the test.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/role.h"
#include "workers/broker/waiters.h"

static struct fixture f;
static int fd;

static void
begin_with(const char *const *settings)
{
	fixture_start(&f, settings);
	fd = fixture_connect(&f);
}

/* One slave, in sync, and two copies are asked for. */
static void
begin(void)
{
	static const char *const settings[] = {"brokerRole=SYNC_MASTER", NULL};

	begin_with(settings);
	atomic_store(&f.w.shm->ha.needed, 2);
	atomic_store(&f.w.shm->ha.slaves, 1);
	atomic_store(&f.w.shm->ha.slaves_in_sync, 1);
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
}

static int64_t
log_end(void)
{
	return pos_read(&f.w.shm->broker.appended);
}

static void
replicate_to(int64_t position)
{
	pos_publish(&f.w.shm->ha.replicated, position);
	fixture_turns(&f, 2);
}

static bool
nothing_comes(void)
{
	char byte;

	fixture_turns(&f, 5);
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static int
next_code(void)
{
	struct got g;
	int code;

	if (!got_read(&g, &f, fd))
		return -1;
	code = g.cmd.code;
	got_free(&g);
	return code;
}

static int
pull_code(void)
{
	struct got g;
	int code;

	CU_ASSERT_FATAL(pull_one(&f, fd, "T1", 0, 0, "*", &g));
	code = g.cmd.code;
	got_free(&g);
	return code;
}

static void
a_send_waits_for_its_copy_and_consumers_do_too(void)
{
	begin();
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT(nothing_comes());
	CU_ASSERT_EQUAL(pull_code(), RES_PULL_NOT_FOUND);
	replicate_to(log_end() - 1);
	CU_ASSERT(nothing_comes());
	replicate_to(log_end());
	CU_ASSERT_EQUAL(next_code(), RES_SUCCESS);
	CU_ASSERT_EQUAL(pull_code(), RES_SUCCESS);
	end();
}

static void
a_slave_that_is_late_is_told_with_the_full_header(void)
{
	struct got g;

	begin();
	send_only(&f, fd, "T1", 0, "UNIQ_KEY\1K1\2", "one", 5);
	waiters_expire(f.b->waiters, clock_mono_us() + 2900000);
	CU_ASSERT(nothing_comes());
	waiters_expire(f.b->waiters, clock_mono_us() + 3100000);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_FLUSH_SLAVE_TIMEOUT);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "K1");
	CU_ASSERT_EQUAL(strlen(got_text(&g, "msgId")), 32);
	got_free(&g);
	end();
}

static void
without_a_slave_the_sender_is_told_at_once_and_consumers_see_it(void)
{
	begin();
	atomic_store(&f.w.shm->ha.slaves_in_sync, 0);
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT_EQUAL(next_code(), RES_SLAVE_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(pull_code(), RES_SUCCESS);
	end();
}

static void
who_waits_is_told_when_the_slave_goes(void)
{
	begin();
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT(nothing_comes());
	atomic_store(&f.w.shm->ha.slaves_in_sync, 0);
	fixture_turns(&f, 2);
	CU_ASSERT_EQUAL(next_code(), RES_SLAVE_NOT_AVAILABLE);
	end();
}

static void
a_missing_slave_does_not_hide_a_missing_sync(void)
{
	static const char *const settings[] = {"brokerRole=SYNC_MASTER", "flushDiskType=SYNC_FLUSH", NULL};

	begin_with(settings);
	atomic_store(&f.w.shm->ha.needed, 2);
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT(nothing_comes());
	CU_ASSERT_EQUAL(pull_code(), RES_PULL_NOT_FOUND);
	waiters_expire(f.b->waiters, clock_mono_us() + 6000000);
	CU_ASSERT_EQUAL(next_code(), RES_FLUSH_DISK_TIMEOUT);
	send_only(&f, fd, "T1", 0, NULL, "two", 2);
	CU_ASSERT(nothing_comes());
	pos_publish(&f.w.shm->flush.flushed, log_end());
	fixture_turns(&f, 2);
	CU_ASSERT_EQUAL(next_code(), RES_SLAVE_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(pull_code(), RES_SUCCESS);
	end();
}

static void
wait_false_does_not_wait_for_copies(void)
{
	begin();
	send_only(&f, fd, "T1", 0, "UNIQ_KEY\1K1\2WAIT\1false\2", "one", 1);
	CU_ASSERT_EQUAL(next_code(), RES_SUCCESS);
	end();
}

static void
a_shrunk_need_is_enough(void)
{
	begin();
	atomic_store(&f.w.shm->ha.slaves_in_sync, 0);
	atomic_store(&f.w.shm->ha.needed, 1); /* enableAutoInSyncReplicas */
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	replicate_to(log_end());
	CU_ASSERT_EQUAL(next_code(), RES_SUCCESS);
	end();
}

static void
below_the_least_number_of_copies_nothing_is_stored(void)
{
	static const char *const settings[] = {"brokerRole=SYNC_MASTER", "minInSyncReplicas=2", NULL};
	struct got g;
	int64_t before;

	begin_with(settings);
	atomic_store(&f.w.shm->ha.needed, 2);
	before = log_end();
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "one", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), "in-sync replicas not enough");
	got_free(&g);
	CU_ASSERT_EQUAL(log_end(), before);
	send_only(&f, fd, "T1", 0, "WAIT\1false\2", "two", 2);
	CU_ASSERT_EQUAL(next_code(), RES_SUCCESS);
	end();
}

/* ---- no longer the master */

static void
a_fenced_master_acknowledges_nothing(void)
{
	struct got g;

	begin();
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT(nothing_comes());
	pos_publish(&f.w.shm->ha.fenced_epoch, 7);
	atomic_store(&f.w.shm->ha.fenced, 1);
	fixture_turns(&f, 2);
	replicate_to(log_end());
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), "epoch 7"));
	got_free(&g);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "two", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SERVICE_NOT_AVAILABLE);
	got_free(&g);
	CU_ASSERT_FALSE(broker_is_master(f.b));
	end();
}

static void
what_was_staged_when_the_fence_fell_is_not_acknowledged(void)
{
	static const char *const settings[] = {"brokerRole=ASYNC_MASTER", NULL};
	struct got g;

	begin_with(settings);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "zero", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	role_told(f.b, ROLE_SLAVE, 2);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "one", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SERVICE_NOT_AVAILABLE);
	got_free(&g);
	end();
}

static void
while_the_role_moves_nothing_is_stored_and_afterwards_it_is_again(void)
{
	struct got g;
	int64_t before;

	begin();
	before = log_end();
	atomic_store(&f.w.shm->master.handover, 1);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "one", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SERVICE_NOT_AVAILABLE);
	got_free(&g);
	CU_ASSERT_EQUAL(log_end(), before);
	atomic_store(&f.w.shm->master.handover, 0);
	send_only(&f, fd, "T1", 0, NULL, "two", 2);
	replicate_to(log_end());
	CU_ASSERT_EQUAL(next_code(), RES_SUCCESS);
	end();
}

static void
a_master_of_copies_becomes_one_without(void)
{
	begin();
	atomic_store(&f.w.shm->master.role, ROLE_ASYNC_MASTER);
	role_told(f.b, ROLE_ASYNC_MASTER, 1);
	CU_ASSERT_EQUAL(f.b->conf->brokerRole, ROLE_ASYNC_MASTER);
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT_EQUAL(next_code(), RES_SUCCESS);
	end();
}

TEST_MAIN("broker/sync_master", TEST(a_send_waits_for_its_copy_and_consumers_do_too),
	  TEST(a_slave_that_is_late_is_told_with_the_full_header),
	  TEST(without_a_slave_the_sender_is_told_at_once_and_consumers_see_it),
	  TEST(who_waits_is_told_when_the_slave_goes), TEST(a_missing_slave_does_not_hide_a_missing_sync),
	  TEST(wait_false_does_not_wait_for_copies), TEST(a_shrunk_need_is_enough),
	  TEST(below_the_least_number_of_copies_nothing_is_stored), TEST(a_fenced_master_acknowledges_nothing),
	  TEST(what_was_staged_when_the_fence_fell_is_not_acknowledged),
	  TEST(while_the_role_moves_nothing_is_stored_and_afterwards_it_is_again),
	  TEST(a_master_of_copies_becomes_one_without))

/*
 * Sends that wait for flush: answered when it has passed them, late with the full header, never with success after a failed sync.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/waiters.h"

static struct fixture f;
static int fd;

static void
begin(void)
{
	static const char *const settings[] = {"flushDiskType=SYNC_FLUSH", "syncFlushTimeout=5000", NULL};

	fixture_start(&f, settings);
	fd = fixture_connect(&f);
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
}

static void
flush_to(int64_t position)
{
	pos_publish(&f.w.shm->flush.flushed, position);
	fixture_turns(&f, 2);
}

static bool
nothing_comes(void)
{
	char byte;

	fixture_turns(&f, 5);
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static void
answer_waits_for_flush(void)
{
	struct got g;

	begin();
	send_only(&f, fd, "T1", 0, "UNIQ_KEY\1K1\2", "one", 1);
	CU_ASSERT(nothing_comes());
	CU_ASSERT_EQUAL(waiters_count(f.b->waiters), 1);
	flush_to(pos_read(&f.w.shm->broker.appended) - 1);
	CU_ASSERT(nothing_comes());
	flush_to(pos_read(&f.w.shm->broker.appended));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "K1");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueOffset"), "0");
	CU_ASSERT_EQUAL(strlen(got_text(&g, "msgId")), 32);
	got_free(&g);
	end();
}

static void
consumers_see_only_what_is_flushed(void)
{
	struct got g;

	begin();
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT_FATAL(pull_one(&f, fd, "T1", 0, 0, "*", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_PULL_NOT_FOUND);
	got_free(&g);
	flush_to(pos_read(&f.w.shm->broker.appended));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	got_free(&g);
	CU_ASSERT_FATAL(pull_one(&f, fd, "T1", 0, 0, "*", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	end();
}

static void
wait_false_is_answered_at_once(void)
{
	struct got g;

	begin();
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "UNIQ_KEY\1K1\2WAIT\1false\2", "one", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	end();
}

static void
late_flush_is_told_with_the_full_header(void)
{
	struct got g;

	begin();
	send_only(&f, fd, "T1", 0, "UNIQ_KEY\1K1\2", "one", 5);
	waiters_expire(f.b->waiters, clock_mono_us() + 4900000);
	CU_ASSERT(nothing_comes());
	waiters_expire(f.b->waiters, clock_mono_us() + 5100000);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_FLUSH_DISK_TIMEOUT);
	CU_ASSERT_EQUAL(g.cmd.opaque, 5);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "K1");
	CU_ASSERT_EQUAL(strlen(got_text(&g, "msgId")), 32);
	got_free(&g);
	end();
}

static void
failed_sync_is_never_success(void)
{
	struct got g;

	begin();
	send_only(&f, fd, "T1", 0, NULL, "one", 1);
	CU_ASSERT(nothing_comes());
	atomic_store(&f.w.shm->flush.failed_errno, EIO);
	flush_to(pos_read(&f.w.shm->broker.appended));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), strerror(EIO)));
	got_free(&g);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "two", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SERVICE_NOT_AVAILABLE);
	got_free(&g);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->broker.state), NODE_FAILED);
	end();
}

static void
long_keys_are_kept_whole(void)
{
	char props[400] = "UNIQ_KEY\1", key[301];
	struct got g;

	begin();
	memset(key, 'k', 300);
	key[300] = '\0';
	strcat(props, key);
	strcat(props, "\2");
	send_only(&f, fd, "T1", 0, props, "one", 1);
	flush_to(pos_read(&f.w.shm->broker.appended));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), key);
	got_free(&g);
	end();
}

TEST_MAIN("broker/waiters", TEST(answer_waits_for_flush), TEST(consumers_see_only_what_is_flushed),
    TEST(wait_false_is_answered_at_once), TEST(late_flush_is_told_with_the_full_header), TEST(failed_sync_is_never_success),
    TEST(long_keys_are_kept_whole))

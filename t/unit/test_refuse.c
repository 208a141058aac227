/*
 * Sends that cannot be stored: the disk is full before the write, or turns out to be full in it. Nothing is acknowledged, consumers
 * see nothing of it, and it goes on when there is room again.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/unit/broker_fixture.h"

static struct fixture f;
static int fd;

static void
sends(int code, const char *words)
{
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), words));
	got_free(&g);
}

static int64_t
stored(void)
{
	return queue_max(store_queue_find(f.b->store, SLICE_LIT("T1"), 0));
}

static void
full_disk_refuses_with_cause_path_and_numbers(void)
{
	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	sends(RES_SUCCESS, "");
	atomic_store(&f.w.shm->clean.disk_total_bytes, (int64_t)100 << 30);
	atomic_store(&f.w.shm->clean.disk_free_bytes, (int64_t)3 << 30);
	atomic_store(&f.w.shm->clean.disk_full, 1);
	sends(RES_SERVICE_NOT_AVAILABLE, "service not available now.");
	sends(RES_SERVICE_NOT_AVAILABLE, "3072 of 102400 MiB are free");
	sends(RES_SERVICE_NOT_AVAILABLE, f.dir);
	atomic_store(&f.w.shm->clean.disk_full, 0);
	sends(RES_SUCCESS, "");
	CU_ASSERT_EQUAL(stored(), 2);
	close(fd);
	fixture_stop(&f);
}

#ifdef ENABLE_DEV
/* Writes of this process are counted from its first; the first test has made two. */
static void
write_that_meets_a_full_disk_refuses_all_of_its_turn(void)
{
	struct got g;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	sends(RES_SUCCESS, "");
	sends(RES_SERVICE_NOT_AVAILABLE, "service not available now.");
	sends(RES_SUCCESS, "");
	CU_ASSERT_EQUAL(stored(), 2);
	CU_ASSERT_FATAL(pull_one(&f, fd, "T1", 0, 0, "*", &g));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "nextBeginOffset"), "2");
	got_free(&g);
	close(fd);
	fixture_stop(&f);
}
#endif

int
main(void)
{
	static const struct test_row rows[] = {TEST(full_disk_refuses_with_cause_path_and_numbers),
#ifdef ENABLE_DEV
	    TEST(write_that_meets_a_full_disk_refuses_all_of_its_turn)
#endif
	};

	setenv("RMQ_FAULTS", "append.write=ENOSPC@4", 1);
	return test_run("broker/refuse", rows, COUNT_OF(rows));
}

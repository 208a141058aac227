/*
 * test_fault: RMQ_FAULTS, each case in a child, since it is read once per process.
 */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"

/* Runs passes of flush.sync in a child: its exit status, or 1000 + the signal that ended it. */
static int
run(const char *faults, int (*child)(void))
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		CU_ASSERT(log_set_level("error") == RC_OK);
		setenv("RMQ_FAULTS", faults, 1);
		_exit(child());
	}
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* How many of five passes fail; 100 more for each with another errno than EIO. */
static int
five_passes(void)
{
	int failed = 0;

	for (int i = 0; i < 5; i++) {
		int error = fault_hit(FAULT_FLUSH_SYNC);

		failed += error == 0 ? 0 : error == EIO ? 1 : 100;
	}
	return failed;
}

static int
first_failing_pass(void)
{
	for (int i = 1; i <= 5; i++)
		if (fault_hit(FAULT_FLUSH_SYNC) == ENOSPC)
			return i;
	return 0;
}

static int
two_passes(void)
{
	return fault_hit(FAULT_FLUSH_SYNC) + fault_hit(FAULT_FLUSH_SYNC);
}

static void
nothing_happens_without_faults(void)
{
	CU_ASSERT_EQUAL(run("", five_passes), 0);
	CU_ASSERT_EQUAL(run("append.write=EIO", five_passes), 0);
}

static void
an_errno_is_answered_at_each_pass(void)
{
	CU_ASSERT_EQUAL(run("flush.sync=EIO", five_passes), 5);
	CU_ASSERT_EQUAL(run("append.write=ENOSPC, flush.sync=EIO", five_passes), 5);
}

static void
a_count_names_the_one_pass(void)
{
	CU_ASSERT_EQUAL(run("flush.sync=EIO@2", five_passes), 1);
	CU_ASSERT_EQUAL(run("flush.sync=ENOSPC@4", first_failing_pass), 4);
}

static void
kill_ends_the_process_at_that_pass(void)
{
	CU_ASSERT_EQUAL(run("flush.sync=kill@5", five_passes), 1000 + SIGKILL);
	CU_ASSERT_EQUAL(run("flush.sync=kill@3", two_passes), 0);
	CU_ASSERT_EQUAL(run("flush.sync=kill", two_passes), 1000 + SIGKILL);
}

static void
what_is_no_fault_is_left_out(void)
{
	CU_ASSERT_EQUAL(run("flush.sync,flush.sync=,=EIO,flush.sync=EWHAT,nowhere=kill,flush.sync=EIO@x", five_passes),
			0);
}

TEST_MAIN("common/fault", TEST(nothing_happens_without_faults), TEST(an_errno_is_answered_at_each_pass),
    TEST(a_count_names_the_one_pass), TEST(kill_ends_the_process_at_that_pass), TEST(what_is_no_fault_is_left_out))

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/fillahead.h"
#include "t/unit/test.h"

#define AHEAD (1 << 20)
#define SEG   (3 * AHEAD)

static int fd;

static void
begin(void)
{
	char path[64] = "/tmp/test_fillahead.XXXXXX";

	fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	unlink(path);
	CU_ASSERT_EQUAL(ftruncate(fd, SEG), 0);
}

/* A sparse file has blocks where something was written. */
static int64_t
blocks_bytes(void)
{
	struct stat st;

	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	return (int64_t)st.st_blocks * 512;
}

static void
put(struct fillahead *f, int64_t at, int64_t n)
{
	static char text[4096];

	memset(text, 'x', sizeof(text));
	CU_ASSERT_EQUAL(pwrite(fd, text, (size_t)n, at), n);
	fillahead_write(f, fd, at, n, SEG);
}

static void
zeros_go_ahead_of_the_records_and_not_over_them(void)
{
	struct fillahead f;
	char c[2];

	begin();
	fillahead_enter(&f, true, 0);
	for (int64_t at = 0; at < 2 * AHEAD; at += 1000)
		put(&f, at, 1000);
	CU_ASSERT_TRUE(f.done > 2 * AHEAD);
	for (int64_t at = 0; at < 2 * AHEAD; at += 500) {
		CU_ASSERT_EQUAL(pread(fd, c, 1, at), 1);
		CU_ASSERT_EQUAL(c[0], 'x');
	}
	CU_ASSERT_EQUAL(fsync(fd), 0);
	CU_ASSERT_TRUE(blocks_bytes() >= f.done);
	close(fd);
}

static void
nothing_is_filled_in_a_segment_that_is_ready(void)
{
	struct fillahead f;

	begin();
	fillahead_enter(&f, false, 0);
	put(&f, 0, 1000);
	CU_ASSERT_EQUAL(fsync(fd), 0);
	CU_ASSERT_TRUE(blocks_bytes() < AHEAD / 2);
	close(fd);
}

static void
the_segment_does_not_grow(void)
{
	struct fillahead f;
	struct stat st;

	begin();
	fillahead_enter(&f, true, SEG - 3000);
	put(&f, SEG - 3000, 1000);
	put(&f, SEG - 2000, 2000);
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, SEG);
	close(fd);
}

static void
a_failing_fill_ends_it(void)
{
	struct fillahead f;

	fillahead_enter(&f, true, 0);
	fillahead_write(&f, -1, 0, 10, SEG);
	CU_ASSERT_FALSE(f.on);
}

TEST_MAIN("store/fillahead", TEST(zeros_go_ahead_of_the_records_and_not_over_them),
    TEST(nothing_is_filled_in_a_segment_that_is_ready), TEST(the_segment_does_not_grow), TEST(a_failing_fill_ends_it))

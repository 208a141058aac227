#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/unit/test.h"
#include "workers/clean/prepare.h"

#define SIZE (3 * PREPARE_CHUNK + 4096)

static char dir[64];
static struct segs segs;
static struct prepare prep;
static struct err err;

static void
begin(void)
{
	snprintf(dir, sizeof(dir), "%s", "/tmp/test_prepare.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	segs_init(&segs, dir, SIZE, "mappedFileSizeCommitLog");
	prepare_init(&prep, &segs);
}

static void
end(void)
{
	char cmd[128];

	prepare_drop(&prep);
	segs_free(&segs);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	CU_ASSERT_EQUAL(system(cmd), 0);
}

static int64_t
size_of(const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void
put_file(const char *name, off_t bytes)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/prepare", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/prepare/%s", dir, name);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(ftruncate(fileno(f), bytes), 0);
	fclose(f);
}

static unsigned
fill(void)
{
	enum rc rc;
	unsigned steps = 0;

	while ((rc = prepare_step(&prep, &err)) == RC_AGAIN)
		steps++;
	CU_ASSERT_EQUAL(rc, RC_OK);
	return steps;
}

static void
a_file_is_filled_in_chunks_and_named_when_it_is_whole(void)
{
	int fd;

	begin();
	CU_ASSERT_EQUAL_FATAL(prepare_begin(&prep, SIZE, &err), RC_OK);
	CU_ASSERT_EQUAL(prepare_step(&prep, &err), RC_AGAIN);
	CU_ASSERT_EQUAL(segs_take_prepared(&segs, SIZE, &fd, &err), RC_NOTFOUND);
	CU_ASSERT_EQUAL(fill(), 3);
	CU_ASSERT_EQUAL(prep.state, PREPARE_READY);
	CU_ASSERT_EQUAL_FATAL(segs_take_prepared(&segs, SIZE, &fd, &err), RC_OK);
	close(fd);
	CU_ASSERT_EQUAL(size_of("00000000000003149824"), SIZE);
	end();
}

static void
nothing_is_made_before_half_of_the_first_segment_is_used(void)
{
	begin();
	CU_ASSERT_EQUAL(prepare_wanted(&prep, 0, false), -1);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE / 2, false), -1);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE / 2 + 1, false), SIZE);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE + 1, false), -1);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE + 1, true), 2 * (int64_t)SIZE);
	end();
}

static void
one_segment_ahead_and_no_more(void)
{
	begin();
	CU_ASSERT_EQUAL(prepare_begin(&prep, SIZE, &err), RC_OK);
	fill();
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE - 1, true), -1);
	/* the writer stands at the very end: it is about to take what is ready */
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE, true), -1);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE + 1, true), 2 * (int64_t)SIZE);
	end();
}

static void
what_a_crash_left_unfinished_is_removed(void)
{
	begin();
	put_file("00000000000003149824.tmp", 100);
	put_file("00000000000003149824", 100);
	prepare_adopt(&prep, SIZE);
	CU_ASSERT_EQUAL(prep.state, PREPARE_NONE);
	CU_ASSERT_EQUAL(size_of("prepare/00000000000003149824.tmp"), -1);
	CU_ASSERT_EQUAL(size_of("prepare/00000000000003149824"), -1);
	end();
}

static void
what_a_crash_left_whole_is_used_if_it_is_the_next_one(void)
{
	begin();
	put_file("00000000000003149824", SIZE);
	put_file("00000000000000000000", SIZE);
	prepare_adopt(&prep, SIZE);
	CU_ASSERT_EQUAL(prep.state, PREPARE_READY);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, SIZE - 1, true), -1);
	CU_ASSERT_EQUAL(size_of("prepare/00000000000003149824"), SIZE);
	CU_ASSERT_EQUAL(size_of("prepare/00000000000000000000"), -1);
	end();
}

static void
a_clean_end_leaves_no_directory(void)
{
	begin();
	CU_ASSERT_EQUAL(prepare_begin(&prep, SIZE, &err), RC_OK);
	fill();
	prepare_remove_all(&prep);
	CU_ASSERT_EQUAL(size_of("prepare"), -1);
	prepare_remove_all(&prep);
	end();
}

static void
a_full_disk_leaves_nothing_and_is_not_tried_again(void)
{
	begin();
	segs.file_bytes = INT64_C(1) << 46;
	enum rc rc = prepare_begin(&prep, segs.file_bytes, &err);
	CU_ASSERT_TRUE(rc == RC_FULL || rc == RC_IO);
	CU_ASSERT_EQUAL(prep.state, PREPARE_GAVE_UP);
	CU_ASSERT_EQUAL(prepare_wanted(&prep, segs.file_bytes, true), -1);
	CU_ASSERT_EQUAL(rmdir(strcat(strcpy((char[PATH_MAX]){0}, dir), "/prepare")), 0);
	end();
}

static void
a_writer_that_is_near_is_not_kept_waiting(void)
{
	begin();
	CU_ASSERT_EQUAL(prepare_begin(&prep, SIZE, &err), RC_OK);
	CU_ASSERT_EQUAL(prepare_pause_ms(&prep, SIZE / 2), 0);
	fill();
	CU_ASSERT_TRUE(prepare_pause_ms(&prep, SIZE / 2) > 0);
	CU_ASSERT_EQUAL(prepare_pause_ms(&prep, SIZE - 1), 0);
	end();
}

static void
without_waiting_syncs_the_blocks_are_only_reserved(void)
{
	char path[512];
	struct stat st;

	begin();
	prep.reserve_only = true;
	CU_ASSERT_EQUAL_FATAL(prepare_begin(&prep, SIZE, &err), RC_OK);
	CU_ASSERT_EQUAL(prepare_step(&prep, &err), RC_OK);
	CU_ASSERT_EQUAL(prep.state, PREPARE_READY);
	segs_prepare_path(&segs, SIZE, path, sizeof(path));
	CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, SIZE);
	CU_ASSERT(st.st_blocks * 512 >= SIZE);
	end();
}

TEST_MAIN("clean/prepare", TEST(a_file_is_filled_in_chunks_and_named_when_it_is_whole),
    TEST(nothing_is_made_before_half_of_the_first_segment_is_used), TEST(one_segment_ahead_and_no_more),
    TEST(what_a_crash_left_unfinished_is_removed), TEST(what_a_crash_left_whole_is_used_if_it_is_the_next_one),
    TEST(a_clean_end_leaves_no_directory), TEST(a_full_disk_leaves_nothing_and_is_not_tried_again),
    TEST(a_writer_that_is_near_is_not_kept_waiting),
    TEST(without_waiting_syncs_the_blocks_are_only_reserved))

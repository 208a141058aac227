#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/lockfile.h"
#include "store/segs.h"
#include "t/unit/test.h"

#define FILE_BYTES 4096

static char dir[64];
static struct segs segs;
static struct err err;

static void
begin(void)
{
	snprintf(dir, sizeof(dir), "%s", "/tmp/test_segs.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	segs_init(&segs, dir, FILE_BYTES, "mappedFileSizeCommitLog");
	err.text[0] = '\0';
}

static void
end(void)
{
	char cmd[128];

	segs_free(&segs);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	CU_ASSERT_EQUAL(system(cmd), 0);
}

static void
put_file(const char *name, off_t bytes)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CU_ASSERT_TRUE_FATAL(fd >= 0 && ftruncate(fd, bytes) == 0);
	close(fd);
}

static bool
is_there(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void
files_are_listed_in_order_and_directories_passed_over(void)
{
	char sub[128];

	begin();
	put_file("00000000000000008192", FILE_BYTES);
	put_file("00000000000000004096", FILE_BYTES);
	snprintf(sub, sizeof(sub), "%s/prepare", dir);
	CU_ASSERT_EQUAL(mkdir(sub, 0700), 0);
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_OK);
	CU_ASSERT_EQUAL_FATAL(segs.count, 2);
	CU_ASSERT_EQUAL(segs_min(&segs), 4096);
	CU_ASSERT_EQUAL(segs_end(&segs), 12288);
	CU_ASSERT_EQUAL(segs_index(&segs, 4095), -1);
	CU_ASSERT_EQUAL(segs_index(&segs, 4096), 0);
	CU_ASSERT_EQUAL(segs_index(&segs, 8191), 0);
	CU_ASSERT_EQUAL(segs_index(&segs, 12287), 1);
	CU_ASSERT_EQUAL(segs_index(&segs, 12288), -1);
	end();
}

static void
a_directory_that_is_not_there_has_no_files(void)
{
	begin();
	CU_ASSERT_EQUAL(rmdir(dir), 0);
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_OK);
	CU_ASSERT_EQUAL(segs.count, 0);
	CU_ASSERT_EQUAL(segs_end(&segs), 0);
	CU_ASSERT_EQUAL(mkdir(dir, 0700), 0);
	end();
}

static void
a_file_of_another_size_is_refused_and_the_key_is_named(void)
{
	begin();
	put_file("00000000000000000000", FILE_BYTES);
	put_file("00000000000000004096", FILE_BYTES - 1);
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "mappedFileSizeCommitLog"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "00000000000000004096"));
	CU_ASSERT_EQUAL(segs.count, 0);
	end();
}

static void
a_name_that_is_no_offset_is_refused(void)
{
	begin();
	put_file("0000000000000000000x", FILE_BYTES);
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "0000000000000000000x"));
	end();
}

static void
a_name_that_is_no_multiple_of_the_size_is_refused(void)
{
	begin();
	put_file("00000000000000000001", FILE_BYTES);
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_BADDATA);
	end();
}

static void
an_empty_last_file_is_removed_by_load_and_kept_by_scan(void)
{
	begin();
	put_file("00000000000000000000", FILE_BYTES);
	put_file("00000000000000004096", 0);
	CU_ASSERT_EQUAL(segs_scan(&segs, &err), RC_OK);
	CU_ASSERT_EQUAL(segs.count, 1);
	CU_ASSERT_TRUE(is_there("00000000000000004096"));
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_OK);
	CU_ASSERT_EQUAL(segs.count, 1);
	CU_ASSERT_FALSE(is_there("00000000000000004096"));
	end();
}

static void
an_empty_file_in_the_middle_is_refused(void)
{
	begin();
	put_file("00000000000000000000", 0);
	put_file("00000000000000004096", FILE_BYTES);
	CU_ASSERT_EQUAL(segs_load(&segs, &err), RC_BADDATA);
	CU_ASSERT_TRUE(is_there("00000000000000000000"));
	end();
}

static void
a_new_file_has_its_full_size(void)
{
	struct stat st;
	int fd;

	begin();
	CU_ASSERT_EQUAL(rmdir(dir), 0);
	CU_ASSERT_EQUAL_FATAL(segs_create(&segs, 0, SEG_RESERVED, &fd, &err), RC_OK);
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, FILE_BYTES);
	CU_ASSERT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CU_ASSERT_EQUAL(segs.count, 1);
	close(fd);
	CU_ASSERT_EQUAL(segs_create(&segs, 0, SEG_RESERVED, &fd, &err), RC_IO);
	CU_ASSERT_EQUAL(segs_sync_dir(&segs, &err), RC_OK);
	CU_ASSERT_EQUAL(segs_unlink(&segs, 0, &err), RC_OK);
	CU_ASSERT_EQUAL(segs_unlink(&segs, 0, &err), RC_OK);
	CU_ASSERT_EQUAL(segs_open(&segs, 0, SEG_READ, &fd, &err), RC_NOTFOUND);
	end();
}

static void
a_file_that_does_not_fit_leaves_nothing_behind(void)
{
	int fd;

	begin();
	segs.file_bytes = INT64_C(1) << 46; /* 64 TiB: no disk of a test has it; a limit of the file system answers EFBIG */
	enum rc rc = segs_create(&segs, 0, SEG_RESERVED, &fd, &err);
	CU_ASSERT_TRUE(rc == RC_FULL || rc == RC_IO);
	CU_ASSERT_FALSE(is_there("00000000000000000000"));
	CU_ASSERT_EQUAL(segs.count, 0);
	CU_ASSERT_TRUE(strlen(err.text) > 0);
	end();
}

static void
a_prepared_file_is_taken_by_rename(void)
{
	char sub[128];
	int fd;

	begin();
	snprintf(sub, sizeof(sub), "%s/prepare", dir);
	CU_ASSERT_EQUAL(mkdir(sub, 0700), 0);
	CU_ASSERT_EQUAL(segs_take_prepared(&segs, 4096, &fd, &err), RC_NOTFOUND);
	put_file("prepare/00000000000000004096", FILE_BYTES);
	put_file("prepare/00000000000000008192", FILE_BYTES / 2);
	CU_ASSERT_EQUAL_FATAL(segs_take_prepared(&segs, 4096, &fd, &err), RC_OK);
	close(fd);
	CU_ASSERT_TRUE(is_there("00000000000000004096"));
	CU_ASSERT_FALSE(is_there("prepare/00000000000000004096"));
	CU_ASSERT_EQUAL(segs_end(&segs), 8192);
	CU_ASSERT_EQUAL(segs_take_prepared(&segs, 8192, &fd, &err), RC_NOTFOUND);
	end();
}

static void
a_prepared_file_does_not_replace_one_that_is_there(void)
{
	char sub[128];
	int fd;

	begin();
	snprintf(sub, sizeof(sub), "%s/prepare", dir);
	CU_ASSERT_EQUAL(mkdir(sub, 0700), 0);
	put_file("00000000000000000000", FILE_BYTES);
	put_file("prepare/00000000000000000000", FILE_BYTES);
	CU_ASSERT_EQUAL(segs_take_prepared(&segs, 0, &fd, &err), RC_IO);
	CU_ASSERT_TRUE(is_there("prepare/00000000000000000000"));
	end();
}

static void
the_list_follows_what_is_added_and_dropped(void)
{
	begin();
	for (int i = 0; i < 40; i++)
		segs_add(&segs, (int64_t)i * FILE_BYTES);
	segs_drop_first(&segs, 10);
	segs_drop_last(&segs);
	CU_ASSERT_EQUAL(segs.count, 29);
	CU_ASSERT_EQUAL(segs_min(&segs), 10 * FILE_BYTES);
	CU_ASSERT_EQUAL(segs_end(&segs), 39 * FILE_BYTES);
	CU_ASSERT_EQUAL(segs_start(&segs, 39 * FILE_BYTES - 1), 38 * FILE_BYTES);
	end();
}

static void
names_that_are_too_large_are_no_offsets(void)
{
	int64_t v;

	CU_ASSERT_EQUAL(segs_parse_name("09223372036854775807", &v), RC_OK);
	CU_ASSERT_EQUAL(v, INT64_MAX);
	CU_ASSERT_EQUAL(segs_parse_name("09223372036854775808", &v), RC_BADDATA);
	CU_ASSERT_EQUAL(segs_parse_name("99999999999999999999", &v), RC_BADDATA);
	CU_ASSERT_EQUAL(segs_parse_name("", &v), RC_BADDATA);
	CU_ASSERT_EQUAL(segs_parse_name("-1", &v), RC_BADDATA);
}

static void
the_size_is_guessed_from_the_files(void)
{
	int64_t bytes;

	begin();
	CU_ASSERT_EQUAL(segs_guess_bytes(dir, &bytes, &err), RC_NOTFOUND);
	put_file("00000000000000000000", FILE_BYTES);
	CU_ASSERT_EQUAL(segs_guess_bytes(dir, &bytes, &err), RC_OK);
	CU_ASSERT_EQUAL(bytes, FILE_BYTES);
	end();
}

static void
several_log_paths_are_refused(void)
{
	CU_ASSERT_EQUAL(segs_check_path("/a", &err), RC_OK);
	CU_ASSERT_EQUAL(segs_check_path("/a,/b", &err), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/a,/b"));
}

static void
a_second_process_is_told_who_holds_the_store(void)
{
	long holder = 0;
	int fd, status;
	pid_t child;

	begin();
	CU_ASSERT_EQUAL_FATAL(lockfile_take(dir, &fd, NULL, &err), RC_OK);
	child = fork();
	if (child == 0) {
		int other;
		enum rc rc = lockfile_take(dir, &other, &holder, &err);

		_exit(rc == RC_BUSY && holder == (long)getppid() && lockfile_holder(dir) == holder && other == -1 ? 0 : 1);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_EQUAL(status, 0);
	lockfile_release(&fd);
	CU_ASSERT_EQUAL(fd, -1);
	CU_ASSERT_EQUAL(lockfile_take(dir, &fd, NULL, &err), RC_OK);
	lockfile_release(&fd);
	end();
}

TEST_MAIN("store/segs", TEST(files_are_listed_in_order_and_directories_passed_over),
    TEST(a_directory_that_is_not_there_has_no_files), TEST(a_file_of_another_size_is_refused_and_the_key_is_named),
    TEST(a_name_that_is_no_offset_is_refused), TEST(a_name_that_is_no_multiple_of_the_size_is_refused),
    TEST(an_empty_last_file_is_removed_by_load_and_kept_by_scan), TEST(an_empty_file_in_the_middle_is_refused),
    TEST(a_new_file_has_its_full_size), TEST(a_file_that_does_not_fit_leaves_nothing_behind),
    TEST(a_prepared_file_is_taken_by_rename), TEST(a_prepared_file_does_not_replace_one_that_is_there),
    TEST(the_list_follows_what_is_added_and_dropped), TEST(names_that_are_too_large_are_no_offsets),
    TEST(the_size_is_guessed_from_the_files), TEST(several_log_paths_are_refused),
    TEST(a_second_process_is_told_who_holds_the_store))

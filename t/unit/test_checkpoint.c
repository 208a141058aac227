#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/checkpoint.h"
#include "t/unit/test.h"

static char path[64];
static struct err err;

static void
begin(void)
{
	int fd;

	snprintf(path, sizeof(path), "%s", "/tmp/test_checkpoint.XXXXXX");
	fd = mkstemp(path);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	close(fd);
	unlink(path);
}

static void
what_is_written_is_read_again(void)
{
	struct checkpoint in = {1700000000001, 1700000000002, 3, 4, 5}, out;
	struct stat st;

	begin();
	CU_ASSERT_EQUAL(checkpoint_write(path, &in, &err), RC_OK);
	CU_ASSERT_EQUAL(checkpoint_read(path, &out, &err), RC_OK);
	CU_ASSERT_EQUAL(memcmp(&in, &out, sizeof(in)), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, CHECKPOINT_BYTES);
	unlink(path);
}

static void
the_fields_stand_where_the_original_has_them(void)
{
	struct checkpoint c = {0x0102030405060708, 0, 0x1112131415161718, 0, 0};
	unsigned char b[40];
	int fd;

	begin();
	CU_ASSERT_EQUAL(checkpoint_write(path, &c, &err), RC_OK);
	fd = open(path, O_RDONLY);
	CU_ASSERT_EQUAL(read(fd, b, sizeof(b)), 40);
	close(fd);
	CU_ASSERT_EQUAL(b[0], 0x01);
	CU_ASSERT_EQUAL(b[7], 0x08);
	CU_ASSERT_EQUAL(b[16], 0x11);
	unlink(path);
}

static void
a_rewrite_keeps_what_stands_behind_the_fields(void)
{
	struct checkpoint c = {1, 2, 3, 4, 5};
	char byte = 'x';
	int fd;

	begin();
	CU_ASSERT_EQUAL(checkpoint_write(path, &c, &err), RC_OK);
	fd = open(path, O_RDWR);
	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, 4095), 1);
	CU_ASSERT_EQUAL(checkpoint_write(path, &c, &err), RC_OK);
	byte = 0;
	CU_ASSERT_EQUAL(pread(fd, &byte, 1, 4095), 1);
	CU_ASSERT_EQUAL(byte, 'x');
	close(fd);
	unlink(path);
}

static void
no_file_and_a_short_file_are_told_apart(void)
{
	struct checkpoint c;
	int fd;

	begin();
	CU_ASSERT_EQUAL(checkpoint_read(path, &c, &err), RC_NOTFOUND);
	CU_ASSERT_EQUAL(c.physic_ms, 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CU_ASSERT_EQUAL(ftruncate(fd, 39), 0);
	close(fd);
	CU_ASSERT_EQUAL(checkpoint_read(path, &c, &err), RC_BADDATA);
	unlink(path);
}

static void
recovery_begins_three_seconds_before_the_oldest_time(void)
{
	struct checkpoint c = {.physic_ms = 10000, .logics_ms = 9000, .index_ms = 8000};

	CU_ASSERT_EQUAL(checkpoint_recover_ms(&c, false), 6000);
	CU_ASSERT_EQUAL(checkpoint_recover_ms(&c, true), 5000);
	c.logics_ms = 100;
	CU_ASSERT_EQUAL(checkpoint_recover_ms(&c, false), 0);
}

TEST_MAIN("store/checkpoint", TEST(what_is_written_is_read_again), TEST(the_fields_stand_where_the_original_has_them),
    TEST(a_rewrite_keeps_what_stands_behind_the_fields), TEST(no_file_and_a_short_file_are_told_apart),
    TEST(recovery_begins_three_seconds_before_the_oldest_time))

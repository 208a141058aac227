#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/message.h"
#include "store/checkpoint.h"
#include "t/unit/test.h"
#include "tools/dump.h"

#define SEG	    65536
#define QUEUE_FILE  (20 * 32)
#define SLOTS	    100
#define INDEX_BYTES (40 + 4 * SLOTS + 4 * 20 * SLOTS)
#define STORE_MS    INT64_C(1700000000000)
#define MESSAGES    60

static char dir[64];
static char output[1 << 16];
static int64_t at[MESSAGES], log_end;

int
dump_fail(const char *fmt, ...)
{
	(void)fmt;
	return DUMP_FAILED;
}

static int
open_file(const char *name, off_t bytes)
{
	char path[PATH_MAX], *p;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (p = path + strlen(dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	if (bytes > 0)
		CU_ASSERT_EQUAL(ftruncate(fd, bytes), 0);
	return fd;
}

static void
put_at(const char *name, off_t where, const void *p, size_t n)
{
	int fd = open_file(name, 0);

	CU_ASSERT_EQUAL(pwrite(fd, p, n, where), (ssize_t)n);
	close(fd);
}

/* ---- a store of MESSAGES messages in two queues, two segments, with an index */

static void
log_name(int64_t from, char name[64])
{
	snprintf(name, 64, "commitlog/%020lld", (long long)from);
}

static size_t
encode(int i, int64_t physical, char *out)
{
	struct message m = {.topic = SLICE_LIT("orders"), .queue_id = i % 2, .queue_offset = i / 2, .physical = physical,
	    .born_ms = STORE_MS, .store_ms = STORE_MS + i, .born_host = {.ip = {127, 0, 0, 1}}, .store_host = {.ip = {127, 0, 0, 1}}};
	char props[64], body[2048];

	memset(body, 'a' + i % 26, sizeof(body));
	m.body = (struct slice){body, sizeof(body)};
	snprintf(props, sizeof(props), "KEYS\001k%d\002TAGS\001A\002", i);
	m.props[0] = slice_of(props);
	message_encode(&m, out);
	return message_size(&m);
}

static void
put_unit(int queue, int64_t offset, int64_t physical, int32_t size)
{
	char name[64], u[20];

	snprintf(name, sizeof(name), "consumequeue/orders/%d/%020d", queue, 0);
	close(open_file(name, QUEUE_FILE));
	be64_put(u, (uint64_t)physical);
	be32_put(u + 8, (uint32_t)size);
	be64_put(u + 12, (uint64_t)message_tags_code(SLICE_LIT("A")));
	put_at(name, offset * 20, u, sizeof(u));
}

static void
put_index_entry(int number, const char *key, int64_t physical)
{
	uint32_t hash = index_hash_of(SLICE_LIT("orders"), slice_of(key)), slot = hash % SLOTS;
	char e[20], s[4] = {0};
	int fd = open_file("index/20200101000000000", INDEX_BYTES);

	CU_ASSERT_EQUAL(pread(fd, s, 4, 40 + 4 * slot), 4);
	be32_put(e, hash);
	be64_put(e + 4, (uint64_t)physical);
	be32_put(e + 12, 0);
	memcpy(e + 16, s, 4);
	CU_ASSERT_EQUAL(pwrite(fd, e, 20, 40 + 4 * SLOTS + 20 * number), 20);
	be32_put(s, (uint32_t)number);
	CU_ASSERT_EQUAL(pwrite(fd, s, 4, 40 + 4 * slot), 4);
	close(fd);
}

static void
put_index_head(void)
{
	char head[40] = {0}, slot[4];
	uint32_t used = 0;
	int fd = open_file("index/20200101000000000", INDEX_BYTES);

	for (int i = 0; i < SLOTS; i++)
		used += pread(fd, slot, 4, 40 + 4 * i) == 4 && be32_get(slot) != 0;
	be64_put(head, STORE_MS);
	be64_put(head + 8, STORE_MS + MESSAGES - 1);
	be64_put(head + 24, (uint64_t)at[MESSAGES - 1]);
	be32_put(head + 32, used);
	be32_put(head + 36, MESSAGES + 1);
	CU_ASSERT_EQUAL(pwrite(fd, head, 40, 0), 40);
	close(fd);
}

static void
put_message(int i)
{
	char record[4096], name[64], key[16], filler[8];
	size_t n = encode(i, log_end, record);
	int64_t left = SEG - log_end % SEG;

	if ((int64_t)n + 8 > left) {
		log_name(log_end - log_end % SEG, name);
		be32_put(filler, (uint32_t)left);
		be32_put(filler + 4, MSG_MAGIC_BLANK);
		put_at(name, log_end % SEG, filler, 8);
		log_end += left;
		n = encode(i, log_end, record);
	}
	log_name(log_end - log_end % SEG, name);
	close(open_file(name, SEG));
	put_at(name, log_end % SEG, record, n);
	put_unit(i % 2, i / 2, log_end, (int32_t)n);
	snprintf(key, sizeof(key), "k%d", i);
	put_index_entry(i + 1, key, log_end);
	at[i] = log_end;
	log_end += (int64_t)n;
}

static void
begin(void)
{
	struct checkpoint c = {STORE_MS + MESSAGES - 1, STORE_MS + MESSAGES - 1, 0, 0, 0};
	char path[128];
	struct err e;

	snprintf(dir, sizeof(dir), "%s", "/tmp/test_dump.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	log_end = 0;
	for (int i = 0; i < MESSAGES; i++)
		put_message(i);
	put_index_head();
	snprintf(path, sizeof(path), "%s/checkpoint", dir);
	CU_ASSERT_EQUAL(checkpoint_write(path, &c, &e), RC_OK);
	CU_ASSERT_TRUE(log_end > SEG);
}

static void
end(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	CU_ASSERT_EQUAL(system(cmd), 0);
}

/* Runs the command with its output in `output`. */
static int
run(int (*command)(const struct dump_opts *o), struct dump_opts o)
{
	char path[128];
	int saved, fd, status;
	ssize_t n;

	snprintf(path, sizeof(path), "%s.out", dir);
	fflush(stdout);
	saved = dup(1);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CU_ASSERT_TRUE_FATAL(fd >= 0 && dup2(fd, 1) == 1);
	o.root = dir;
	status = command(&o);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	n = pread(fd, output, sizeof(output) - 1, 0);
	output[n > 0 ? n : 0] = '\0';
	close(fd);
	unlink(path);
	return status;
}

static int
check(void)
{
	return run(dump_check, (struct dump_opts){.from = -1, .count = -1, .queue = -1});
}

static void
expect_problem(const char *text)
{
	CU_ASSERT_EQUAL(check(), DUMP_DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, text));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, ": 1 problem\n"));
}

/* ---- tests */

static void
a_good_store_has_no_damage(void)
{
	begin();
	CU_ASSERT_EQUAL(check(), DUMP_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "60 records from 0"));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "60 units, 60 index entries: no damage"));
	end();
}

static void
an_empty_store_is_well_and_none_is_a_failure(void)
{
	char path[128];

	snprintf(dir, sizeof(dir), "%s", "/tmp/test_dump.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT_EQUAL(check(), DUMP_FAILED);
	snprintf(path, sizeof(path), "%s/commitlog", dir);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(check(), DUMP_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "0 records from 0 to 0"));
	end();
}

static void
a_changed_byte_of_a_body_is_found(void)
{
	begin();
	put_at("commitlog/00000000000000000000", at[3] + 500, "X", 1);
	expect_problem("its body does not fit its CRC");
	end();
}

static void
a_record_that_is_wiped_out_is_found_and_the_walk_goes_on(void)
{
	char zeros[100] = {0};

	begin();
	put_at("commitlog/00000000000000000000", at[3], zeros, sizeof(zeros));
	CU_ASSERT_EQUAL(check(), DUMP_DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "are no record; records go on at"));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "59 records"));
	end();
}

static void
a_unit_that_points_elsewhere_is_found(void)
{
	begin();
	put_unit(1, 2, at[4], (int32_t)(at[5] - at[4]));
	CU_ASSERT_EQUAL(check(), DUMP_DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "orders queue 1: unit 2 points at"));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "which is of orders, queue 0, offset 2"));
	end();
}

static void
a_record_without_a_unit_is_damage_only_after_a_clean_end(void)
{
	begin();
	put_unit((MESSAGES - 1) % 2, (MESSAGES - 1) / 2, 0, 0);
	expect_problem("has no unit in its consume queue");
	close(open_file("abort", 0));
	CU_ASSERT_EQUAL(check(), DUMP_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "1 records"));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "are in no queue yet"));
	end();
}

static void
a_unit_beyond_the_end_of_the_log_is_found(void)
{
	begin();
	put_unit(0, MESSAGES / 2, log_end + 100, 200);
	expect_problem("beyond the log's end");
	end();
}

static void
an_index_entry_that_points_elsewhere_is_found(void)
{
	char offset[8];

	begin();
	be64_put(offset, (uint64_t)at[8]);
	put_at("index/20200101000000000", 40 + 4 * SLOTS + 20 * 8 + 4, offset, 8);
	expect_problem("has no key of that hash");
	end();
}

static void
a_checkpoint_newer_than_the_log_is_found(void)
{
	char ms[8];

	begin();
	be64_put(ms, STORE_MS + MESSAGES);
	put_at("checkpoint", 8, ms, 8);
	expect_problem("the queues are said to be synced");
	end();
}

static void
a_missing_segment_is_found(void)
{
	char name[64], path[128];

	begin();
	log_name(2 * SEG, name);
	close(open_file(name, SEG));
	log_name(SEG, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(check(), DUMP_DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "files are missing between"));
	end();
}

static void
bytes_behind_the_last_record_are_expected_after_a_crash_only(void)
{
	char name[64];

	begin();
	log_name(log_end - log_end % SEG, name);
	put_at(name, log_end % SEG, "garbage!", 8);
	expect_problem("behind the last record");
	close(open_file("abort", 0));
	CU_ASSERT_EQUAL(check(), DUMP_OK);
	end();
}

static void
records_are_shown_by_topic_queue_and_count(void)
{
	begin();
	CU_ASSERT_EQUAL(run(dump_log, (struct dump_opts){.json = true, .from = at[2], .count = 2, .queue = 1}), DUMP_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "\"queueId\":1,\"queueOffset\":1,"));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "\"queueId\":1,\"queueOffset\":2,"));
	CU_ASSERT_PTR_NULL(strstr(output, "\"queueOffset\":3,"));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "\"properties\":{\"KEYS\":\"k3\",\"TAGS\":\"A\"}"));
	CU_ASSERT_EQUAL(run(dump_log, (struct dump_opts){.from = at[2] + 1, .count = 2, .queue = -1}), DUMP_FAILED);
	CU_ASSERT_EQUAL(run(dump_log, (struct dump_opts){.json = true, .from = -1, .count = 0, .queue = -1, .topic = "x"}), DUMP_OK);
	CU_ASSERT_EQUAL(strlen(output), 0);
	end();
}

static void
queues_and_their_units_are_shown(void)
{
	begin();
	CU_ASSERT_EQUAL(run(dump_queue, (struct dump_opts){.json = true, .from = -1, .count = -1, .queue = -1}), DUMP_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "{\"topic\":\"orders\",\"queueId\":1,\"min\":0,\"max\":30,\"files\":1"));
	CU_ASSERT_EQUAL(run(dump_queue, (struct dump_opts){.json = true, .from = 29, .count = -1, .queue = 0, .topic = "orders"}),
	    DUMP_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "{\"queueOffset\":29,"));
	end();
}

TEST_MAIN("tools/rmqdump", TEST(a_good_store_has_no_damage), TEST(an_empty_store_is_well_and_none_is_a_failure),
    TEST(a_changed_byte_of_a_body_is_found),
    TEST(a_record_that_is_wiped_out_is_found_and_the_walk_goes_on), TEST(a_unit_that_points_elsewhere_is_found),
    TEST(a_record_without_a_unit_is_damage_only_after_a_clean_end), TEST(a_unit_beyond_the_end_of_the_log_is_found),
    TEST(an_index_entry_that_points_elsewhere_is_found), TEST(a_checkpoint_newer_than_the_log_is_found),
    TEST(a_missing_segment_is_found), TEST(bytes_behind_the_last_record_are_expected_after_a_crash_only),
    TEST(records_are_shown_by_topic_queue_and_count), TEST(queues_and_their_units_are_shown))

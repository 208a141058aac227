/*
 * Consumed offsets: commits, resets, copies, the file of both brokers.
 */
#include <stdio.h>

#include "t/unit/broker_fixture.h"
#include "workers/broker/offsets.h"

static struct fixture f;

static int64_t
get(const char *group, const char *topic, int32_t queue)
{
	return offset_get(f.b->offsets, slice_of(group), slice_of(topic), queue);
}

static bool
commit(const char *group, const char *topic, int32_t queue, int64_t offset)
{
	return offset_commit(f.b->offsets, "test", slice_of(group), slice_of(topic), queue, offset);
}

static void
write_file(const char *text)
{
	char path[128];
	FILE *to;

	snprintf(path, sizeof path, "%s/config/consumerOffset.json", f.dir);
	to = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	fputs(text, to);
	fclose(to);
}

static void
commits_are_kept_over_a_stop(void)
{
	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(get("G", "T", 0), -1);
	CU_ASSERT_TRUE(commit("G", "T", 0, 5));
	CU_ASSERT_TRUE(commit("G", "T", 100, 7));
	CU_ASSERT_TRUE(commit("G", "T", 0, 3));
	CU_ASSERT_EQUAL(get("G", "T", 1), -1);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	CU_ASSERT_EQUAL(get("G", "T", 0), 3);
	CU_ASSERT_EQUAL(get("G", "T", 100), 7);
	CU_ASSERT_EQUAL(get("GT", "", 0), -1);
	fixture_stop(&f);
}

static void
many_entries_are_all_found_again(void)
{
	char group[32], topic[32];

	fixture_start(&f, NULL);
	for (int i = 0; i < 3000; i++) {
		snprintf(group, sizeof group, "G%d", i % 60);
		snprintf(topic, sizeof topic, "T%d", i / 60);
		commit(group, topic, 0, i);
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(group, sizeof group, "G%d", i % 60);
		snprintf(topic, sizeof topic, "T%d", i / 60);
		CU_ASSERT_EQUAL(get(group, topic, 0), i);
	}
	fixture_stop(&f);
}

static void
numbers_and_names_beyond_reason_are_not_kept(void)
{
	fixture_start(&f, NULL);
	commit("G", "T", INT32_MAX, 5);
	commit("G", "T", -1, 5);
	commit("G", "T", 0, -5);
	commit("G\"", "T", 0, 5);
	CU_ASSERT_EQUAL(get("G", "T", INT32_MAX), -1);
	CU_ASSERT_EQUAL(get("G", "T", -1), -1);
	CU_ASSERT_EQUAL(get("G", "T", 0), -1);
	CU_ASSERT_EQUAL(get("G\"", "T", 0), -1);
	fixture_stop(&f);
}

static void
a_commit_is_dropped_while_a_reset_waits_to_be_taken(void)
{
	struct slice g = SLICE_LIT("G"), t = SLICE_LIT("T");

	fixture_start(&f, NULL);
	commit("G", "T", 0, 9);
	offset_reset(f.b->offsets, g, t, 0, 2);
	CU_ASSERT_EQUAL(get("G", "T", 0), 2);
	CU_ASSERT_FALSE(commit("G", "T", 0, 10));
	CU_ASSERT_TRUE(commit("G", "T", 1, 4));
	CU_ASSERT_EQUAL(offset_take_reset(f.b->offsets, g, t, 1), -1);
	CU_ASSERT_EQUAL(offset_take_reset(f.b->offsets, g, t, 0), 2);
	CU_ASSERT_EQUAL(offset_take_reset(f.b->offsets, g, t, 0), -1);
	CU_ASSERT_TRUE(commit("G", "T", 0, 10));
	CU_ASSERT_EQUAL(get("G", "T", 0), 10);
	fixture_stop(&f);
}

static void
a_copy_replaces_what_the_other_group_had(void)
{
	fixture_start(&f, NULL);
	commit("A", "T", 0, 1);
	commit("A", "T", 20, 2);
	commit("B", "T", 3, 9);
	offsets_clone(f.b->offsets, slice_of("A"), slice_of("B"), slice_of("T"));
	CU_ASSERT(get("B", "T", 0) == 1 && get("B", "T", 20) == 2 && get("B", "T", 3) == -1);
	fixture_stop(&f);
}

static void
count_name(void *arg, struct slice name)
{
	(void)name;
	++*(int *)arg;
}

static void
removing_a_topic_or_group_leaves_the_others(void)
{
	int n = 0;

	fixture_start(&f, NULL);
	commit("A", "T", 0, 1);
	commit("A", "U", 0, 2);
	commit("B", "T", 0, 3);
	commit("B", "U", 0, 4);
	offset_note_pull(f.b->offsets, slice_of("C"), slice_of("T"), 0, 8);
	CU_ASSERT_EQUAL(offset_last_pull(f.b->offsets, slice_of("C"), slice_of("T"), 0), 8);
	offsets_each_group_of(f.b->offsets, slice_of("T"), count_name, &n);
	CU_ASSERT_EQUAL(n, 2);
	offset_reset(f.b->offsets, slice_of("A"), slice_of("T"), 0, 0);
	offsets_remove_topic(f.b->offsets, slice_of("T"));
	CU_ASSERT(get("A", "T", 0) == -1 && get("B", "T", 0) == -1 && get("A", "U", 0) == 2);
	offsets_remove_group(f.b->offsets, slice_of("B"));
	CU_ASSERT(get("B", "U", 0) == -1 && get("A", "U", 0) == 2);
	n = 0;
	offsets_each_group(f.b->offsets, count_name, &n);
	CU_ASSERT_EQUAL(n, 1);
	fixture_stop(&f);
}

static void
a_file_of_the_java_broker_is_read(void)
{
	fixture_start(&f, NULL);
	fixture_kill(&f);
	write_file("{\n\t\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":1},\n\t\"groupTopicMap\":{\"G1\":[\"T1\"]},\n"
		   "\t\"offsetTable\":{\"T1@G1\":{0:5,-1:5,1:-1,99:6\n\t\t},\n\t\t\"bad\":{0:1},\n\t\t\"%RETRY%G1@G1\":{0:1}\n\t}\n}");
	fixture_restart(&f, NULL);
	CU_ASSERT(get("G1", "T1", 0) == 5 && get("G1", "T1", 1) == -1 && get("G1", "T1", 99) == 6);
	CU_ASSERT_EQUAL(get("G1", "%RETRY%G1", 0), 1);
	fixture_stop(&f);
}

static bool
file_has(const char *text)
{
	char path[128];
	struct buf b = {0};
	struct err e;
	bool has;

	snprintf(path, sizeof path, "%s/config/consumerOffset.json", f.dir);
	has = file_read(path, 1 << 20, &b, &e) == RC_OK && memmem(b.p, b.len, text, strlen(text)) != NULL;
	buf_free(&b);
	return has;
}

/* Turns that wait for the next timer or event. */
static bool
soon_has(const char *text)
{
	for (int i = 0; i < 50 && !file_has(text); i++)
		ev_run(f.w.loop, EVRUN_ONCE);
	return file_has(text);
}

static void
commits_reach_the_file_by_themselves(void)
{
	static const char *const quick[] = {"flushConsumerOffsetInterval=100", NULL};
	struct err e;

	fixture_start(&f, quick);
	commit("G", "T", 0, 5);
	CU_ASSERT_TRUE(soon_has("{\"0\":5}"));
	commit("G", "T", 0, 6);
	CU_ASSERT_TRUE(soon_has("{\"0\":6}"));
	/* A save in between overtakes what is being synced. */
	commit("G", "T", 0, 7);
	for (int i = 0; i < 3; i++)
		fixture_turns(&f, 1);
	commit("G", "T", 0, 8);
	CU_ASSERT_EQUAL(offsets_save(f.b->offsets, &e), RC_OK);
	CU_ASSERT_TRUE(file_has("{\"0\":8}"));
	commit("G", "T", 0, 9);
	CU_ASSERT_TRUE(soon_has("{\"0\":9}"));
	fixture_stop(&f);
}

static void
a_disk_that_refuses_is_tried_again(void)
{
	static const char *const quick[] = {"flushConsumerOffsetInterval=100", NULL};
	char from[128], to[160];
	struct err e;

	fixture_start(&f, quick);
	snprintf(from, sizeof from, "%s/config", f.dir);
	snprintf(to, sizeof to, "%s/config.away", f.dir);
	CU_ASSERT_EQUAL_FATAL(rename(from, to), 0);
	commit("G", "T", 0, 5);
	CU_ASSERT_NOT_EQUAL(offsets_save(f.b->offsets, &e), RC_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "consumerOffset.json"));
	CU_ASSERT_EQUAL_FATAL(rename(to, from), 0);
	CU_ASSERT_EQUAL(offsets_save(f.b->offsets, &e), RC_OK);
	CU_ASSERT_TRUE(file_has("{\"0\":5}"));
	fixture_stop(&f);
}

TEST_MAIN("broker/offsets", TEST(commits_reach_the_file_by_themselves), TEST(a_disk_that_refuses_is_tried_again), TEST(commits_are_kept_over_a_stop), TEST(many_entries_are_all_found_again),
    TEST(numbers_and_names_beyond_reason_are_not_kept), TEST(a_commit_is_dropped_while_a_reset_waits_to_be_taken),
    TEST(a_copy_replaces_what_the_other_group_had), TEST(removing_a_topic_or_group_leaves_the_others),
    TEST(a_file_of_the_java_broker_is_read))

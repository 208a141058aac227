/* test_index: the file byte for byte, chains, full files, what is indexed, and cutting. */
#include <stdio.h>

#include "common/clock.h"
#include "common/str.h"
#include "store_world.h"
#include "test.h"

#define SLOTS	64 /* as store_world sets it */
#define ENTRIES 100

static const char *
index_name(struct world *w, size_t i)
{
	static char name[64];

	CU_ASSERT_FATAL(i < w->s->index.count);
	snprintf(name, sizeof(name), "index/%s", strrchr(w->s->index.files[i].path, '/') + 1);
	return name;
}

static void
file_has_the_originals_layout(void)
{
	struct store_put_result a, b;
	struct world w;
	char head[40], entry[20], slot[4];
	uint32_t hash = (uint32_t)str_java_hash(SLICE_LIT("T#key1"));
	int64_t entries = 40 + SLOTS * 4;

	hash = (int32_t)hash < 0 ? -hash : hash;
	world_begin(&w);
	clock_set_made(1700000000000);
	a = world_put(&w, "T", 0, 5, "UNIQ_KEY\001key1\002");
	clock_set_made(1700000007999);
	b = world_put(&w, "T", 0, 5, "KEYS\001key1\002");
	clock_set_made(-1);
	world_peek(&w, index_name(&w, 0), 0, head, sizeof(head));
	CU_ASSERT_EQUAL(be64_get(head), 1700000000000);
	CU_ASSERT_EQUAL(be64_get(head + 8), 1700000007999);
	CU_ASSERT_EQUAL((int64_t)be64_get(head + 16), a.physical);
	CU_ASSERT_EQUAL((int64_t)be64_get(head + 24), b.physical);
	CU_ASSERT_EQUAL(be32_get(head + 32), 1);
	CU_ASSERT_EQUAL(be32_get(head + 36), 3);
	world_peek(&w, index_name(&w, 0), 40 + hash % SLOTS * 4, slot, 4);
	CU_ASSERT_EQUAL(be32_get(slot), 2);
	world_peek(&w, index_name(&w, 0), entries + 20, entry, 20);
	CU_ASSERT_EQUAL(be32_get(entry), hash);
	CU_ASSERT_EQUAL((int64_t)be64_get(entry + 4), a.physical);
	CU_ASSERT_EQUAL(be32_get(entry + 12), 0);
	CU_ASSERT_EQUAL(be32_get(entry + 16), 0);
	world_peek(&w, index_name(&w, 0), entries + 40, entry, 20);
	CU_ASSERT_EQUAL((int64_t)be64_get(entry + 4), b.physical);
	CU_ASSERT_EQUAL(be32_get(entry + 12), 7);
	CU_ASSERT_EQUAL(be32_get(entry + 16), 1);
	CU_ASSERT_EQUAL(strlen(index_name(&w, 0)), strlen("index/") + 17);
	world_end(&w);
}

static void
hash_is_javas_over_topic_and_key(void)
{
	uint32_t topic = (uint32_t)str_java_hash(SLICE_LIT("topic")) * 31 + '#';
	int32_t whole = str_java_hash(SLICE_LIT("topic#7F00000100002A139A55000000000001"));

	CU_ASSERT_EQUAL(index_hash(topic, SLICE_LIT("7F00000100002A139A55000000000001")),
	    (uint32_t)(whole < 0 ? -whole : whole));
	/* U+1F600 is two units of UTF-16 */
	whole = str_java_hash(SLICE_LIT("topic#\xF0\x9F\x98\x80z"));
	CU_ASSERT_EQUAL(index_hash(topic, SLICE_LIT("\xF0\x9F\x98\x80z")), (uint32_t)(whole < 0 ? -whole : whole));
	/* the one value that has no positive counterpart becomes 0: "polygenelubricants" hashes to it */
	CU_ASSERT_EQUAL(index_hash(0, SLICE_LIT("polygenelubricants")), 0);
}

static void
unique_key_and_each_word_of_keys_are_found(void)
{
	struct world w;

	world_begin(&w);
	(void)world_put(&w, "T", 0, 5, "UNIQ_KEY\001uk\002KEYS\001one  two three\002");
	(void)world_put(&w, "U", 0, 5, "KEYS\001one\002");
	CU_ASSERT_EQUAL(world_query(&w, "T", "uk"), 1);
	CU_ASSERT_EQUAL(world_query(&w, "T", "one"), 1);
	CU_ASSERT_EQUAL(world_query(&w, "T", "two"), 1);
	CU_ASSERT_EQUAL(world_query(&w, "T", "three"), 1);
	CU_ASSERT_EQUAL(world_query(&w, "T", "four"), 0);
	CU_ASSERT_EQUAL(world_query(&w, "T", ""), 0);
	CU_ASSERT_EQUAL(world_query(&w, "U", "one"), 1);
	CU_ASSERT_EQUAL(world_query(&w, "U", "uk"), 0);
	world_end(&w);
}

static void
newest_hit_comes_first_within_the_times_asked_for(void)
{
	struct query_result r;
	struct world w;
	int64_t at[5], t = 1700000000000;

	world_begin(&w);
	for (int i = 0; i < 5; i++) {
		clock_set_made(t + i * 1000);
		at[i] = world_put(&w, "T", 0, 5, "UNIQ_KEY\001k\002").physical;
	}
	clock_set_made(-1);
	store_query(w.s, SLICE_LIT("T"), SLICE_LIT("k"), 10, 0, INT64_MAX, &r);
	CU_ASSERT_EQUAL(r.count, 5);
	for (int i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(r.physical[i], at[4 - i]);
	CU_ASSERT_EQUAL(r.last_update_ms, t + 4000);
	CU_ASSERT_EQUAL(r.last_update_offset, at[4]);
	store_query(w.s, SLICE_LIT("T"), SLICE_LIT("k"), 10, t + 1000, t + 2999, &r);
	CU_ASSERT_EQUAL(r.count, 2);
	CU_ASSERT_EQUAL(r.physical[0], at[2]);
	store_query(w.s, SLICE_LIT("T"), SLICE_LIT("k"), 2, 0, INT64_MAX, &r);
	CU_ASSERT_EQUAL(r.count, 2);
	CU_ASSERT_EQUAL(r.physical[1], at[3]);
	store_query(w.s, SLICE_LIT("T"), SLICE_LIT("k"), 10, t + 4001, INT64_MAX, &r);
	CU_ASSERT_EQUAL(r.count, 0);
	world_end(&w);
}

static void
full_file_is_followed_by_another_of_a_later_name(void)
{
	struct world w;
	char key[32], head[40];

	world_begin(&w);
	clock_set_made(1700000000000); /* all in the same millisecond */
	for (int i = 0; i < 3 * ENTRIES; i++) {
		snprintf(key, sizeof(key), "UNIQ_KEY\001k%d\002", i);
		(void)world_put(&w, "T", 0, 5, key);
	}
	clock_set_made(-1);
	CU_ASSERT_EQUAL(w.s->index.count, 4); /* entry 0 of each is never used */
	for (size_t i = 1; i < w.s->index.count; i++)
		CU_ASSERT_TRUE(strcmp(w.s->index.files[i - 1].path, w.s->index.files[i].path) < 0);
	world_peek(&w, index_name(&w, 0), 0, head, sizeof(head));
	CU_ASSERT_EQUAL(be32_get(head + 36), ENTRIES);
	CU_ASSERT_EQUAL(index_full_ms(&w.s->index), 1700000000000);
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < 3 * ENTRIES; i++) {
			snprintf(key, sizeof(key), "k%d", i);
			CU_ASSERT_EQUAL(world_query(&w, "T", key), 1);
		}
		world_stop(&w);
		world_open(&w);
	}
	world_end(&w);
}

static void
rolled_back_messages_are_not_indexed_and_prepared_ones_are(void)
{
	struct message m = {.topic = SLICE_LIT("T"), .props = {SLICE_LIT("UNIQ_KEY\001k\002")}};
	struct store_put_result r;
	struct world w;

	world_begin(&w);
	m.sysflag = MSG_SYS_TRAN_ROLLBACK;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	CU_ASSERT_EQUAL(world_query(&w, "T", "k"), 0);
	m.sysflag = MSG_SYS_TRAN_PREPARED;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	CU_ASSERT_EQUAL(world_query(&w, "T", "k"), 1);
	world_end(&w);
}

static void
index_can_be_switched_off(void)
{
	struct world w;

	world_begin(&w);
	w.conf.messageIndexEnable = false;
	(void)world_put(&w, "T", 0, 5, "UNIQ_KEY\001k\002");
	CU_ASSERT_FALSE(world_has(&w, "index"));
	CU_ASSERT_EQUAL(world_query(&w, "T", "k"), 0);
	world_end(&w);
}

static void
putting_the_same_again_changes_nothing(void)
{
	struct index_key keys[3] = {{5, 100, 1700000000000}, {6, 100, 1700000000000}, {5, 200, 1700000000000}};
	struct world w;

	world_begin(&w);
	CU_ASSERT_EQUAL(index_put(&w.s->index, keys, 3, &w.e), RC_OK);
	CU_ASSERT_EQUAL(index_put(&w.s->index, keys, 3, &w.e), RC_OK);
	CU_ASSERT_EQUAL(index_put(&w.s->index, keys + 2, 1, &w.e), RC_OK);
	CU_ASSERT_EQUAL(w.s->index.files[0].count, 4);
	world_end(&w);
}

static bool
count_hit(void *arg, int64_t physical)
{
	(void)physical;
	++*(int *)arg;
	return true;
}

static void
cut_keeps_what_lies_below_at_any_place(void)
{
	struct world w;

	for (int keep = 0; keep <= 250; keep += 7) {
		world_begin(&w);
		for (int i = 0; i < 250; i++) {
			struct index_key k = {(uint32_t)i % 70, i * 10, 1700000000000 + i};

			CU_ASSERT_EQUAL(index_put(&w.s->index, &k, 1, &w.e), RC_OK);
		}
		CU_ASSERT_EQUAL(index_cut(&w.s->index, keep * 10, &w.e), RC_OK);
		for (uint32_t hash = 0; hash < 70; hash++) {
			int hits = 0;

			index_walk(&w.s->index, hash, 0, INT64_MAX, count_hit, &hits);
			CU_ASSERT_EQUAL(hits, (keep - (int)hash + 69) / 70 < 0 ? 0 : (keep - (int)hash + 69) / 70);
		}
		world_end(&w);
	}
}

static void
files_that_clean_removed_are_let_go(void)
{
	struct world w;
	char name[64];

	world_begin(&w);
	for (int i = 0; i < 250; i++) {
		struct index_key k = {(uint32_t)i, i * 10, 1700000000000 + i};

		CU_ASSERT_EQUAL(index_put(&w.s->index, &k, 1, &w.e), RC_OK);
	}
	CU_ASSERT_EQUAL(w.s->index.count, 3);
	index_forget(&w.s->index, 2000);
	CU_ASSERT_EQUAL(w.s->index.count, 3); /* still there */
	snprintf(name, sizeof(name), "%s", index_name(&w, 0));
	world_remove(&w, name);
	index_forget(&w.s->index, 2000);
	CU_ASSERT_EQUAL(w.s->index.count, 2);
	world_end(&w);
}

TEST_MAIN("store/index", TEST(file_has_the_originals_layout), TEST(hash_is_javas_over_topic_and_key),
    TEST(unique_key_and_each_word_of_keys_are_found), TEST(newest_hit_comes_first_within_the_times_asked_for),
    TEST(full_file_is_followed_by_another_of_a_later_name), TEST(rolled_back_messages_are_not_indexed_and_prepared_ones_are),
    TEST(index_can_be_switched_off), TEST(putting_the_same_again_changes_nothing), TEST(cut_keeps_what_lies_below_at_any_place),
    TEST(files_that_clean_removed_are_let_go))

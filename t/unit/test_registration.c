/*
 * test_registration: bodies of registrations in all their forms, and bytes that are none.
 */
#include "test.h"

#include <zlib.h>

#include "common/buf.h"
#include "workers/namesrv/registration.h"

#define JSON_BODY                                                                                                      \
	"{\"filterServerList\":[\"1.1.1.1:1\"],\"topicConfigSerializeWrapper\":{\"dataVersion\":{\"counter\":3,"       \
	"\"stateVersion\":2,\"timestamp\":1700000000000},\"topicConfigTable\":{\"T1\":{\"attributes\":{},\"order\":"   \
	"false,"                                                                                                       \
	"\"perm\":6,\"readQueueNums\":8,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"T1\",\"topicSysFlag\":1,"   \
	"\"writeQueueNums\":4},\"T2\":{\"topicName\":\"T2\"}},\"topicQueueMappingInfoMap\":{\"T2\":{\"bname\":\"b\","  \
	"\"currIdMap\":{0:1},\"topic\":\"T2\"}}}}"

static enum rc
read_text(struct registration *g, const char *text, int version)
{
	struct err e = {""};
	enum rc rc = registration_read(g, slice_of(text), version, &e);

	CU_ASSERT_EQUAL(rc == RC_OK, e.text[0] == '\0');
	return rc;
}

static void
json_is_read(void)
{
	struct registration g = {.id = 0};

	CU_ASSERT_EQUAL_FATAL(read_text(&g, JSON_BODY, 479), RC_OK);
	CU_ASSERT_EQUAL(g.version.counter, 3);
	CU_ASSERT_EQUAL(g.version.state_version, 2);
	CU_ASSERT_EQUAL(g.version.timestamp, 1700000000000);
	CU_ASSERT_EQUAL_FATAL(g.topic_count, 2);
	CU_ASSERT(slice_is(g.topics[0].name, "T1"));
	CU_ASSERT_EQUAL(g.topics[0].read_queues, 8);
	CU_ASSERT_EQUAL(g.topics[0].write_queues, 4);
	CU_ASSERT_EQUAL(g.topics[0].perm, 6);
	CU_ASSERT_EQUAL(g.topics[0].sysflag, 1);
	CU_ASSERT_EQUAL(g.topics[1].read_queues, 16); /* Java's defaults */
	CU_ASSERT(g.filters_given);
	CU_ASSERT(slice_is(g.filters, "[\"1.1.1.1:1\"]"));
	CU_ASSERT_EQUAL_FATAL(g.mapping_count, 1);
	CU_ASSERT(slice_is(g.mappings[0].topic, "T2"));
	CU_ASSERT(slice_is(g.mappings[0].broker, "b"));
	registration_free(&g);
}

static void
an_empty_body_is_an_empty_table(void)
{
	struct registration g = {.id = 0};

	CU_ASSERT_EQUAL(read_text(&g, "", 479), RC_OK);
	CU_ASSERT_EQUAL(g.topic_count, 0);
	CU_ASSERT_FALSE(g.filters_given);
	registration_free(&g);
	CU_ASSERT_EQUAL(read_text(&g, "{}", 479), RC_OK);
	CU_ASSERT_EQUAL(g.topic_count, 0);
	registration_free(&g);
}

static void
old_brokers_send_the_topics_bare(void)
{
	struct registration g = {.id = 0};

	CU_ASSERT_EQUAL(read_text(&g, "{\"topicConfigTable\":{\"T\":{\"topicName\":\"T\",\"perm\":4}}}", 36), RC_OK);
	CU_ASSERT_EQUAL(g.topic_count, 1);
	CU_ASSERT_EQUAL(g.topics[0].perm, 4);
	registration_free(&g);
}

static void
an_empty_filter_list_is_told_from_a_missing_one(void)
{
	struct registration g = {.id = 0};

	CU_ASSERT_EQUAL(read_text(&g, "{\"filterServerList\":[]}", 479), RC_OK);
	CU_ASSERT(g.filters_given);
	CU_ASSERT_EQUAL(g.filters.n, 0);
	registration_free(&g);
}

static void
what_is_no_object_is_refused(void)
{
	static const char *const bad[] = {"[]", "7", "\"x\"", "{", "nonsense"};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct registration g = {.id = 0};

		CU_ASSERT_EQUAL(read_text(&g, bad[i], 479), RC_BADDATA);
		registration_free(&g);
	}
}

static void
members_of_wrong_types_are_passed_over(void)
{
	struct registration g = {.id = 0};

	CU_ASSERT_EQUAL(read_text(&g, "{\"filterServerList\":{},\"topicConfigSerializeWrapper\":{\"dataVersion\":[1],"
	    "\"topicConfigTable\":{\"A\":7,\"B\":{\"perm\":\"x\",\"readQueueNums\":99999999999},\"\":{}},"
	    "\"topicQueueMappingInfoMap\":[]}}", 479), RC_OK);
	CU_ASSERT_EQUAL_FATAL(g.topic_count, 1);
	CU_ASSERT(slice_is(g.topics[0].name, "B"));
	CU_ASSERT_EQUAL(g.topics[0].perm, 6);
	CU_ASSERT_EQUAL(g.topics[0].read_queues, 16);
	registration_free(&g);
}

static void
put_piece(struct buf *b, const char *text)
{
	buf_put_be32(b, (uint32_t)strlen(text));
	buf_put_str(b, text);
}

/* The compressed form's plain bytes. */
static void
put_plain(struct buf *b)
{
	put_piece(b, "{\"counter\":5,\"stateVersion\":1,\"timestamp\":9}");
	buf_put_be32(b, 3);
	put_piece(b, "TopicA 8 4 6 SINGLE_TAG {}");
	put_piece(b, "TopicB 1 2 4 SINGLE_TAG");
	put_piece(b, "TopicC 1 1 6 SINGLE_TAG {\"+message.type\":\"FIFO\"}");
	put_piece(b, "[\"f:1\",\"f:2\"]");
	buf_put_be32(b, 1);
	put_piece(b, "{\"bname\":\"b\",\"topic\":\"TopicC\"}");
}

static void
deflate_to(struct buf *out, struct slice plain)
{
	uLongf n = compressBound(plain.n);
	char *to = buf_room(out, n);

	CU_ASSERT_EQUAL_FATAL(compress((Bytef *)to, &n, (const Bytef *)plain.p, plain.n), Z_OK);
	out->len += n;
}

static void
compressed_bodies_are_read(void)
{
	for (int version = 409; version <= 479; version += 70) { /* 4.9.8 has no mappings behind */
		struct registration g = {.id = 0};
		struct buf plain = {0}, packed = {0};
		struct err e;

		put_plain(&plain);
		deflate_to(&packed, buf_slice(&plain));
		CU_ASSERT_EQUAL_FATAL(registration_read(&g, buf_slice(&packed), version, &e), RC_OK);
		CU_ASSERT_EQUAL(g.version.counter, 5);
		CU_ASSERT_EQUAL_FATAL(g.topic_count, 3);
		CU_ASSERT(slice_is(g.topics[0].name, "TopicA"));
		CU_ASSERT_EQUAL(g.topics[0].read_queues, 8);
		CU_ASSERT_EQUAL(g.topics[0].write_queues, 4);
		CU_ASSERT_EQUAL(g.topics[1].perm, 4);
		CU_ASSERT(slice_is(g.filters, "[\"f:1\",\"f:2\"]"));
		CU_ASSERT_EQUAL(g.mapping_count, version >= 413);
		registration_free(&g);
		buf_free(&plain);
		buf_free(&packed);
	}
}

static void
a_digest_tells_registrations_apart(void)
{
	struct registration g = {.name = SLICE_LIT("b"), .ha_addr = SLICE_LIT("h")}, other = g;
	char body[] = JSON_BODY;
	struct slice text = {body, sizeof(body) - 1};
	uint64_t first = registration_digest(&g, text, 479);

	CU_ASSERT_EQUAL(registration_digest(&g, text, 479), first);
	CU_ASSERT_NOT_EQUAL(registration_digest(&g, text, 478), first);
	for (size_t i = 0; i < text.n; i++) {
		body[i] ^= 1;
		CU_ASSERT_NOT_EQUAL(registration_digest(&g, text, 479), first);
		body[i] ^= 1;
		CU_ASSERT_NOT_EQUAL(registration_digest(&g, (struct slice){body, i}, 479), first);
	}
	other.name = SLICE_LIT("bh");
	other.ha_addr = SLICE_NONE;
	CU_ASSERT_NOT_EQUAL(registration_digest(&other, text, 479), first);
	other = g;
	other.acting = true;
	CU_ASSERT_NOT_EQUAL(registration_digest(&other, text, 479), first);
	other = g;
	other.timeout_ms = 1;
	CU_ASSERT_NOT_EQUAL(registration_digest(&other, text, 479), first);
}

static enum rc
read_packed(struct slice packed)
{
	struct registration g = {.id = 0};
	char *copy = xmalloc(packed.n + (packed.n == 0)); /* exactly, for the sanitizer */
	struct err e;
	enum rc rc;

	memcpy(copy, packed.p, packed.n);
	rc = registration_read(&g, (struct slice){copy, packed.n}, 479, &e);
	registration_free(&g);
	free(copy);
	return rc;
}

static void
a_torn_stream_is_refused_at_every_length(void)
{
	struct buf plain = {0}, packed = {0};

	put_plain(&plain);
	deflate_to(&packed, buf_slice(&plain));
	for (size_t n = 1; n < packed.len; n++)
		CU_ASSERT_EQUAL(read_packed((struct slice){packed.p, n}), RC_BADDATA);
	buf_free(&plain);
	buf_free(&packed);
}

static void
torn_contents_are_refused_at_every_length(void)
{
	struct buf plain = {0}, packed = {0};

	put_plain(&plain);
	for (size_t n = 0; n < plain.len; n++) {
		buf_reset(&packed, 1 << 20);
		deflate_to(&packed, (struct slice){plain.p, n});
		CU_ASSERT_EQUAL(read_packed(buf_slice(&packed)), RC_BADDATA);
	}
	buf_free(&plain);
	buf_free(&packed);
}

static void
lengths_and_counts_that_cannot_be_are_refused(void)
{
	static const uint32_t wrong[] = {0xffffffff, 0x80000000, 0x7fffffff, 1000000};
	struct buf plain = {0}, packed = {0};

	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		for (size_t at = 0; at < 2; at++) {
			buf_reset(&plain, 1 << 20);
			put_plain(&plain);
			be32_put(plain.p + (at == 0 ? 0 : 4 + be32_get(plain.p)), wrong[i]);
			buf_reset(&packed, 1 << 20);
			deflate_to(&packed, buf_slice(&plain));
			CU_ASSERT_EQUAL(read_packed(buf_slice(&packed)), RC_BADDATA);
		}
	buf_free(&plain);
	buf_free(&packed);
}

static void
a_small_stream_cannot_grow_without_bound(void)
{
	struct buf zeros = {.limit = 80u << 20}, packed = {.limit = 80u << 20};

	memset(buf_room(&zeros, 70u << 20), 0, 70u << 20);
	zeros.len = 70u << 20;
	deflate_to(&packed, buf_slice(&zeros));
	CU_ASSERT(packed.len < 1u << 20);
	CU_ASSERT_EQUAL(read_packed(buf_slice(&packed)), RC_LIMIT);
	buf_free(&zeros);
	buf_free(&packed);
}

/* Numbers that are the same in each run. */
static uint32_t
next_random(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void
random_bytes_are_survived(void)
{
	char bytes[200];
	int refused = 0;

	for (int i = 0; i < 20000; i++) {
		size_t n = 1 + next_random() % sizeof(bytes);

		for (size_t k = 0; k < n; k++)
			bytes[k] = (char)next_random();
		bytes[0] = i & 1 ? 0x78 : '{';
		refused += read_packed((struct slice){bytes, n}) != RC_OK;
	}
	CU_ASSERT(refused > 19900); /* "{}" and its like may come up */
}

/* Changed contents in a sound stream, and changed JSON: any answer will do, but no crash. */
static void
random_changes_are_survived(void)
{
	struct buf plain = {0}, packed = {0};
	char json[] = JSON_BODY;
	int refused = 0;

	for (int i = 0; i < 5000; i++) {
		buf_reset(&plain, 1 << 20);
		put_plain(&plain);
		plain.p[next_random() % plain.len] = (char)next_random();
		buf_reset(&packed, 1 << 20);
		deflate_to(&packed, buf_slice(&plain));
		refused += read_packed(buf_slice(&packed)) != RC_OK;
		memcpy(json, JSON_BODY, sizeof(json));
		json[1 + next_random() % (sizeof(json) - 2)] = (char)next_random();
		refused += read_packed((struct slice){json, sizeof(json) - 1}) != RC_OK;
	}
	CU_ASSERT(refused > 100);
	buf_free(&plain);
	buf_free(&packed);
}

TEST_MAIN("namesrv/registration", TEST(json_is_read), TEST(an_empty_body_is_an_empty_table),
    TEST(old_brokers_send_the_topics_bare), TEST(an_empty_filter_list_is_told_from_a_missing_one),
    TEST(what_is_no_object_is_refused), TEST(members_of_wrong_types_are_passed_over), TEST(compressed_bodies_are_read),
    TEST(a_torn_stream_is_refused_at_every_length), TEST(torn_contents_are_refused_at_every_length),
    TEST(lengths_and_counts_that_cannot_be_are_refused), TEST(a_small_stream_cannot_grow_without_bound),
    TEST(a_digest_tells_registrations_apart),
    TEST(random_bytes_are_survived), TEST(random_changes_are_survived))

/*
 * test_message: records byte by byte, properties, ids.
 */
#include "test.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "common/crc.h"
#include "common/mem.h"
#include "common/message.h"

static const struct addr born = {.ip = {10, 1, 2, 3}, .port = 46534};
static const struct addr store = {.ip = {127, 0, 0, 1}, .port = 10911};
static const struct addr v6 = {
    .ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, .port = 10911, .v6 = true};

static struct message
sample(void)
{
	return (struct message){
	    .topic = SLICE_LIT("TopicA"),
	    .queue_id = 3,
	    .flag = 0x01020304,
	    .sysflag = MSG_SYS_COMPRESSED,
	    .reconsume_times = 2,
	    .queue_offset = 0x1122334455,
	    .physical = 0x6677889900,
	    .born_ms = 1700000000000,
	    .store_ms = 1700000000123,
	    .prepared_offset = -1,
	    .born_host = born,
	    .store_host = store,
	    .body = SLICE_LIT("hello"),
	    .props = {SLICE_LIT("TAGS\x01TagA\x02"), SLICE_NONE, SLICE_LIT("K\x01V\x02")},
	};
}

static char *
encoded(const struct message *m)
{
	char *p = xmalloc(message_size(m)); /* exactly, so that the sanitizer sees a byte too many */

	message_encode(m, p);
	return p;
}

/* The figures of the record's table, for IPv4 addresses and an empty everything: 91 bytes. */
static void
smallest_record_has_91_bytes(void)
{
	struct message m = {.born_host = born, .store_host = store};

	CU_ASSERT_EQUAL(message_size(&m), 91);
	m.store_host.v6 = true;
	CU_ASSERT_EQUAL(message_size(&m), 103);
	m.born_host.v6 = true;
	CU_ASSERT_EQUAL(message_size(&m), 115);
}

static void
every_field_stands_at_its_place(void)
{
	struct message m = sample();
	char *p = encoded(&m);

	CU_ASSERT_EQUAL(be32_get(p), 91 + 5 + 6 + 14);
	CU_ASSERT_EQUAL(be32_get(p + 4), 0xDAA320A7);
	CU_ASSERT_EQUAL(be32_get(p + 8), crc32_of("hello", 5) & 0x7fffffff);
	CU_ASSERT_EQUAL(be32_get(p + 12), 3);
	CU_ASSERT_EQUAL(be32_get(p + 16), 0x01020304);
	CU_ASSERT_EQUAL(be64_get(p + 20), 0x1122334455);
	CU_ASSERT_EQUAL(be64_get(p + 28), 0x6677889900);
	CU_ASSERT_EQUAL(be32_get(p + 36), 1);
	CU_ASSERT_EQUAL(be64_get(p + 40), 1700000000000);
	CU_ASSERT_EQUAL(memcmp(p + 48, born.ip, 4), 0);
	CU_ASSERT_EQUAL(be32_get(p + 52), 46534);
	CU_ASSERT_EQUAL(be64_get(p + 56), 1700000000123);
	CU_ASSERT_EQUAL(memcmp(p + 64, store.ip, 4), 0);
	CU_ASSERT_EQUAL(be32_get(p + 68), 10911);
	CU_ASSERT_EQUAL(be32_get(p + 72), 2);
	CU_ASSERT_EQUAL(be64_get(p + 76), UINT64_MAX);
	CU_ASSERT_EQUAL(be32_get(p + 84), 5);
	CU_ASSERT_EQUAL(memcmp(p + 88, "hello\x06TopicA", 12), 0);
	CU_ASSERT_EQUAL(be16_get(p + 100), 14);
	CU_ASSERT_EQUAL(memcmp(p + 102, "TAGS\x01TagA\x02K\x01V\x02", 14), 0);
	free(p);
}

static void
expect_same(const struct message *m, const struct message *d)
{
	CU_ASSERT(slice_eq(d->topic, m->topic));
	CU_ASSERT(slice_eq(d->body, m->body));
	CU_ASSERT_EQUAL(d->queue_id, m->queue_id);
	CU_ASSERT_EQUAL(d->flag, m->flag);
	CU_ASSERT_EQUAL(d->queue_offset, m->queue_offset);
	CU_ASSERT_EQUAL(d->physical, m->physical);
	CU_ASSERT_EQUAL(d->born_ms, m->born_ms);
	CU_ASSERT_EQUAL(d->store_ms, m->store_ms);
	CU_ASSERT_EQUAL(d->reconsume_times, m->reconsume_times);
	CU_ASSERT_EQUAL(d->prepared_offset, m->prepared_offset);
	CU_ASSERT_EQUAL(memcmp(&d->born_host, &m->born_host, sizeof(d->born_host)), 0);
	CU_ASSERT_EQUAL(memcmp(&d->store_host, &m->store_host, sizeof(d->store_host)), 0);
	CU_ASSERT_EQUAL(d->size, message_size(m));
}

static void
records_read_back_as_they_were_written(void)
{
	for (int i = 0; i < 4; i++) {
		struct message m = sample(), d;
		char *p;

		m.born_host = i & 1 ? v6 : born;
		m.store_host = i & 2 ? v6 : store;
		p = encoded(&m);
		CU_ASSERT_EQUAL(message_decode(&d, p, message_size(&m), true), RC_OK);
		expect_same(&m, &d);
		CU_ASSERT(slice_is(d.props[0], "TAGS\x01TagA\x02K\x01V\x02"));
		CU_ASSERT_EQUAL(d.sysflag, 1 | (i & 1 ? 0x10 : 0) | (i & 2 ? 0x20 : 0));
		free(p);
	}
}

static void
ipv6_bits_follow_the_addresses(void)
{
	struct message m = sample(), d;
	char *p;

	m.sysflag |= MSG_SYS_BORN_V6 | MSG_SYS_STORE_V6;
	p = encoded(&m);
	CU_ASSERT_EQUAL(message_decode(&d, p, message_size(&m), true), RC_OK);
	CU_ASSERT_EQUAL(d.sysflag, MSG_SYS_COMPRESSED);
	free(p);
}

static void
topics_over_127_bytes_make_version_2(void)
{
	for (size_t n = 126; n <= 255; n++) {
		struct message m = sample(), d;
		char topic[255], *p;

		memset(topic, 't', sizeof(topic));
		m.topic = (struct slice){topic, n};
		p = encoded(&m);
		CU_ASSERT_EQUAL(be32_get(p + 4), n > 127 ? MSG_MAGIC_V2 : MSG_MAGIC_V1);
		CU_ASSERT_EQUAL(message_size(&m), 91 + 5 + n + 14 + (n > 127));
		CU_ASSERT_EQUAL(message_decode(&d, p, message_size(&m), true), RC_OK);
		expect_same(&m, &d);
		free(p);
	}
}

static void
a_record_cut_off_anywhere_is_bad_data(void)
{
	struct message m = sample(), d;
	char *p = encoded(&m);
	size_t size = message_size(&m);

	for (size_t n = 0; n < size; n++) {
		char *cut = xmalloc(n + 1);

		memcpy(cut, p, n);
		cut = xrealloc(cut, n + (n == 0));
		CU_ASSERT_EQUAL(message_decode(&d, cut, n, true), RC_BADDATA);
		free(cut);
	}
	free(p);
}

static void
lengths_that_do_not_add_up_are_bad_data(void)
{
	static const struct {
		size_t	 at;
		int	 width;
		uint32_t value;
	} wrong[] = {{0, 4, 0},
		     {0, 4, 90},
		     {0, 4, 115},
		     {0, 4, UINT32_MAX},
		     {84, 4, 6},
		     {84, 4, 4},
		     {84, 4, UINT32_MAX},
		     {84, 4, 0x7fffffff},
		     {93, 1, 0},
		     {93, 1, 7},
		     {93, 1, 255},
		     {100, 2, 13},
		     {100, 2, 15},
		     {100, 2, 0xffff},
		     {36, 4, MSG_SYS_BORN_V6},
		     {4, 4, 0xDAA320AB},
		     {4, 4, 0}};

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct message m = sample(), d;
		char *p = encoded(&m), *at = p + wrong[i].at;

		if (wrong[i].width == 4)
			be32_put(at, wrong[i].value);
		else if (wrong[i].width == 2)
			be16_put(at, (uint16_t)wrong[i].value);
		else
			*at = (char)wrong[i].value;
		CU_ASSERT_EQUAL(message_decode(&d, p, message_size(&m), false), RC_BADDATA);
		free(p);
	}
}

static void
every_single_wrong_byte_is_survived(void)
{
	struct message m = sample(), d;
	char *p = encoded(&m);
	size_t size = message_size(&m);

	for (size_t i = 0; i < size; i++)
		for (int bit = 0; bit < 8; bit++) {
			enum rc rc;

			p[i] = (char)(p[i] ^ 1 << bit);
			rc = message_decode(&d, p, size, true);
			CU_ASSERT(rc == RC_OK || rc == RC_BADDATA || rc == RC_NOTFOUND);
			p[i] = (char)(p[i] ^ 1 << bit);
		}
	CU_ASSERT_EQUAL(message_decode(&d, p, size, true), RC_OK);
	free(p);
}

static void
a_changed_body_is_found_only_when_asked_for(void)
{
	struct message m = sample(), d;
	char *p = encoded(&m);

	p[88] ^= 1;
	CU_ASSERT_EQUAL(message_decode(&d, p, message_size(&m), false), RC_OK);
	CU_ASSERT_EQUAL(message_decode(&d, p, message_size(&m), true), RC_BADDATA);
	free(p);
}

static void
the_blank_filler_is_told_with_its_length(void)
{
	struct message d;
	char p[8];

	be32_put(p, 4711);
	be32_put(p + 4, MSG_MAGIC_BLANK);
	CU_ASSERT_EQUAL(message_decode(&d, p, sizeof(p), true), RC_NOTFOUND);
	CU_ASSERT_EQUAL(d.size, 4711);
	CU_ASSERT_EQUAL(message_decode(&d, p, 7, true), RC_BADDATA);
	be32_put(p, 7);
	CU_ASSERT_EQUAL(message_decode(&d, p, sizeof(p), true), RC_BADDATA);
}

#define PROPS                                                                                                          \
	"TAGS\x01"                                                                                                     \
	"A\x02UNIQ_KEY\x01"                                                                                            \
	"one\x02"                                                                                                      \
	"\x01x\x02"                                                                                                    \
	"K\x01\x02"                                                                                                    \
	"ab\x02"                                                                                                       \
	"UNIQ_KEY\x01two\x02"                                                                                          \
	"EMPTY\x01\x02WAIT\x01"                                                                                        \
	"false"

static void
properties_are_found_by_name(void)
{
	struct slice p = SLICE_LIT(PROPS);

	CU_ASSERT(slice_is(props_get(p, "TAGS"), "A"));
	CU_ASSERT(slice_is(props_get(p, "UNIQ_KEY"), "two"));
	CU_ASSERT(slice_is(props_get(p, "WAIT"), "false"));
	CU_ASSERT_EQUAL(props_get(p, "TAG").n, 0);
	CU_ASSERT_EQUAL(props_get(p, "AGS").n, 0);
	CU_ASSERT_EQUAL(props_get(p, "EMPTY").n, 0);
	CU_ASSERT_EQUAL(props_get(p, "K").n, 0);
	CU_ASSERT_EQUAL(props_get(SLICE_NONE, "K").n, 0);
	CU_ASSERT(slice_is(props_get(SLICE_LIT("K\x01" "a\x02K\x01\x02"), "K"), "a")); /* an empty pair hides nothing */
	CU_ASSERT(slice_is(props_get(SLICE_LIT("K\x01" "a\x01" "b"), "K"), "a\x01" "b"));
	CU_ASSERT(slice_is(props_get(SLICE_LIT("K\x01v"), "K"), "v"));
}

/* Against the walk, which is simple: any bytes of a small alphabet, so that separators stand everywhere. */
static void
looking_up_finds_what_the_walk_finds(void)
{
	static const char alphabet[] = {'\x01', '\x02', '\x03', 'A', 'B', '\x82'};
	static const char *const names[] = {"A", "B", "AB", "AAB"};
	uint32_t x = 12345;

	for (int i = 0; i < 20000; i++) {
		size_t n = (size_t)(i % 41);
		char *text = xmalloc(n + 1);

		for (size_t k = 0; k < n; k++)
			text[k] = alphabet[(x = x * 1664525 + 1013904223) >> 16 & 7 ? (x >> 20) % 6 : 1];
		text = xrealloc(text, n + (n == 0));
		for (size_t w = 0; w < COUNT_OF(names); w++) {
			struct slice rest = {text, n}, name, value, last = SLICE_NONE;

			while (props_next(&rest, &name, &value))
				if (slice_is(name, names[w]))
					last = value;
			value = props_get((struct slice){text, n}, names[w]);
			CU_ASSERT(value.n == last.n && (last.n == 0 || value.p == last.p));
		}
		free(text);
	}
}

static void
walking_properties_passes_over_bad_pairs(void)
{
	struct slice rest = SLICE_LIT(PROPS), n, v;

	CU_ASSERT(props_next(&rest, &n, &v) && slice_is(n, "TAGS") && slice_is(v, "A"));
	CU_ASSERT(props_next(&rest, &n, &v) && slice_is(n, "UNIQ_KEY") && slice_is(v, "one"));
	CU_ASSERT(props_next(&rest, &n, &v) && slice_is(n, "UNIQ_KEY") && slice_is(v, "two"));
	CU_ASSERT(props_next(&rest, &n, &v) && slice_is(n, "WAIT") && slice_is(v, "false"));
	CU_ASSERT_FALSE(props_next(&rest, &n, &v));
	CU_ASSERT_FALSE(props_next(&rest, &n, &v));
}

static void
properties_are_put_and_left_out(void)
{
	struct buf b = {0};

	props_put(&b, "A", SLICE_LIT("1"));
	props_put_without(&b, SLICE_LIT(PROPS), "UNIQ_KEY");
	CU_ASSERT(slice_is(buf_slice(&b), "A\x01" "1\x02TAGS\x01" "A\x02WAIT\x01" "false\x02"));
	buf_free(&b);
}

static void
tags_code_is_javas_hash_with_its_sign(void)
{
	CU_ASSERT_EQUAL(message_tags_code(SLICE_NONE), 0);
	CU_ASSERT_EQUAL(message_tags_code(SLICE_LIT("TagA")), 2598919);
	CU_ASSERT_EQUAL(message_tags_code(SLICE_LIT("polygenelubricants")), (int64_t)INT32_MIN);
}

static void
offset_ids_are_hex_of_address_and_offset(void)
{
	struct addr host = {.ip = {127, 0, 0, 1}, .port = 20911}, got;
	char id[MSG_ID_TEXT];
	int64_t off = 0;

	CU_ASSERT_EQUAL(message_id_text(&host, 0x30FB, id), 32);
	CU_ASSERT_STRING_EQUAL(id, "7F000001000051AF00000000000030FB");
	CU_ASSERT_EQUAL(message_id_parse(slice_of(id), &got, &off), RC_OK);
	CU_ASSERT_EQUAL(off, 0x30FB);
	CU_ASSERT_EQUAL(memcmp(&got, &host, sizeof(got)), 0);
	CU_ASSERT_EQUAL(message_id_text(&v6, INT64_MAX, id), 56);
	CU_ASSERT_EQUAL(message_id_parse(slice_of(id), &got, &off), RC_OK);
	CU_ASSERT_EQUAL(memcmp(&got, &v6, sizeof(got)), 0);
	CU_ASSERT_EQUAL(off, INT64_MAX);
}

static void
what_is_no_offset_id_is_refused(void)
{
	struct addr a;
	int64_t off;

	CU_ASSERT_EQUAL(message_id_parse(SLICE_NONE, &a, &off), RC_INVAL);
	CU_ASSERT_EQUAL(message_id_parse(SLICE_LIT("7F000001000051AF00000000000030F"), &a, &off), RC_INVAL);
	CU_ASSERT_EQUAL(message_id_parse(SLICE_LIT("7F000001000051AF00000000000030FG"), &a, &off), RC_INVAL);
	CU_ASSERT_EQUAL(message_id_parse(SLICE_LIT("7F000001000151AF00000000000030FB"), &a, &off), RC_INVAL);
}

static uint32_t
hex_at(const char *id, size_t at, int n)
{
	char text[9];

	snprintf(text, sizeof(text), "%.*s", n, id + at);
	return (uint32_t)strtoul(text, NULL, 16);
}

static void
unique_ids_tell_time_and_never_repeat(void)
{
	char a[33], b[33];
	struct tm start = {.tm_year = 126, .tm_mon = 10, .tm_mday = 1, .tm_isdst = -1};
	int64_t month = (int64_t)mktime(&start) * 1000;

	clock_set_made(month + 123456);
	message_unique_id(a);
	message_unique_id(b);
	CU_ASSERT_EQUAL(strlen(a), 32);
	for (int i = 0; i < 32; i++)
		CU_ASSERT(isdigit((unsigned char)a[i]) || (a[i] >= 'A' && a[i] <= 'F'));
	CU_ASSERT_EQUAL(memcmp(a, b, 28), 0);
	CU_ASSERT_EQUAL(hex_at(a, 20, 8), 123456);
	CU_ASSERT_EQUAL((hex_at(a, 28, 4) + 1) & 0xffff, hex_at(b, 28, 4));
	clock_advance_ms((int64_t)31 * 86400000); /* the next month begins anew */
	message_unique_id(b);
	CU_ASSERT_EQUAL(hex_at(b, 20, 8), 86400000 + 123456);
	clock_set_made(-1);
}

TEST_MAIN("common/message", TEST(smallest_record_has_91_bytes), TEST(every_field_stands_at_its_place),
    TEST(records_read_back_as_they_were_written), TEST(ipv6_bits_follow_the_addresses),
    TEST(topics_over_127_bytes_make_version_2), TEST(a_record_cut_off_anywhere_is_bad_data),
    TEST(lengths_that_do_not_add_up_are_bad_data), TEST(every_single_wrong_byte_is_survived),
    TEST(a_changed_body_is_found_only_when_asked_for), TEST(the_blank_filler_is_told_with_its_length),
    TEST(properties_are_found_by_name), TEST(looking_up_finds_what_the_walk_finds),
    TEST(walking_properties_passes_over_bad_pairs),
    TEST(properties_are_put_and_left_out), TEST(tags_code_is_javas_hash_with_its_sign),
    TEST(offset_ids_are_hex_of_address_and_offset), TEST(what_is_no_offset_id_is_refused),
    TEST(unique_ids_tell_time_and_never_repeat))

/*
 * test_buf: growing, the limit, numbers, JSON strings, arenas.
 */
#include "test.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/crc.h"
#include "common/mem.h"

static bool
buf_is(const struct buf *b, const char *text)
{
	return !b->failed && slice_is(buf_slice(b), text);
}

static void
what_is_put_stands_there_in_order(void)
{
	struct buf b = {0};

	buf_put_str(&b, "abc");
	buf_put_char(&b, '-');
	buf_put_be16(&b, 0x3132);
	buf_put_be32(&b, 0x33343536);
	buf_put_be64(&b, 0x4142434445464748);
	buf_printf(&b, "[%d]", 7);
	buf_put(&b, NULL, 0);
	CU_ASSERT(buf_is(&b, "abc-123456ABCDEFGH[7]"));
	buf_free(&b);
	CU_ASSERT_PTR_NULL(b.p);
}

static void
a_put_beyond_the_limit_sticks_until_reset(void)
{
	struct buf b = {.limit = 10};

	buf_put_str(&b, "12345678");
	buf_put_str(&b, "abc");
	CU_ASSERT(b.failed);
	CU_ASSERT_EQUAL(b.len, 8);
	buf_put_char(&b, 'x'); /* would fit, but something is missing before it */
	CU_ASSERT_EQUAL(b.len, 8);
	CU_ASSERT_PTR_NULL(buf_room(&b, 1));
	CU_ASSERT_PTR_NULL(buf_steal(&b));
	CU_ASSERT_FALSE(b.failed);
	buf_put_str(&b, "1234567890");
	CU_ASSERT(buf_is(&b, "1234567890"));
	buf_free(&b);
	CU_ASSERT_EQUAL(b.limit, 10);
}

static void
a_room_as_large_as_the_address_space_is_refused(void)
{
	struct buf b = {0};

	buf_put_char(&b, 'x');
	CU_ASSERT_PTR_NULL(buf_room(&b, SIZE_MAX));
	CU_ASSERT(b.failed);
	buf_free(&b);
}

static void
reset_keeps_small_memory_and_gives_large_back(void)
{
	struct buf b = {0};

	CU_ASSERT_PTR_NOT_NULL(buf_room(&b, 100000));
	buf_reset(&b, 1 << 20);
	CU_ASSERT(b.cap >= 100000);
	buf_reset(&b, 4096);
	CU_ASSERT_EQUAL(b.cap, 4096);
	buf_reset(&b, 0);
	CU_ASSERT_EQUAL(b.cap, 0);
	buf_free(&b);
}

static void
consume_takes_from_the_front(void)
{
	struct buf b = {0};

	buf_put_str(&b, "abcdef");
	buf_consume(&b, 2);
	CU_ASSERT(buf_is(&b, "cdef"));
	buf_consume(&b, 4);
	CU_ASSERT_EQUAL(b.len, 0);
	buf_free(&b);
}

static void
steal_gives_a_terminated_text_and_empties(void)
{
	struct buf b = {0};
	char *text;

	buf_put_str(&b, "abc");
	text = buf_steal(&b);
	CU_ASSERT_STRING_EQUAL(text, "abc");
	CU_ASSERT_PTR_NULL(b.p);
	CU_ASSERT_EQUAL(b.len, 0);
	free(text);
}

static void
numbers_are_written_as_printf_writes_them(void)
{
	static const int64_t values[] = {0, 1, 9, 10, 99, 100, 101, 999, 1000, 12345, -1, -10, -99, -100, INT32_MAX,
	    INT32_MIN, INT64_MAX, INT64_MIN, 1000000000000000000, 999999999999999999};
	struct buf b = {0};

	for (size_t i = 0; i < COUNT_OF(values); i++) {
		char text[32];

		snprintf(text, sizeof(text), "%" PRId64, values[i]);
		buf_reset(&b, 4096);
		buf_put_i64(&b, values[i]);
		CU_ASSERT(buf_is(&b, text));
	}
	buf_free(&b);
}

static bool
json_of(const char *in, size_t n, const char *want)
{
	struct buf b = {0};
	bool same;

	buf_put_json(&b, (struct slice){in, n});
	same = buf_is(&b, want);
	buf_free(&b);
	return same;
}

#define JSON_OF(in, want) CU_ASSERT(json_of(in, sizeof(in) - 1, want))

static void
json_strings_escape_what_must_be(void)
{
	JSON_OF("", "\"\"");
	JSON_OF("TopicTest-long-name_%RETRY%", "\"TopicTest-long-name_%RETRY%\"");
	JSON_OF("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	JSON_OF("\n\r\t\b\x01\x1f", "\"\\n\\r\\t\\u0008\\u0001\\u001f\"");
	JSON_OF("a\0b", "\"a\\u0000b\"");
	JSON_OF("\x7f", "\"\x7f\"");
	JSON_OF("gr\xc3\xbc\xc3\x9f dich \xe4\xb8\xad \xf0\x9f\x98\x80",
		"\"gr\xc3\xbc\xc3\x9f dich \xe4\xb8\xad \xf0\x9f\x98\x80\"");
}

static void
json_strings_are_escaped_at_every_place(void)
{
	for (size_t at = 0; at < 40; at++) { /* the plain run is looked at eight bytes at a time */
		char in[41], want[64];

		memset(in, 'x', 40);
		in[at] = '"';
		snprintf(want, sizeof(want), "\"%.*s\\\"%.*s\"", (int)at, in, (int)(39 - at), in + at + 1);
		CU_ASSERT(json_of(in, 40, want));
	}
}

#define BROKEN "\xef\xbf\xbd"

static void
broken_utf8_becomes_the_replacement_sign(void)
{
	JSON_OF("a\xff" "b", "\"a" BROKEN "b\"");
	JSON_OF("\xc0\x80", "\"" BROKEN BROKEN "\"");			/* overlong NUL */
	JSON_OF("\xed\xa0\x80", "\"" BROKEN BROKEN BROKEN "\"");	/* half a surrogate pair */
	JSON_OF("\xf4\x90\x80\x80", "\"" BROKEN BROKEN BROKEN BROKEN "\""); /* beyond U+10FFFF */
	JSON_OF("ab\xe4\xb8", "\"ab" BROKEN BROKEN "\"");		/* cut off */
}

static void
json_beyond_the_limit_fails(void)
{
	struct buf b = {.limit = 8};

	buf_put_json(&b, SLICE_LIT("\x01\x02"));
	CU_ASSERT(b.failed);
	buf_free(&b);
}

static void
crc_is_that_of_java(void)
{
	CU_ASSERT_EQUAL(crc32_of("123456789", 9), 0xcbf43926u);
	CU_ASSERT_EQUAL(crc32_of(NULL, 0), 0);
	CU_ASSERT_EQUAL(crc32_more(crc32_of("12345", 5), "6789", 4), 0xcbf43926u);
	CU_ASSERT_EQUAL(crc32_more(0x1234, NULL, 0), 0x1234);
}

static void
arena_pieces_are_aligned_and_apart(void)
{
	struct arena a = {0};
	char *first = arena_alloc(&a, 3), *second, *large;

	memset(first, 'a', 3);
	second = arena_slicedup(&a, SLICE_LIT("hello"));
	large = arena_alloc(&a, 3 << 20);
	memset(large, 'z', 3 << 20);
	CU_ASSERT_EQUAL((uintptr_t)first % 16, 0);
	CU_ASSERT_EQUAL((uintptr_t)second % 16, 0);
	CU_ASSERT_EQUAL(memcmp(first, "aaa", 3), 0);
	CU_ASSERT_STRING_EQUAL(second, "hello");
	arena_reset(&a);
	CU_ASSERT_PTR_NULL(a.head); /* the huge block was not kept */
	CU_ASSERT_STRING_EQUAL(arena_slicedup(&a, SLICE_NONE), "");
	arena_reset(&a);
	CU_ASSERT_PTR_NOT_NULL(a.head);
	arena_free(&a);
	CU_ASSERT_PTR_NULL(a.head);
}

TEST_MAIN("common/buf", TEST(what_is_put_stands_there_in_order), TEST(a_put_beyond_the_limit_sticks_until_reset),
    TEST(a_room_as_large_as_the_address_space_is_refused), TEST(reset_keeps_small_memory_and_gives_large_back),
    TEST(consume_takes_from_the_front), TEST(steal_gives_a_terminated_text_and_empties),
    TEST(numbers_are_written_as_printf_writes_them), TEST(json_strings_escape_what_must_be),
    TEST(json_strings_are_escaped_at_every_place), TEST(broken_utf8_becomes_the_replacement_sign),
    TEST(json_beyond_the_limit_fails), TEST(crc_is_that_of_java), TEST(arena_pieces_are_aligned_and_apart))

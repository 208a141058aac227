/*
 * test_str: numbers, Java's hash, cutting, distances; addresses as text.
 */
#include "test.h"

#include "common/sock.h"
#include "common/str.h"

static bool
i64_is(const char *text, int64_t want)
{
	int64_t v = 77;

	return str_i64(slice_of(text), &v) == RC_OK && v == want;
}

static bool
i64_refused(const char *text)
{
	int64_t v = 77;

	return str_i64(slice_of(text), &v) == RC_INVAL && v == 77;
}

static void
decimal_numbers_are_read(void)
{
	CU_ASSERT(i64_is("0", 0));
	CU_ASSERT(i64_is("-0", 0));
	CU_ASSERT(i64_is("+12", 12));
	CU_ASSERT(i64_is("007", 7));
	CU_ASSERT(i64_is("9223372036854775807", INT64_MAX));
	CU_ASSERT(i64_is("-9223372036854775808", INT64_MIN));
}

static void
what_is_no_number_changes_nothing(void)
{
	static const char *const bad[] = {"", "-", "+", "1a", " 1", "1 ", "0x1", "1.0", "9223372036854775808",
	    "-9223372036854775809", "99999999999999999999", "--1"};

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		CU_ASSERT(i64_refused(bad[i]));
}

static void
numbers_of_32_bits_keep_their_range(void)
{
	int32_t v = 5;

	CU_ASSERT_EQUAL(str_i32(SLICE_LIT("2147483648"), &v), RC_INVAL);
	CU_ASSERT_EQUAL(str_i32(SLICE_LIT("-2147483649"), &v), RC_INVAL);
	CU_ASSERT_EQUAL(v, 5);
	CU_ASSERT_EQUAL(str_i32(SLICE_LIT("-2147483648"), &v), RC_OK);
	CU_ASSERT_EQUAL(v, INT32_MIN);
}

static void
only_true_is_true(void)
{
	CU_ASSERT(str_bool(SLICE_LIT("true")));
	CU_ASSERT(str_bool(SLICE_LIT("TRUE")));
	CU_ASSERT_FALSE(str_bool(SLICE_LIT("1")));
	CU_ASSERT_FALSE(str_bool(SLICE_LIT("yes")));
	CU_ASSERT_FALSE(str_bool(SLICE_LIT("truely")));
	CU_ASSERT_FALSE(str_bool(SLICE_NONE));
}

/* Figures of java.lang.String.hashCode. */
static void
hashes_are_those_of_java(void)
{
	CU_ASSERT_EQUAL(str_java_hash(SLICE_NONE), 0);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("TagA")), 2598919);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("hello world")), 1794106052);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("polygenelubricants")), INT32_MIN);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("\xc3\xbc")), 0xfc);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("ab\xe4\xb8\xad")), ('a' * 31 + 'b') * 31 + 0x4e2d);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("\xf0\x9f\x98\x80")), 0xd83d * 31 + 0xde00);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("\xff\xfe")), 0xfffd * 31 + 0xfffd);
	CU_ASSERT_EQUAL(str_java_hash(SLICE_LIT("abcd\xe4\xb8")),
	    (int32_t)((2987074u * 31 + 0xfffd) * 31 + 0xfffd)); /* "abcd" is 2987074 */
}

static void
hash_does_not_depend_on_how_it_is_cut(void)
{
	char text[64];

	for (int n = 0; n < 64; n++) {
		uint32_t h = 0;

		for (int i = 0; i < n; i++) {
			text[i] = (char)('0' + (i * 7) % 75);
			h = 31 * h + (unsigned char)text[i];
		}
		CU_ASSERT_EQUAL(str_java_hash((struct slice){text, (size_t)n}), (int32_t)h);
	}
}

static void
trim_takes_white_space_off_both_ends(void)
{
	CU_ASSERT(slice_is(str_trim(SLICE_LIT(" \t a b\r\n")), "a b"));
	CU_ASSERT_EQUAL(str_trim(SLICE_LIT(" \n ")).n, 0);
	CU_ASSERT_EQUAL(str_trim(SLICE_NONE).n, 0);
}

static void
texts_are_copied_one_behind_another(void)
{
	char room[8], *at = room;
	struct slice a = str_copy_into(SLICE_LIT("abc"), &at), none = str_copy_into(SLICE_NONE, &at), b = str_copy_into(SLICE_LIT("de"), &at);

	CU_ASSERT(slice_is(a, "abc") && a.p == room);
	CU_ASSERT_EQUAL(none.n, 0);
	CU_ASSERT(slice_is(b, "de") && b.p == room + 3);
	CU_ASSERT_PTR_EQUAL(at, room + 5);
}

static void
pieces_are_cut_at_separators(void)
{
	struct slice rest = SLICE_LIT("a,,bc,"), piece;

	CU_ASSERT(str_next(&rest, ',', &piece) && slice_is(piece, "a"));
	CU_ASSERT(str_next(&rest, ',', &piece) && piece.n == 0);
	CU_ASSERT(str_next(&rest, ',', &piece) && slice_is(piece, "bc"));
	CU_ASSERT_FALSE(str_next(&rest, ',', &piece));
	rest = SLICE_NONE;
	CU_ASSERT_FALSE(str_next(&rest, ',', &piece));
}

static void
distance_counts_single_changes(void)
{
	CU_ASSERT_EQUAL(str_distance("", ""), 0);
	CU_ASSERT_EQUAL(str_distance("abc", "abc"), 0);
	CU_ASSERT_EQUAL(str_distance("brokerIp1", "brokerIP1"), 1);
	CU_ASSERT_EQUAL(str_distance("kitten", "sitting"), 3);
	CU_ASSERT_EQUAL(str_distance("", "four"), 4);
}

static void
sizes_may_have_a_unit(void)
{
	int64_t v = 0;

	CU_ASSERT(str_bytes(SLICE_LIT("512"), &v) == RC_OK && v == 512);
	CU_ASSERT(str_bytes(SLICE_LIT("64k"), &v) == RC_OK && v == 65536);
	CU_ASSERT(str_bytes(SLICE_LIT("10M"), &v) == RC_OK && v == 10485760);
	CU_ASSERT(str_bytes(SLICE_LIT("2g"), &v) == RC_OK && v == 2147483648);
	CU_ASSERT_EQUAL(str_bytes(SLICE_LIT("k"), &v), RC_INVAL);
	CU_ASSERT_EQUAL(str_bytes(SLICE_LIT("2t"), &v), RC_INVAL);
	CU_ASSERT_EQUAL(str_bytes(SLICE_LIT("9223372036854775807g"), &v), RC_INVAL);
	CU_ASSERT_EQUAL(str_bytes(SLICE_NONE, &v), RC_INVAL);
}

static void
utf8_is_told_from_other_bytes(void)
{
	CU_ASSERT(str_is_utf8(SLICE_NONE));
	CU_ASSERT(str_is_utf8(SLICE_LIT("a\xc3\xbc\xe4\xb8\xad\xf0\x9f\x98\x80")));
	CU_ASSERT_FALSE(str_is_utf8(SLICE_LIT("a\x80")));
	CU_ASSERT_FALSE(str_is_utf8(SLICE_LIT("\xe0\x9f\xbf")));
	CU_ASSERT_FALSE(str_is_utf8(SLICE_LIT("\xf0\x8f\xbf\xbf")));
	CU_ASSERT_FALSE(str_is_utf8(SLICE_LIT("\xf0\x9f\x98")));
}

static bool
address_reads_back(const char *text)
{
	char out[ADDR_TEXT];
	struct addr a, b;
	struct sockaddr_storage ss;
	struct err e;

	if (addr_parse(text, &a, &e) != RC_OK)
		return false;
	addr_to_sockaddr(&a, &ss);
	addr_from_sockaddr(&b, &ss);
	return strcmp(addr_text(&a, out), text) == 0 && memcmp(&a.ip, &b.ip, 16) == 0 && a.port == b.port &&
	       a.v6 == b.v6;
}

static void
addresses_are_read_and_written(void)
{
	CU_ASSERT(address_reads_back("1.2.3.4:10911"));
	CU_ASSERT(address_reads_back("255.255.255.255:65535"));
	CU_ASSERT(address_reads_back("[::1]:10911"));
	CU_ASSERT(address_reads_back("[2001:db8::ff]:0"));
}

static void
what_is_no_address_is_refused_with_a_sentence(void)
{
	static const char *const bad[] = {"",           "1.2.3.4",   ":80", "1.2.3.4:", "1.2.3.4:65536",
					  "1.2.3.4:-1", "1.2.3.4:x", "[]:1"};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct addr a;
		struct err e = {""};

		CU_ASSERT_EQUAL(addr_parse(bad[i], &a, &e), RC_INVAL);
		CU_ASSERT(strlen(e.text) > 10);
	}
}

static void
ipv4_in_ipv6_dress_is_ipv4(void)
{
	static const char ip[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, 10, 0, 0, 7};
	struct addr mapped = {.v6 = true, .port = 5}, got;
	struct sockaddr_storage ss;
	char text[ADDR_TEXT];

	memcpy(mapped.ip, ip, 16);
	addr_to_sockaddr(&mapped, &ss);
	addr_from_sockaddr(&got, &ss);
	CU_ASSERT_STRING_EQUAL(addr_text(&got, text), "10.0.0.7:5");
}

TEST_MAIN("common/str", TEST(decimal_numbers_are_read), TEST(what_is_no_number_changes_nothing),
    TEST(numbers_of_32_bits_keep_their_range), TEST(only_true_is_true), TEST(hashes_are_those_of_java),
    TEST(hash_does_not_depend_on_how_it_is_cut), TEST(trim_takes_white_space_off_both_ends),
    TEST(texts_are_copied_one_behind_another), TEST(pieces_are_cut_at_separators), TEST(distance_counts_single_changes), TEST(sizes_may_have_a_unit),
    TEST(utf8_is_told_from_other_bytes), TEST(addresses_are_read_and_written),
    TEST(what_is_no_address_is_refused_with_a_sentence), TEST(ipv4_in_ipv6_dress_is_ipv4))

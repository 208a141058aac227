/*
 * test_filter_sql: what SQL92 expressions say of a message. The expected answers are those of the original's own classes.
 */
#include "t/unit/test.h"

#include <stdio.h>

#include "common/buf.h"
#include "common/message.h"
#include "workers/broker/filter_sql.h"

enum { REFUSED = SQL_ERROR + 1 };

static const char *const names[] = {"FALSE", "TRUE", "NULL", "ERROR", "REFUSED"};

/* props: "name=value;name=value" */
static void
put_props(struct buf *b, const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		buf_put_char(b, *p == '=' ? '\x01' : *p == ';' ? '\x02' : *p);
}

static int
ask(const char *expression, const char *props)
{
	struct err e;
	struct sql_filter *f = sql_filter_compile(slice_of(expression), &e);
	struct buf b = {0};
	int said;

	if (f == NULL) {
		CU_ASSERT(e.text[0] != '\0');
		return REFUSED;
	}
	put_props(&b, props);
	said = (int)sql_filter_eval(f, buf_slice(&b));
	CU_ASSERT_EQUAL(sql_filter_passes(f, buf_slice(&b)), said == SQL_TRUE);
	sql_filter_unref(&f);
	CU_ASSERT_PTR_NULL(f);
	buf_free(&b);
	return said;
}

struct row {
	const char	*expression, *props;
	int		 said;
};

static void
check(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int said = ask(rows[i].expression, rows[i].props);

		if (said != rows[i].said)
			printf("\n  %s [%s]: %s, not %s ", rows[i].expression, rows[i].props, names[said], names[rows[i].said]);
		CU_ASSERT_EQUAL(said, rows[i].said);
	}
}
#define CHECK(...)                                                                                                     \
	do {                                                                                                           \
		static const struct row rows[] = {__VA_ARGS__};                                                        \
		check(rows, COUNT_OF(rows));                                                                           \
	} while (0)

static void
texts_and_numbers_are_compared_as_the_literal_says(void)
{
	CHECK({"a = 5", "a=5", SQL_TRUE}, {"a = 5", "a=05", SQL_TRUE}, {"a = 5", "a=+5", SQL_TRUE}, {"a = 5", "a=6", SQL_FALSE},
	    {"a = 5", "a=5.0", SQL_ERROR}, {"a = 5", "a= 5", SQL_ERROR}, {"a = 5", "a=abc", SQL_ERROR}, {"a = '5'", "a=05", SQL_FALSE},
	    {"a = 5.0", "a=5", SQL_TRUE}, {"a = 5.5", "a=5.5", SQL_TRUE}, {"a >= 5.5", "a= 5.5 ", SQL_TRUE}, {"a > 5.5", "a=0x1p3", SQL_TRUE},
	    {"a > 1e2", "a=101d", SQL_TRUE}, {"a > .5", "a=NaN", SQL_TRUE}, {"a > .5", "a=-Infinity", SQL_FALSE}, {"a > .5", "a=0x10", SQL_ERROR},
	    {"a > .5", "a=.", SQL_ERROR}, {"a > .5", "a=1e", SQL_ERROR}, {"a = TRUE", "a=TrUe", SQL_TRUE}, {"a = FALSE", "a=no", SQL_TRUE},
	    {"a <> 5", "a=6", SQL_TRUE}, {"a <> 'x'", "a=x", SQL_FALSE}, {"5 = a", "a=5", SQL_TRUE}, {"5 < a", "a=6", SQL_TRUE},
	    {"TRUE = a", "a=true", SQL_ERROR}, {"TAGS = 'x'", "TAGS=x", SQL_TRUE}, {"a=b", "a=x;b=x", SQL_TRUE}, {"a=b", "a=1;b=01", SQL_FALSE});
}

static void
integers_have_32_or_64_bits_as_their_literal(void)
{
	CHECK({"a < 5", "a=2147483647", SQL_FALSE}, {"a > 5", "a=2147483648", SQL_ERROR}, {"a > 5L", "a=2147483648", SQL_ERROR},
	    {"a < 2147483648", "a=3", SQL_TRUE}, {"a > 2147483648", "a=2147483649", SQL_TRUE}, {"a = 9223372036854775807", "a=9223372036854775807", SQL_TRUE},
	    {"a = 9223372036854775808", "a=1", REFUSED}, {"a > 3000000000", "a=9223372036854775808", SQL_ERROR},
	    {"a > -2147483648", "a=0", SQL_TRUE}, {"a = -5", "a=-5", SQL_TRUE}, {"a = - -5", "a=5", SQL_TRUE}, {"a = +5", "a=5", SQL_TRUE});
}

static void
two_properties_have_the_order_of_their_numbers(void)
{
	CHECK({"a < b", "a=9;b=10", SQL_TRUE}, {"a >= b", "a=1e1;b=10", SQL_TRUE}, {"a < b", "a=x;b=10", SQL_ERROR}, {"a < b", "a=9", SQL_NULL},
	    {"a < b", "b=9", SQL_NULL}, {"a <= b", "a=-0.0;b=0", SQL_TRUE}, {"a < b", "a=-0.0;b=0", SQL_TRUE}, {"a >= b", "a=NaN;b=Infinity", SQL_TRUE},
	    {"-a < 5", "a=1", SQL_NULL});
}

static void
a_missing_property_is_null(void)
{
	CHECK({"a = 5", "", SQL_NULL}, {"a <> 5", "", SQL_NULL}, {"5 = a", "", SQL_FALSE}, {"5 <> a", "", SQL_TRUE}, {"a = b", "", SQL_TRUE},
	    {"a > 5", "", SQL_NULL}, {"5 > a", "", SQL_NULL}, {"a IS NULL", "", SQL_TRUE}, {"a IS NULL", "a=1", SQL_FALSE},
	    {"a IS NOT NULL", "", SQL_FALSE}, {"a IS NOT NULL", "a=1", SQL_TRUE}, {"(a > 5) IS NULL", "", SQL_TRUE}, {"a", "", SQL_NULL},
	    {"a", "a=true", SQL_FALSE}, {"NOT a", "a=true", SQL_TRUE}, {"NOT a", "", SQL_NULL}, {"NULL", "", SQL_NULL}, {"TRUE", "", SQL_TRUE},
	    {"FALSE", "", SQL_FALSE}, {"a IN ('x')", "", SQL_NULL}, {"a NOT IN ('x')", "", SQL_NULL}, {"a = 'x'", "A=x", SQL_NULL},
	    {"a = 'x'", "a=y;a=x", SQL_TRUE}, {"a IS NULL", "a=", SQL_TRUE});
}

static void
and_or_and_not_have_three_values(void)
{
	CHECK({"TRUE AND NULL", "", SQL_NULL}, {"NULL AND FALSE", "", SQL_FALSE}, {"FALSE AND NULL", "", SQL_FALSE}, {"NULL OR TRUE", "", SQL_TRUE},
	    {"NULL OR FALSE", "", SQL_NULL}, {"FALSE OR FALSE OR TRUE", "", SQL_TRUE}, {"TRUE AND TRUE AND FALSE", "", SQL_FALSE}, {"NOT NULL", "", SQL_NULL},
	    {"NOT TRUE", "", SQL_FALSE}, {"FALSE AND a > 5", "a=x", SQL_FALSE}, {"a > 5 AND FALSE", "a=x", SQL_ERROR}, {"TRUE OR a > 5", "a=x", SQL_TRUE},
	    {"a > 5 OR TRUE", "a=x", SQL_ERROR}, {"FALSE AND TRUE OR TRUE", "", SQL_TRUE}, {"TRUE OR TRUE AND FALSE", "", SQL_TRUE},
	    {"(TRUE OR TRUE) AND FALSE", "", SQL_FALSE}, {"(a = 1 OR b = 1) AND (c = 1 OR d = 1)", "a=2;b=1;c=1", SQL_TRUE},
	    {"NOT a = 5", "a=5", SQL_FALSE}, {"NOT (a = 5)", "a=6", SQL_TRUE}, {"NOT a > 5", "a=6", REFUSED});
}

static void
between_and_in(void)
{
	CHECK({"a BETWEEN 1 AND 5", "a=5", SQL_TRUE}, {"a BETWEEN 1 AND 5", "a=1", SQL_TRUE}, {"a BETWEEN 1 AND 5", "a=6", SQL_FALSE},
	    {"a NOT BETWEEN 1 AND 5", "a=6", SQL_TRUE}, {"a NOT BETWEEN 1 AND 5", "a=5", SQL_FALSE}, {"a BETWEEN 1 AND 5", "", SQL_NULL},
	    {"a NOT BETWEEN 5 AND 1", "a=3", SQL_TRUE}, {"a BETWEEN 5 AND 1", "a=3", REFUSED}, {"a BETWEEN 5 AND 4.5", "a=3", REFUSED},
	    {"a BETWEEN 5 AND 5", "a=5", SQL_TRUE}, {"a BETWEEN b AND c", "a=2;b=1;c=3", SQL_TRUE}, {"a BETWEEN -5 AND 3", "a=-5", SQL_TRUE},
	    {"a BETWEEN NULL AND 3", "a=1", REFUSED}, {"a BETWEEN 1 AND NULL", "a=1", REFUSED}, {"a NOT BETWEEN NULL AND 3", "a=1", REFUSED},
	    {"a BETWEEN 'a' AND 'b'", "a=a", REFUSED}, {"a BETWEEN 1 AND 5 AND b = 2", "a=3;b=2", SQL_TRUE},
	    {"a NOT BETWEEN 1 AND 5 OR b = 2", "a=3;b=2", SQL_TRUE}, {"a BETWEEN 1 5", "a=3", REFUSED}, {"a IN ('x', 'y')", "a=y", SQL_TRUE},
	    {"a IN ('x', 'y')", "a=z", SQL_FALSE}, {"a NOT IN ('x', 'y')", "a=z", SQL_TRUE}, {"a IN ('')", "a=z", SQL_FALSE}, {"a IN (5)", "a=5", REFUSED},
	    {"a IN ()", "a=5", REFUSED}, {"'a' IN ('a')", "", REFUSED}, {"(a) IN ('x')", "a=x", SQL_TRUE}, {"+a IN ('x')", "a=x", SQL_TRUE},
	    {"-a IN ('x')", "a=x", REFUSED}, {"a IN ('it''s')", "a=it's", SQL_TRUE}, {"a IN ('x') = TRUE", "a=x", SQL_TRUE});
}

static void
texts_are_searched(void)
{
	CHECK({"a CONTAINS 'bc'", "a=abcd", SQL_TRUE}, {"a CONTAINS 'x'", "a=abcd", SQL_FALSE}, {"a CONTAINS ''", "a=abcd", SQL_FALSE},
	    {"a NOT CONTAINS ''", "a=abcd", SQL_FALSE}, {"a CONTAINS 'x'", "", SQL_FALSE}, {"a NOT CONTAINS 'x'", "", SQL_FALSE},
	    {"a NOT CONTAINS 'x'", "a=abc", SQL_TRUE}, {"a STARTSWITH 'ab'", "a=abc", SQL_TRUE}, {"a STARTSWITH 'bc'", "a=abc", SQL_FALSE},
	    {"a startswith 'abcd'", "a=abc", SQL_FALSE}, {"a NOT STARTSWITH 'x'", "a=abc", SQL_TRUE}, {"a ENDSWITH 'bc'", "a=abc", SQL_TRUE},
	    {"a ENDSWITH 'ab'", "a=abc", SQL_FALSE}, {"a NOT EndsWith 'x'", "a=abc", SQL_TRUE}, {"a NOT ENDSWITH 'x'", "", SQL_FALSE},
	    {"5 CONTAINS '5'", "", SQL_FALSE}, {"'abc' CONTAINS 'b'", "", SQL_TRUE}, {"a CONTAINS b", "a=x;b=x", REFUSED}, {"a CONTAINS 5", "a=5", REFUSED},
	    {"a CONTAINS '\xe6\x97\xa5'", "a=\xe6\x97\xa5\xe6\x9c\xac", SQL_TRUE}, {"NOT a CONTAINS 'x'", "a=y", SQL_FALSE});
}

static void
what_has_no_meaning_is_refused(void)
{
	CHECK({"", "", REFUSED}, {" ", "", REFUSED}, {"5", "", REFUSED}, {"'x'", "", REFUSED}, {"-a", "a=1", REFUSED}, {"a =", "", REFUSED}, {"= a", "", REFUSED},
	    {"a > 'x'", "", REFUSED}, {"a > TRUE", "", REFUSED}, {"a < NULL", "", REFUSED}, {"a > (b = 1)", "", REFUSED}, {"(b = 1) < 3", "", REFUSED},
	    {"a = NULL", "", REFUSED}, {"NULL <> a", "", REFUSED}, {"TRUE = 5", "", REFUSED}, {"TRUE = 'x'", "", REFUSED}, {"5 = TRUE", "", SQL_FALSE},
	    {"'true' = TRUE", "", SQL_TRUE}, {"'x' = 5", "", SQL_ERROR}, {"a AND 5", "a=1", REFUSED}, {"5 OR a", "a=1", REFUSED}, {"NOT 5", "", REFUSED},
	    {"a > 5 AND", "", REFUSED}, {"(a > 5", "a=6", REFUSED}, {"a LIKE 'x'", "a=x", SQL_FALSE}, {"a + 1 = 2", "a=1", SQL_FALSE}, {"a * 1", "", REFUSED},
	    {"a == 5", "", REFUSED}, {"a != 5", "", REFUSED}, {"a = \"x\"", "", REFUSED}, {"a = 'x", "", REFUSED}, {"a IS 5", "", REFUSED}, {"a IS", "", REFUSED},
	    {"a NOT b", "", REFUSED}, {"a > 0.0", "a=1", REFUSED}, {"a > 1e400", "a=1", REFUSED}, {"a > 1e-400", "a=1", REFUSED}, {"\xc3\xa4 = 1", "", REFUSED},
	    {"and = 1", "", REFUSED}, {"contains = 1", "", REFUSED});
}

static void
a_rest_behind_a_whole_expression_is_passed_over(void)
{
	CHECK({"a = 5 b", "a=5", SQL_TRUE}, {"a = 5)", "a=5", SQL_TRUE}, {"a = 5 5 ~", "a=5", SQL_TRUE}, {"a = 5 ~", "a=5", REFUSED},
	    {"a IS NULL > 5", "", SQL_TRUE}, {"a = 007", "a=0", SQL_TRUE}, {"a = 0L", "a=0", SQL_TRUE}, {"(a = 5 b)", "a=5", REFUSED},
	    {"a = 5 99999999999999999999", "a=5", SQL_TRUE}, {"a = 5 OR )", "a=5", REFUSED}, {"a = 5 AND )", "a=5", REFUSED});
}

static void
blanks_comments_and_cases(void)
{
	CHECK({"\t a\n=\r5\f", "a=5", SQL_TRUE}, {"a/* = 6 */=/**/5", "a=5", SQL_TRUE}, {"a = -- six\n 5", "a=5", SQL_TRUE}, {"a = --5", "a=5", SQL_TRUE},
	    {"a = /* 5", "a=5", REFUSED}, {"a = /* * / **/5", "a=5", SQL_TRUE}, {"NoT a bEtWeEn 1 aNd 2", "a=1", REFUSED},
	    {"a nOt BeTwEeN 1 AnD 2", "a=3", SQL_TRUE}, {"$a = 5 AnD _b iS nOt NuLl", "$a=5;_b=1", SQL_TRUE}, {"a='it''s'", "a=it's", SQL_TRUE},
	    {"a=''", "", SQL_NULL}, {"a=5.", "a=5", SQL_TRUE}, {"a=5.E0", "a=5", SQL_TRUE}, {"a=5e0", "a=5", SQL_TRUE}, {"a=5E", "a=5", SQL_TRUE});
}

/* n times `part`, between before and after. */
static struct slice
repeat(const char *before, const char *part, int n, const char *after, struct buf *b)
{
	buf_put_str(b, before);
	while (n-- > 0)
		buf_put_str(b, part);
	buf_put_str(b, after);
	return buf_slice(b);
}

static bool
compiles(const char *before, const char *part, int n, const char *after)
{
	struct buf b = {0};
	struct err e;
	struct sql_filter *f = sql_filter_compile(repeat(before, part, n, after, &b), &e);
	bool ok = f != NULL;

	if (ok)
		CU_ASSERT_EQUAL(sql_filter_eval(f, SLICE_LIT("a\x01" "1")), SQL_TRUE);
	sql_filter_unref(&f);
	buf_free(&b);
	return ok;
}

static void
size_and_depth_have_bounds(void)
{
	CU_ASSERT(compiles("a = 1", " OR a = 2", 5000, ""));
	CU_ASSERT(compiles("a = 1", " AND a = 1", 5000, ""));
	CU_ASSERT(!compiles("a = 1", " OR a = 2", 10000, ""));
	CU_ASSERT(compiles("a IN ('1'", ",'2'", 10000, ")"));
	CU_ASSERT(compiles("", "NOT ", 400, "TRUE"));
	CU_ASSERT(!compiles("", "NOT ", 600, "TRUE"));
	CU_ASSERT(!compiles("", "(", 60000, ""));
	CU_ASSERT(!compiles("a = ", "-", 60000, "1"));
	CU_ASSERT(!compiles("a", " = a", 600, ""));
	CU_ASSERT(!compiles("TRUE", " IS NOT NULL", 600, ""));
}

static void
a_filter_lives_as_long_as_its_last_reference(void)
{
	struct err e;
	struct sql_filter *f = sql_filter_compile(SLICE_LIT("a = 1"), &e), *other = sql_filter_ref(f);

	sql_filter_unref(&f);
	CU_ASSERT(sql_filter_passes(other, SLICE_LIT("a\x01" "1\x02")));
	sql_filter_unref(&other);
	CU_ASSERT_PTR_NULL(sql_filter_ref(NULL));
}

/* A sequence of its own, the same on each machine. */
static unsigned
next_random(unsigned *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 16;
}

static void
any_tokens_are_refused_or_evaluated(void)
{
	static const char *const parts[] = {"a", "b", "=", "<>", "<", ">=", "(", ")", "AND", "OR", "NOT", "IS", "NULL", "IN", "BETWEEN", "CONTAINS",
	    "'x'", "5", "2.5", "TRUE", "-", "+", ",", "ENDSWITH", "('x')", "--", "/*", "*/", "~", "'", "\n", "99999999999999999999"};
	unsigned state = 7, refused = 0, n = 20000;

	for (unsigned i = 0; i < n; i++) {
		struct buf b = {0};

		for (unsigned k = next_random(&state) % 12; k > 0; k--) {
			buf_put_str(&b, parts[next_random(&state) % COUNT_OF(parts)]);
			buf_put_char(&b, ' ');
		}
		buf_put_char(&b, '\0');
		refused += ask(b.p, "a=5;b=x") == REFUSED;
		buf_free(&b);
	}
	CU_ASSERT(refused > 0 && refused < n);
}

TEST_MAIN("broker/filter_sql", TEST(texts_and_numbers_are_compared_as_the_literal_says), TEST(integers_have_32_or_64_bits_as_their_literal),
    TEST(two_properties_have_the_order_of_their_numbers), TEST(a_missing_property_is_null), TEST(and_or_and_not_have_three_values),
    TEST(between_and_in), TEST(texts_are_searched), TEST(what_has_no_meaning_is_refused), TEST(a_rest_behind_a_whole_expression_is_passed_over),
    TEST(blanks_comments_and_cases), TEST(size_and_depth_have_bounds), TEST(a_filter_lives_as_long_as_its_last_reference),
    TEST(any_tokens_are_refused_or_evaluated))

/*
 * test_batch: the body of a batch send, whole and broken.
 */
#include "remoting/batch.h"

#include "common/buf.h"
#include "test.h"

static void
put_item(struct buf *b, int32_t flag, struct slice body, struct slice props)
{
	buf_put_be32(b, (uint32_t)(22 + body.n + props.n));
	buf_put_be32(b, 0);
	buf_put_be32(b, 0);
	buf_put_be32(b, (uint32_t)flag);
	buf_put_be32(b, (uint32_t)body.n);
	buf_put_slice(b, body);
	buf_put_be16(b, (uint16_t)props.n);
	buf_put_slice(b, props);
}

static void
put_three(struct buf *b)
{
	put_item(b, 7, SLICE_LIT("first"), SLICE_LIT("KEYS\001a\002"));
	put_item(b, -1, SLICE_NONE, SLICE_NONE);
	put_item(b, 0, SLICE_LIT("third"), SLICE_LIT("TAGS\001b\002"));
}

static void
messages_come_in_order(void)
{
	struct buf b = {0};
	struct batch_item it;
	struct slice rest;

	put_three(&b);
	rest = buf_slice(&b);
	CU_ASSERT_EQUAL_FATAL(batch_next(&rest, &it), RC_OK);
	CU_ASSERT_EQUAL(it.flag, 7);
	CU_ASSERT(slice_is(it.body, "first"));
	CU_ASSERT(slice_is(it.props, "KEYS\001a\002"));
	CU_ASSERT_EQUAL_FATAL(batch_next(&rest, &it), RC_OK);
	CU_ASSERT_EQUAL(it.flag, -1);
	CU_ASSERT_EQUAL(it.body.n + it.props.n, 0);
	CU_ASSERT_EQUAL_FATAL(batch_next(&rest, &it), RC_OK);
	CU_ASSERT(slice_is(it.body, "third"));
	CU_ASSERT_EQUAL(batch_next(&rest, &it), RC_NOTFOUND);
	buf_free(&b);
}

/* Walks all; the result that ended it. */
static enum rc
walk(struct slice rest)
{
	struct batch_item it;
	enum rc rc;

	do
		rc = batch_next(&rest, &it);
	while (rc == RC_OK);
	return rc;
}

static void
every_truncation_is_refused_or_ends_at_a_message(void)
{
	struct buf b = {0};
	size_t first = 22 + 5 + 7, second = first + 22;

	put_three(&b);
	for (size_t n = 1; n < b.len; n++) {
		char *copy = malloc(n);

		memcpy(copy, b.p, n);
		CU_ASSERT_EQUAL(walk((struct slice){copy, n}), n == first || n == second ? RC_NOTFOUND : RC_BADDATA);
		free(copy);
	}
	buf_free(&b);
}

static void
lengths_that_do_not_fit_are_refused(void)
{
	static const struct {
		size_t at;
		uint32_t value;
	} wrong[] = {{0, 0},  {0, 21}, {0, 0xffffffff},  {0, 33},         {0, 35},
		     {16, 6}, {16, 4}, {16, 0xffffffff}, {16, 0x80000000}};

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct buf b = {0};

		put_three(&b);
		be32_put(b.p + wrong[i].at, wrong[i].value);
		CU_ASSERT_EQUAL(walk(buf_slice(&b)), RC_BADDATA);
		buf_free(&b);
	}
}

TEST_MAIN("remoting/batch", TEST(messages_come_in_order), TEST(every_truncation_is_refused_or_ends_at_a_message),
	  TEST(lengths_that_do_not_fit_are_refused))

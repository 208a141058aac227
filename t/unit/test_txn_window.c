/*
 * The window of half messages: which are settled, where it begins, which op messages it needs.
 */
#include "t/unit/test.h"

#include "workers/broker/txn_window.h"

static void
window_begins_behind_what_is_settled(void)
{
	struct txn_window w = {0};

	txn_window_begin(&w, 100, 7);
	txn_window_set(&w, 101);
	txn_window_advance(&w, 200);
	CU_ASSERT_EQUAL(w.next, 100);
	CU_ASSERT_EQUAL(w.settled, 1);
	txn_window_set(&w, 100);
	txn_window_set(&w, 100);
	txn_window_advance(&w, 200);
	CU_ASSERT_EQUAL(w.next, 102);
	CU_ASSERT_EQUAL(w.settled, 0);
	CU_ASSERT(txn_window_is_settled(&w, 101));
	CU_ASSERT(!txn_window_is_settled(&w, 102));
	txn_window_free(&w);
}

static void
open_ones_are_found_over_long_runs(void)
{
	struct txn_window w = {0};

	txn_window_begin(&w, 3, 0);
	for (int64_t i = 3; i < 100000; i++)
		if (i != 70 && i != 99000)
			txn_window_set(&w, i);
	CU_ASSERT_EQUAL(txn_window_open_from(&w, 0, 100000), 70);
	CU_ASSERT_EQUAL(txn_window_open_from(&w, 71, 100000), 99000);
	CU_ASSERT_EQUAL(txn_window_open_from(&w, 99001, 100000), 100000);
	CU_ASSERT_EQUAL(txn_window_open_from(&w, 99001, 100500), 100000);
	txn_window_set(&w, 70);
	txn_window_advance(&w, 100000);
	CU_ASSERT_EQUAL(w.next, 99000);
	CU_ASSERT_EQUAL(w.settled, 999);
	CU_ASSERT(w.words < 100);
	CU_ASSERT(txn_window_is_settled(&w, 99001));
	CU_ASSERT(!txn_window_is_settled(&w, 99000));
	txn_window_free(&w);
}

static void
what_was_not_settled_after_all_is_open_again(void)
{
	struct txn_window w = {0};

	txn_window_begin(&w, 0, 0);
	txn_window_set(&w, 5);
	txn_window_clear(&w, 5);
	txn_window_clear(&w, 6);
	CU_ASSERT_EQUAL(w.settled, 0);
	CU_ASSERT(!txn_window_is_settled(&w, 5));
	txn_window_free(&w);
}

static void
window_does_not_pass_its_end(void)
{
	struct txn_window w = {0};

	txn_window_begin(&w, 0, 0);
	for (int64_t i = 0; i < 500; i++)
		txn_window_set(&w, i);
	txn_window_advance(&w, 130);
	CU_ASSERT_EQUAL(w.next, 130);
	CU_ASSERT_EQUAL(w.settled, 370);
	txn_window_advance(&w, 10);
	CU_ASSERT_EQUAL(w.next, 130);
	txn_window_free(&w);
}

static void
op_messages_are_kept_as_long_as_the_window_needs_them(void)
{
	struct txn_window w = {0};

	txn_window_begin(&w, 10, 4);
	txn_window_op(&w, 4, 10);
	txn_window_op(&w, 5, 12);
	txn_window_op(&w, 7, 11); /* 6 is not known yet */
	txn_window_set(&w, 10);
	txn_window_set(&w, 11);
	txn_window_advance(&w, 20);
	CU_ASSERT_EQUAL(w.op_next, 5);
	txn_window_set(&w, 12);
	txn_window_advance(&w, 20);
	CU_ASSERT_EQUAL(w.op_next, 6);
	txn_window_op(&w, 6, -1);
	txn_window_advance(&w, 20);
	CU_ASSERT_EQUAL(w.op_next, 8);
	for (int64_t i = 8; i < 5000; i++) {
		txn_window_op(&w, i, i + 5);
		txn_window_set(&w, i + 5);
		txn_window_advance(&w, i + 6);
	}
	CU_ASSERT_EQUAL(w.op_next, 5000);
	CU_ASSERT(w.op_cap <= 128);
	txn_window_free(&w);
}

static void
offsets_beyond_reason_are_not_noted(void)
{
	struct txn_window w = {0};

	txn_window_begin(&w, 0, 0);
	txn_window_set(&w, INT64_MAX - 1);
	txn_window_op(&w, INT64_MAX - 1, 3);
	CU_ASSERT_EQUAL(w.words, 0);
	CU_ASSERT_EQUAL(w.op_end, 0);
	txn_window_free(&w);
}

TEST_MAIN("broker/txn_window", TEST(window_begins_behind_what_is_settled), TEST(open_ones_are_found_over_long_runs),
	  TEST(what_was_not_settled_after_all_is_open_again), TEST(window_does_not_pass_its_end),
	  TEST(op_messages_are_kept_as_long_as_the_window_needs_them), TEST(offsets_beyond_reason_are_not_noted))

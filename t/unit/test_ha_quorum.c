/*
 * Replication's decisions: who is in sync, how many copies count, what a master answers a slave; and the bytes of
 * hellos.
 */
#include <stdio.h>

#include "t/unit/test.h"
#include "workers/ha/hello.h"
#include "workers/ha/meet.h"
#include "workers/ha/quorum.h"

/* ---- copies */

#define END 100000000

static struct quorum_rule rule;
static struct quorum_slave s[3];

static void
begin(int32_t need)
{
	rule = (struct quorum_rule){.role = ROLE_SYNC_MASTER, .need = need, .least = 1, .max_gap = 1 << 20};
	for (size_t i = 0; i < COUNT_OF(s); i++)
		s[i] = (struct quorum_slave){.id = (int64_t)i + 1, .acked = -1};
}

static struct quorum
count(void)
{
	return quorum_count(&rule, END, s, COUNT_OF(s));
}

static void
two_copies_are_the_master_and_the_best_slave(void)
{
	begin(2);
	CU_ASSERT_EQUAL(count().replicated, 0);
	s[0].acked = END - 500;
	s[2].acked = END - 300;
	CU_ASSERT_EQUAL(count().replicated, END - 300);
	CU_ASSERT_EQUAL(count().in_sync, 2);
	rule.need = 3;
	CU_ASSERT_EQUAL(count().replicated, END - 500);
	rule.need = 4;
	CU_ASSERT_EQUAL(count().replicated, 0);
	CU_ASSERT_EQUAL(count().needed, 4);
	rule.need = 1; /* as the original's default: the own copy is enough */
	CU_ASSERT_EQUAL(count().replicated, END);
	rule.role = ROLE_ASYNC_MASTER;
	rule.need = 3;
	CU_ASSERT_EQUAL(count().replicated, END);
}

static void
two_connections_of_one_slave_are_one_copy(void)
{
	begin(3);
	s[0].id = s[1].id = 7;
	s[0].acked = s[1].acked = END;
	CU_ASSERT_EQUAL(count().slaves, 1);
	CU_ASSERT_EQUAL(count().in_sync, 1);
	CU_ASSERT_EQUAL(count().replicated, 0);
	s[1].id = s[0].id = -1; /* the original's say no name: each counts */
	CU_ASSERT_EQUAL(count().slaves, 2);
	CU_ASSERT_EQUAL(count().replicated, END);
}

static void
who_lags_leaves_and_who_has_caught_up_joins(void)
{
	begin(2);
	s[0].acked = END - (2 << 20);
	CU_ASSERT_EQUAL(count().in_sync, 0);
	s[0].acked = END - (1 << 20) + 1;
	CU_ASSERT_EQUAL(count().in_sync, 1);
	CU_ASSERT_TRUE(s[0].in_sync);
	s[0].acked = END - (1 << 20);
	CU_ASSERT_EQUAL(count().in_sync, 0);
	rule.max_gap = INT64_C(1) << 28; /* leaving and joining are not the same place, or it would flicker */
	CU_ASSERT_EQUAL(count().in_sync, 1);
	s[0].acked = END - 3 * QUORUM_JOIN_BYTES;
	CU_ASSERT_EQUAL(count().in_sync, 1);
	s[0].in_sync = false;
	CU_ASSERT_EQUAL(count().in_sync, 0);
}

static void
who_is_silent_or_has_confirmed_nothing_is_not_in_sync(void)
{
	begin(2);
	s[0].acked = END;
	s[0].silent = true;
	s[1] = (struct quorum_slave){.id = -1, .acked = 0, .empty = true};
	rule.max_gap = INT64_MAX;
	CU_ASSERT_EQUAL(count().in_sync, 0);
	CU_ASSERT_EQUAL(count().slaves, 2);
}

static void
the_number_of_copies_follows_the_slaves_when_it_may(void)
{
	begin(3);
	rule.shrinks = true;
	CU_ASSERT_EQUAL(count().needed, 1);
	CU_ASSERT_EQUAL(count().replicated, END);
	s[0].acked = END - 10;
	CU_ASSERT_EQUAL(count().needed, 2);
	CU_ASSERT_EQUAL(count().replicated, END - 10);
	s[1].acked = s[2].acked = END;
	CU_ASSERT_EQUAL(count().needed, 3); /* no more than inSyncReplicas */
	rule.least = 2;
	s[0].acked = s[1].acked = s[2].acked = -1;
	CU_ASSERT_EQUAL(count().needed, 2);
	CU_ASSERT_EQUAL(count().replicated, 0);
}

static void
all_in_sync_must_have_it_when_so_asked(void)
{
	begin(2);
	rule.all = true;
	s[0].acked = END;
	s[1].acked = END - 77;
	s[2].acked = 5; /* far behind: not waited for */
	CU_ASSERT_EQUAL(count().replicated, END - 77);
}

/* ---- what a master answers */

static struct hello self, slave, answer;
static struct meet_master master;
static uint32_t tail_crc;

static bool
crc(void *arg, int64_t from, int64_t to, uint32_t *out)
{
	(void)arg, (void)from, (void)to;
	*out = tail_crc;
	return true;
}

static void
begin_meeting(void)
{
	self = (struct hello){
	    .role = ROLE_ASYNC_MASTER, .min = 1000, .max = 9000, .segment_bytes = 1000, .cluster = "c", .name = "a"};
	slave = (struct hello){.role = ROLE_SLAVE,
			       .broker_id = 1,
			       .max = 5000,
			       .segment_bytes = 1000,
			       .tail_at = 5000,
			       .cluster = "c",
			       .name = "a"};
	master = (struct meet_master){.self = &self, .serves = true, .crc = crc};
}

static enum verdict
verdict(void)
{
	meet_decide(&master, &slave, &answer);
	return answer.verdict;
}

static void
a_slave_goes_on_where_it_is(void)
{
	begin_meeting();
	CU_ASSERT_EQUAL(verdict(), VERDICT_GO);
	CU_ASSERT_EQUAL(answer.start, 5000);
	slave.max = slave.tail_at = 0;
	CU_ASSERT_EQUAL(verdict(), VERDICT_GO);
	CU_ASSERT_EQUAL(answer.start, 1000);
	slave.flags = HELLO_LAST_FILE;
	CU_ASSERT_EQUAL(verdict(), VERDICT_GO);
	CU_ASSERT_EQUAL(answer.start, 9000);
}

static void
a_slave_of_another_history_is_refused(void)
{
	begin_meeting();
	slave.tail_at = 4500;
	tail_crc = slave.tail_crc = 5;
	CU_ASSERT_EQUAL(verdict(), VERDICT_GO);
	tail_crc = 6;
	CU_ASSERT_EQUAL(verdict(), VERDICT_DIFFERENT);
	slave.tail_at = 900; /* below the master's first byte: nobody can compare */
	CU_ASSERT_EQUAL(verdict(), VERDICT_GO);
}

static void
a_slave_ahead_is_refused_in_the_same_epoch_and_cut_in_a_later_one(void)
{
	begin_meeting();
	slave.max = slave.tail_at = 9500;
	CU_ASSERT_EQUAL(verdict(), VERDICT_AHEAD);
	CU_ASSERT_PTR_NOT_NULL(strstr(answer.text, "9500"));
	self.epoch = 3;
	epochs_append(&self.epochs, 3, 8000);
	CU_ASSERT_EQUAL(verdict(), VERDICT_CUT);
	CU_ASSERT_EQUAL(answer.start, 8000);
	slave.max = slave.tail_at = 8500; /* shorter than the master, and yet bytes that it never had */
	CU_ASSERT_EQUAL(verdict(), VERDICT_CUT);
	CU_ASSERT_EQUAL(answer.start, 8000);
	slave.epochs = self.epochs;
	CU_ASSERT_EQUAL(verdict(), VERDICT_GO);
	slave.max = slave.tail_at = 9500;
	CU_ASSERT_EQUAL(verdict(), VERDICT_AHEAD);
}

static void
a_slave_below_the_first_byte_begins_anew(void)
{
	begin_meeting();
	slave.max = slave.tail_at = 500;
	CU_ASSERT_EQUAL(verdict(), VERDICT_AFRESH);
	CU_ASSERT_EQUAL(answer.start, 1000);
	slave.max = slave.tail_at = 9900;
	self.epoch = 2;
	epochs_append(&self.epochs, 2, 900); /* they part where the master has nothing any more */
	CU_ASSERT_EQUAL(verdict(), VERDICT_AFRESH);
}

static void
a_higher_epoch_ends_a_reign(void)
{
	begin_meeting();
	self.epoch = 3;
	slave.epoch = 4;
	slave.flags = HELLO_PROBE;
	CU_ASSERT_EQUAL(verdict(), VERDICT_STALE);
	slave.epoch = 0;
	epochs_append(&slave.epochs, 5, 4000);
	CU_ASSERT_EQUAL(verdict(), VERDICT_STALE);
	slave.epochs.count = 0;
	CU_ASSERT_EQUAL(verdict(), VERDICT_NONE);
}

static void
who_belongs_elsewhere_gets_nothing(void)
{
	begin_meeting();
	snprintf(slave.name, sizeof(slave.name), "b");
	CU_ASSERT_EQUAL(verdict(), VERDICT_FOREIGN);
	begin_meeting();
	snprintf(slave.cluster, sizeof(slave.cluster), "d");
	slave.epoch = 9; /* nor does it end our reign */
	CU_ASSERT_EQUAL(verdict(), VERDICT_FOREIGN);
	begin_meeting();
	slave.segment_bytes = 2000;
	CU_ASSERT_EQUAL(verdict(), VERDICT_FOREIGN);
	begin_meeting();
	self.role = ROLE_SLAVE;
	CU_ASSERT_EQUAL(verdict(), VERDICT_NO_MASTER);
	begin_meeting();
	master.serves = false;
	CU_ASSERT_EQUAL(verdict(), VERDICT_LATER);
}

/* ---- hellos */

static void
a_hello_is_read_as_it_was_written_and_is_all_negative_numbers(void)
{
	static struct hello in, out;
	struct buf b = {0};
	size_t used;
	struct err e;

	in = (struct hello){.flags = 3,
			    .role = ROLE_SLAVE,
			    .verdict = VERDICT_CUT,
			    .broker_id = 77,
			    .epoch = 5,
			    .min = 10,
			    .max = 1 << 30,
			    .segment_bytes = 1000,
			    .start = 12345678901,
			    .tail_at = 20,
			    .tail_crc = 0xdeadbeef,
			    .cluster = "c",
			    .name = "broker-a",
			    .text = "why not"};
	for (int i = 1; i <= EPOCHS_MAX; i++)
		epochs_append(&in.epochs, i, i);
	hello_put(&b, &in);
	CU_ASSERT_EQUAL(b.len % 8, 0);
	for (size_t i = 0; i < b.len; i += 8)
		CU_ASSERT((int64_t)be64_get(b.p + i) < 0);
	CU_ASSERT_EQUAL((int64_t)be64_get(b.p + b.len - 8), -1);
	for (size_t n = 0; n < b.len; n++)
		CU_ASSERT_EQUAL_FATAL(hello_take(&out, b.p, n, &used, &e), RC_AGAIN);
	CU_ASSERT_EQUAL(hello_take(&out, b.p, b.len, &used, &e), RC_OK);
	CU_ASSERT_EQUAL(used, b.len);
	CU_ASSERT(out.flags == 3 && out.role == ROLE_SLAVE && out.verdict == VERDICT_CUT && out.broker_id == 77 &&
		  out.epoch == 5);
	CU_ASSERT(out.min == 10 && out.max == 1 << 30 && out.start == 12345678901 && out.tail_at == 20 &&
		  out.tail_crc == 0xdeadbeef);
	CU_ASSERT_STRING_EQUAL(out.name, "broker-a");
	CU_ASSERT_STRING_EQUAL(out.text, "why not");
	CU_ASSERT(epochs_equal(&in.epochs, &out.epochs));
	buf_free(&b);
}

static void
a_damaged_hello_or_one_with_impossible_numbers_is_refused(void)
{
	static struct hello in, out;
	struct buf b = {0};
	size_t used;
	struct err e;

	in = (struct hello){.max = 5, .segment_bytes = 1000};
	hello_put(&b, &in);
	b.p[16 + 4] = 9; /* the fourth byte of text: any change is one too many */
	CU_ASSERT_EQUAL(hello_take(&out, b.p, b.len, &used, &e), RC_BADDATA);
	buf_reset(&b, 0);
	in.min = 6;
	hello_put(&b, &in);
	CU_ASSERT_EQUAL(hello_take(&out, b.p, b.len, &used, &e), RC_BADDATA);
	CU_ASSERT_FALSE(hello_begins("\0\0\0\0\0\0\0", 8));
	CU_ASSERT_EQUAL(hello_take(&out, "GET / HTTP/1.1\r\n", 16, &used, &e), RC_BADDATA);
	buf_free(&b);
}

static void
a_frame_that_no_log_has_is_refused(void)
{
	char raw[HEAD_OURS_BYTES];
	struct head h = {.at = 900, .bytes = 100, .epoch = 1, .replicated = 1, .max = 1000}, got;

	CU_ASSERT_EQUAL(head_put(raw, &h, true, SLICE_NONE), HEAD_OURS_BYTES);
	CU_ASSERT_EQUAL(head_take(&got, raw, true, 1000), RC_OK);
	CU_ASSERT(got.at == h.at && got.bytes == h.bytes && got.epoch == 1 && got.replicated == 1 && got.max == 1000);
	CU_ASSERT_EQUAL(got.crc, 0);
	raw[20] ^= 1;
	CU_ASSERT_EQUAL(head_take(&got, raw, true, 1000), RC_BADDATA);
	raw[20] ^= 1;
	CU_ASSERT_EQUAL(head_take(&got, raw, true, 950), RC_BADDATA); /* over the end of a file */
	h.bytes = -1;
	(void)head_put(raw, &h, true, SLICE_NONE);
	CU_ASSERT_EQUAL(head_take(&got, raw, false, 1000), RC_BADDATA);
	h = (struct head){.at = INT64_MAX - 5, .bytes = 10};
	(void)head_put(raw, &h, false, SLICE_NONE);
	CU_ASSERT_EQUAL(head_take(&got, raw, false, 1000), RC_BADDATA);
	h = (struct head){.at = 0, .bytes = 10, .max = 5}; /* more data than there is log */
	(void)head_put(raw, &h, true, SLICE_NONE);
	CU_ASSERT_EQUAL(head_take(&got, raw, true, 1000), RC_BADDATA);
}

TEST_MAIN("ha decisions", TEST(two_copies_are_the_master_and_the_best_slave),
	  TEST(two_connections_of_one_slave_are_one_copy), TEST(who_lags_leaves_and_who_has_caught_up_joins),
	  TEST(who_is_silent_or_has_confirmed_nothing_is_not_in_sync),
	  TEST(the_number_of_copies_follows_the_slaves_when_it_may), TEST(all_in_sync_must_have_it_when_so_asked),
	  TEST(a_slave_goes_on_where_it_is), TEST(a_slave_of_another_history_is_refused),
	  TEST(a_slave_ahead_is_refused_in_the_same_epoch_and_cut_in_a_later_one),
	  TEST(a_slave_below_the_first_byte_begins_anew), TEST(a_higher_epoch_ends_a_reign),
	  TEST(who_belongs_elsewhere_gets_nothing), TEST(a_hello_is_read_as_it_was_written_and_is_all_negative_numbers),
	  TEST(a_damaged_hello_or_one_with_impossible_numbers_is_refused), TEST(a_frame_that_no_log_has_is_refused))

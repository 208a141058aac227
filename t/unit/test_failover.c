/*
 * Who is master, decided with a made clock and made nodes: what is done in which order, and what is refused.
 *
 * The world does what it is told: a fenced node is gone, one that is promoted serves. What was done is written down as
 * words.
 */
#include "master/failover.h"

#include <stdio.h>

#include "test.h"

#define MEMBERS 3

static struct failover f;
static struct fo_member m[MEMBERS];
static int64_t now;
static char done[1000]; /* "fence 0, keep 1, ..." */
static char said[4000];

static void
hear(void *arg, const char *text)
{
	size_t n = strlen(said);

	(void)arg;
	snprintf(said + n, sizeof(said) - n, "%s\n", text);
}

/* A master and two slaves, all here and well; the third has a little less. */
static void
begin(enum failover_mode mode, bool sync)
{
	static const char *const names[MEMBERS] = {"a-0", "a-1", "a-2"};

	now = 1000000;
	f = (struct failover){.say = hear, .epoch = 4, .master_id = 0};
	failover_init(&f);
	f.set = (struct fo_settings){.mode = mode, .sync = sync, .restarts = 1, .master_timeout_ms = 3000};
	for (int i = 0; i < MEMBERS; i++)
		m[i] = (struct fo_member){.name = names[i],
					  .id = i,
					  .health = FO_SERVING,
					  .end = 5000 - i * 100,
					  .acked = -1,
					  .matched = i > 0,
					  .epoch = 4};
	m[0].acked = sync ? 4900 : 5000;
	done[0] = said[0] = '\0';
}

static const char *
word(enum fo_act a)
{
	static const char *const words[] = {
	    [FO_NOTHING] = "nothing", [FO_ASK] = "ask",       [FO_HANDOVER] = "handover",
	    [FO_RESUME] = "resume",   [FO_FENCE] = "fence",   [FO_KEEP] = "keep",
	    [FO_PROMOTE] = "promote", [FO_FOLLOW] = "follow", [FO_RELEASE] = "release"};

	return words[a];
}

/* All that is to be done now; the acts are only written down. */
static void
turn(void)
{
	enum fo_act a;

	for (int i = 0; i < 20 && (a = failover_next(&f, m, MEMBERS, now)) != FO_NOTHING; i++) {
		size_t n = strlen(done);

		snprintf(done + n, sizeof(done) - n, "%s%s %d", n > 0 ? ", " : "", word(a), f.member);
	}
}

static void
turn_after(int64_t ms)
{
	now += ms;
	turn();
}

static void
die(int i)
{
	m[i].health = FO_DOWN;
	m[i].deaths++;
	turn();
}

static void
fence(int i)
{
	m[i].health = FO_DOWN;
	m[i].gone = true;
	turn();
}

static void
keep(void)
{
	failover_kept(&f, now);
	turn();
}

static void
promote(int i)
{
	failover_promoted(&f, m, MEMBERS, i, f.epoch);
	turn();
}

#define DID(text)  CU_ASSERT_STRING_EQUAL(done, text)
#define SAID(text) CU_ASSERT_PTR_NOT_NULL(strstr(said, text))

/* ---- local */

static void
the_first_death_is_answered_by_starting_again(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	die(0);
	DID("");
	m[0].health = FO_STARTING;
	turn_after(2900);
	DID("");
	m[0].health = FO_SERVING;
	turn_after(5000);
	DID("");
	CU_ASSERT_EQUAL(f.phase, FO_WATCHING);
}

static void
a_master_dead_beyond_its_restarts_is_fenced_then_followed_by_the_slave(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].deaths = 1;
	die(0);
	DID("fence 0");
	CU_ASSERT_TRUE(failover_holds(&f, 0));
	CU_ASSERT_FALSE(failover_holds(&f, 1));
	turn();
	DID("fence 0"); /* nothing more before its processes are gone */
	fence(0);
	DID("fence 0, keep 1");
	CU_ASSERT_EQUAL(f.epoch, 5);
	CU_ASSERT_EQUAL(f.master_id, 1);
	turn();
	DID("fence 0, keep 1"); /* nothing more before it is on the disk */
	keep();
	DID("fence 0, keep 1, promote 1");
	CU_ASSERT_TRUE(failover_holds(&f, 0));
	promote(1);
	DID("fence 0, keep 1, promote 1, follow 0");
	CU_ASSERT_FALSE(failover_holds(&f, 0));
	CU_ASSERT_EQUAL(f.phase, FO_WATCHING);
	SAID("a-0 is master no longer (its processes died 2 times in a row)");
	SAID("a-1 is master now, epoch 5 from 4900 on");
}

static void
no_restart_at_all_may_be_asked_for(void)
{
	begin(FAILOVER_LOCAL, true);
	f.set.restarts = 0;
	turn();
	die(0);
	DID("fence 0");
}

static void
a_restart_that_takes_too_long_counts_as_dead_but_not_the_first_start_of_all(void)
{
	begin(FAILOVER_LOCAL, true);
	m[0].health = FO_STARTING;
	turn_after(60000);
	DID(""); /* it recovers a large store; it has not served yet */
	m[0].health = FO_SERVING;
	turn();
	die(0);
	m[0].health = FO_STARTING;
	turn_after(2999);
	DID("");
	turn_after(1);
	DID("fence 0");
	SAID("it does not serve for 3000 ms");
}

static void
a_frozen_master_is_fenced_and_followed(void)
{
	begin(FAILOVER_LOCAL, false);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	DID("fence 0");
	fence(0);
	keep();
	promote(1);
	DID("fence 0, keep 1, promote 1, follow 0");
}

static void
a_frozen_master_without_a_slave_is_ended_and_starts_again(void)
{
	begin(FAILOVER_LOCAL, false);
	turn();
	m[1].health = m[2].health = FO_DOWN;
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	DID("fence 0, release 0");
	CU_ASSERT_EQUAL(f.phase, FO_REFUSED);
	CU_ASSERT_EQUAL(f.epoch, 4);
	m[0].health = FO_SERVING;
	turn();
	CU_ASSERT_EQUAL(f.phase, FO_WATCHING);
	SAID("a-0 serves again as master");
}

static void
a_failed_disk_of_the_master_promotes_the_slave_and_without_one_readers_keep_it(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[1].health = m[2].health = FO_DOWN;
	m[0].health = FO_FAILED;
	turn();
	DID("");
	CU_ASSERT_EQUAL(f.phase, FO_REFUSED);
	m[1].health = FO_SERVING;
	turn();
	DID("fence 0");
}

static void
of_two_slaves_the_one_that_has_more_is_promoted(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[2].end = 4950;
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	DID("fence 0, keep 2");
}

static void
a_slave_that_did_not_follow_this_master_is_none(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[1].end = 9000;
	m[1].matched = false;
	m[2].end = 4900;
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	DID("fence 0, keep 2");
}

static void
a_sync_slave_that_lacks_acknowledged_bytes_is_refused_and_the_master_is_left_alone(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].acked = 5000;
	m[0].deaths = 1;
	die(0);
	turn();
	DID("");
	CU_ASSERT_EQUAL(f.phase, FO_REFUSED);
	SAID("nobody is promoted: a-1 lacks 100 bytes that a-0 may have acknowledged");
	CU_ASSERT_EQUAL(strstr(strstr(said, "nobody") + 1, "nobody"), NULL); /* said once */
	f.set.unclean = true;
	turn();
	DID("fence 0");
	fence(0);
	SAID("a-1 lacks the last 100 bytes of a-0's log");
	CU_ASSERT_EQUAL(f.master_id, 1);
}

static void
what_the_master_acknowledged_last_is_looked_at_after_its_end(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	m[0].acked = 5000;
	fence(0);
	DID("fence 0, release 0");
	CU_ASSERT_EQUAL(f.master_id, 0);
	CU_ASSERT_EQUAL(f.epoch, 4);
	CU_ASSERT_FALSE(failover_holds(&f, 0));
}

static void
an_async_slave_is_promoted_and_the_loss_is_said(void)
{
	begin(FAILOVER_LOCAL, false);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	DID("fence 0, keep 1");
	SAID("a-1 lacks the last 100 bytes of a-0's log, which may have been acknowledged: they are lost");
}

static void
nothing_is_known_of_a_master_that_never_served(void)
{
	begin(FAILOVER_LOCAL, false);
	m[0].acked = -1;
	m[0].deaths = 1;
	die(0);
	DID("");
	SAID("it is not known what a-0 has acknowledged");
}

static void
a_mode_that_is_off_only_watches(void)
{
	begin(FAILOVER_OFF, true);
	turn();
	m[0].deaths = 5;
	die(0);
	m[0].health = FO_FROZEN;
	turn_after(60000);
	DID("");
	CU_ASSERT_STRING_EQUAL(said, "");
}

static void
processes_that_the_kernel_keeps_do_not_keep_the_slave_waiting(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	turn_after(999);
	DID("fence 0");
	turn_after(1);
	DID("fence 0, keep 1");
}

static void
a_disk_that_does_not_take_the_epoch_does_not_keep_the_slave_waiting(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	turn_after(1000);
	DID("fence 0, keep 1, promote 1");
	SAID("epoch 5 is not on the disk after 1000 ms");
}

/* ---- a promotion that comes to nothing */

static void
a_slave_that_does_not_become_master_is_fenced_and_the_old_one_is_taken_back(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	keep();
	turn_after(5000);
	DID("fence 0, keep 1, promote 1, fence 1");
	CU_ASSERT_TRUE(failover_holds(&f, 0));
	CU_ASSERT_TRUE(failover_holds(&f, 1));
	fence(1);
	DID("fence 0, keep 1, promote 1, fence 1, keep 0");
	CU_ASSERT_EQUAL(f.epoch, 6);
	CU_ASSERT_EQUAL(f.master_id, 0);
	keep();
	CU_ASSERT_FALSE(failover_holds(&f, 0)); /* it starts */
	promote(0);
	DID("fence 0, keep 1, promote 1, fence 1, keep 0, promote 0, follow 1");
	CU_ASSERT_EQUAL(f.phase, FO_WATCHING);
}

static void
a_slave_of_a_failed_disk_stays_master_of_record_when_it_takes_long(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[0].health = FO_FAILED;
	turn();
	m[0].gone = true;
	turn();
	keep();
	turn_after(5000);
	DID("fence 0, keep 1, promote 1, follow 0");
	CU_ASSERT_EQUAL(f.master_id, 1);
	CU_ASSERT_EQUAL(f.phase, FO_WATCHING);
}

static void
the_answer_of_another_node_or_a_late_one_changes_nothing(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	failover_promoted(&f, m, MEMBERS, 1, 9);
	failover_kept(&f, now);
	failover_answered(&f, true, now);
	turn();
	DID("");
	CU_ASSERT_EQUAL(f.epoch, 4);
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	keep();
	promote(2);
	CU_ASSERT_EQUAL(f.phase, FO_PROMOTING);
}

static void
an_epoch_that_somebody_here_has_seen_is_never_used_twice(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[2].epoch = 11;
	m[0].health = FO_FROZEN;
	turn();
	fence(0);
	CU_ASSERT_EQUAL(f.epoch, 12);
}

/* ---- script */

static void
the_script_is_asked_and_promotes(void)
{
	begin(FAILOVER_SCRIPT, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	DID("ask 0");
	CU_ASSERT_FALSE(failover_holds(&f, 0));
	failover_answered(&f, true, now);
	turn();
	DID("ask 0, fence 0");
	fence(0);
	keep();
	promote(1);
	DID("ask 0, fence 0, keep 1, promote 1, follow 0");
	CU_ASSERT_PTR_NOT_NULL(strstr(f.why, "the script said promote"));
}

static void
the_script_that_waits_or_does_not_answer_is_asked_again(void)
{
	begin(FAILOVER_SCRIPT, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	failover_answered(&f, false, now);
	turn_after(2999);
	DID("ask 0");
	turn_after(1);
	DID("ask 0, ask 0");
	turn_after(30000);
	turn_after(3000);
	DID("ask 0, ask 0, ask 0");
}

static void
the_scripts_answer_comes_too_late_when_the_master_serves_again(void)
{
	begin(FAILOVER_SCRIPT, true);
	turn();
	m[0].health = FO_FROZEN;
	turn();
	m[0].health = FO_SERVING;
	failover_answered(&f, true, now);
	turn();
	DID("ask 0");
	SAID("the master serves again: nothing is changed");
}

static void
set_away(int64_t silent_ms)
{
	m[0].health = FO_AWAY;
	m[2].health = FO_AWAY;
	m[1].silent_ms = silent_ms;
	m[1].master_end = 4900;
}

static void
a_slave_whose_master_on_another_host_is_silent_asks_the_script(void)
{
	begin(FAILOVER_SCRIPT, true);
	set_away(2999);
	turn();
	DID("");
	m[1].silent_ms = 3000;
	turn();
	DID("ask 1");
	failover_answered(&f, true, now);
	turn();
	DID("ask 1, keep 1");
	keep();
	promote(1);
	DID("ask 1, keep 1, promote 1");
	CU_ASSERT_EQUAL(f.master_id, 1);
}

static void
a_slave_that_was_behind_its_silent_master_is_refused_for_a_sync_pair(void)
{
	begin(FAILOVER_SCRIPT, true);
	set_away(3000);
	m[1].master_end = 4901;
	turn();
	failover_answered(&f, true, now);
	turn();
	DID("ask 1");
	SAID("a-1 ends at 4900, and its master was at 4901 when it was last heard");
	begin(FAILOVER_SCRIPT, false);
	set_away(3000);
	m[1].master_end = 9000;
	turn();
	failover_answered(&f, true, now);
	turn();
	DID("ask 1, keep 1");
}

static void
nobody_here_is_promoted_while_one_slave_hears_the_master(void)
{
	begin(FAILOVER_SCRIPT, false);
	set_away(3000);
	m[2].health = FO_SERVING;
	m[2].silent_ms = 10;
	turn();
	DID("");
}

static void
mode_local_does_nothing_about_a_master_on_another_host(void)
{
	begin(FAILOVER_LOCAL, false);
	set_away(90000);
	turn();
	DID("");
}

/* ---- by hand */

static void
a_switch_by_hand_waits_for_the_slave_to_reach_the_end(void)
{
	struct err e;

	begin(FAILOVER_OFF, true);
	turn();
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 2, false, now, &e), RC_OK);
	turn();
	DID("handover 0");
	turn_after(1000);
	DID("handover 0");
	m[0].end = 5100; /* one that was under way */
	turn_after(10);
	m[2].end = 5100;
	turn_after(10);
	DID("handover 0"); /* it might still grow */
	turn_after(20);
	DID("handover 0, fence 0");
	m[0].acked = 5100;
	fence(0);
	keep();
	promote(2);
	DID("handover 0, fence 0, keep 2, promote 2, follow 0");
	CU_ASSERT_STRING_EQUAL(f.why, "switched by hand");
}

static void
a_switch_that_would_lose_bytes_is_given_up(void)
{
	struct err e;

	begin(FAILOVER_OFF, false);
	turn();
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 1, false, now, &e), RC_OK);
	turn_after(10);
	turn_after(3000);
	DID("handover 0, resume 0");
	SAID("not switched: a-1 has not reached the end of a-0's log in time (4900 of 5000)");
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 1, false, now, &e), RC_OK);
	m[1].end = 5000;
	turn();
	turn_after(30);
	m[0].acked = 5001; /* more than was seen before its end */
	fence(0);
	DID("handover 0, resume 0, handover 0, fence 0, release 0");
	CU_ASSERT_EQUAL(f.master_id, 0);
}

static void
a_switch_that_takes_the_loss_is_made(void)
{
	struct err e;

	begin(FAILOVER_OFF, true);
	turn();
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 1, true, now, &e), RC_OK);
	turn_after(10);
	turn_after(3000);
	fence(0);
	DID("handover 0, fence 0, keep 1");
}

static void
refused(int member, bool unclean, enum rc rc, const char *text)
{
	struct err e = {""};

	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, member, unclean, now, &e), rc);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, text));
}

static void
a_switch_that_cannot_be_is_refused_with_the_reason(void)
{
	struct err e;

	begin(FAILOVER_LOCAL, true);
	turn();
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 0, false, now, &e), RC_OK);
	SAID("a-0 is master already");
	m[2].health = FO_AWAY;
	refused(2, true, RC_INVAL, "a-2 runs on another host");
	m[2].health = FO_DOWN;
	refused(2, true, RC_INVAL, "a-2 does not serve");
	m[1].matched = false;
	refused(1, false, RC_INVAL, "a-1 has not followed its master in epoch 4");
	m[1].matched = true;
	m[0].health = FO_FROZEN;
	turn();
	refused(1, false, RC_BUSY, "a change of the master is under way (fencing)");
	begin(FAILOVER_OFF, true);
	set_away(10);
	refused(1, false, RC_INVAL, "the master lives, on another host");
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 1, true, now, &e), RC_OK);
	turn();
	DID("keep 1");
}

static void
a_dead_master_is_switched_from_at_once(void)
{
	struct err e;

	begin(FAILOVER_OFF, true);
	turn();
	die(0);
	CU_ASSERT_EQUAL(failover_switch(&f, m, MEMBERS, 1, false, now, &e), RC_OK);
	turn();
	DID("fence 0");
	fence(0);
	DID("fence 0, keep 1");
}

/* ---- a higher epoch */

static void
a_master_that_hears_of_a_higher_epoch_elsewhere_follows(void)
{
	begin(FAILOVER_SCRIPT, true);
	m[1].health = m[2].health = FO_AWAY;
	turn();
	failover_superseded(&f, m, MEMBERS, 0, 2, 7, now);
	turn();
	DID("fence 0");
	fence(0);
	DID("fence 0, keep 0");
	CU_ASSERT_EQUAL(f.epoch, 7);
	CU_ASSERT_EQUAL(f.master_id, 2);
	keep();
	DID("fence 0, keep 0, follow 0");
	CU_ASSERT_EQUAL(f.phase, FO_WATCHING);
	CU_ASSERT_PTR_NOT_NULL(strstr(f.why, "a-2 has epoch 7"));
}

static void
a_node_here_with_a_higher_epoch_becomes_master_again_when_our_state_was_lost(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	m[1].matched = false;
	m[1].epoch = 7;
	failover_superseded(&f, m, MEMBERS, 0, 1, 7, now);
	turn();
	fence(0);
	DID("fence 0, keep 1");
	CU_ASSERT_EQUAL(f.epoch, 8);
}

static void
an_epoch_that_is_not_higher_or_of_a_slave_is_no_news(void)
{
	begin(FAILOVER_LOCAL, true);
	turn();
	failover_superseded(&f, m, MEMBERS, 0, 1, 4, now);
	failover_superseded(&f, m, MEMBERS, 2, 1, 9, now);
	turn();
	DID("");
}

TEST_MAIN("master/failover", TEST(the_first_death_is_answered_by_starting_again),
	  TEST(a_master_dead_beyond_its_restarts_is_fenced_then_followed_by_the_slave),
	  TEST(no_restart_at_all_may_be_asked_for),
	  TEST(a_restart_that_takes_too_long_counts_as_dead_but_not_the_first_start_of_all),
	  TEST(a_frozen_master_is_fenced_and_followed), TEST(a_frozen_master_without_a_slave_is_ended_and_starts_again),
	  TEST(a_failed_disk_of_the_master_promotes_the_slave_and_without_one_readers_keep_it),
	  TEST(of_two_slaves_the_one_that_has_more_is_promoted), TEST(a_slave_that_did_not_follow_this_master_is_none),
	  TEST(a_sync_slave_that_lacks_acknowledged_bytes_is_refused_and_the_master_is_left_alone),
	  TEST(what_the_master_acknowledged_last_is_looked_at_after_its_end),
	  TEST(an_async_slave_is_promoted_and_the_loss_is_said), TEST(nothing_is_known_of_a_master_that_never_served),
	  TEST(a_mode_that_is_off_only_watches), TEST(processes_that_the_kernel_keeps_do_not_keep_the_slave_waiting),
	  TEST(a_disk_that_does_not_take_the_epoch_does_not_keep_the_slave_waiting),
	  TEST(a_slave_that_does_not_become_master_is_fenced_and_the_old_one_is_taken_back),
	  TEST(a_slave_of_a_failed_disk_stays_master_of_record_when_it_takes_long),
	  TEST(the_answer_of_another_node_or_a_late_one_changes_nothing),
	  TEST(an_epoch_that_somebody_here_has_seen_is_never_used_twice), TEST(the_script_is_asked_and_promotes),
	  TEST(the_script_that_waits_or_does_not_answer_is_asked_again),
	  TEST(the_scripts_answer_comes_too_late_when_the_master_serves_again),
	  TEST(a_slave_whose_master_on_another_host_is_silent_asks_the_script),
	  TEST(a_slave_that_was_behind_its_silent_master_is_refused_for_a_sync_pair),
	  TEST(nobody_here_is_promoted_while_one_slave_hears_the_master),
	  TEST(mode_local_does_nothing_about_a_master_on_another_host),
	  TEST(a_switch_by_hand_waits_for_the_slave_to_reach_the_end), TEST(a_switch_that_would_lose_bytes_is_given_up),
	  TEST(a_switch_that_takes_the_loss_is_made), TEST(a_switch_that_cannot_be_is_refused_with_the_reason),
	  TEST(a_dead_master_is_switched_from_at_once), TEST(a_master_that_hears_of_a_higher_epoch_elsewhere_follows),
	  TEST(a_node_here_with_a_higher_epoch_becomes_master_again_when_our_state_was_lost),
	  TEST(an_epoch_that_is_not_higher_or_of_a_slave_is_no_news))

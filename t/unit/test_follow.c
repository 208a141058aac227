/*
 * What a slave has from its master besides the log: two brokers in one process, their loops turned one after the other.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/delay.h"
#include "workers/broker/followers.h"
#include "workers/broker/groups.h"
#include "workers/broker/modes.h"
#include "workers/broker/offsets.h"
#include "workers/broker/orderly.h"
#include "workers/broker/role.h"
#include "workers/broker/slave.h"
#include "workers/broker/slave_take.h"
#include "workers/broker/topics.h"

#define PATIENCE_MS 5000

static struct fixture master, slave;

static void
turn(void)
{
	fixture_turns(&master, 1);
	fixture_turns(&slave, 1);
}

/* Both go on until it is so. */
#define UNTIL(condition)                                                                                               \
	do {                                                                                                           \
		int64_t end_ms = clock_mono_ms() + PATIENCE_MS;                                                        \
		while (!(condition) && clock_mono_ms() < end_ms)                                                       \
			turn();                                                                                        \
		CU_ASSERT(condition);                                                                                  \
	} while (0)

/* Long enough that whatever is on its way has come. */
static void
settle(void)
{
	int64_t end_ms = clock_mono_ms() + 3 * FOLLOW_SLOW_MS;

	while (clock_mono_ms() < end_ms)
		turn();
}

static void
meet(void)
{
	char addr[64];

	snprintf(addr, sizeof(addr), "127.0.0.1:%d", master.port);
	slave_learned(slave.b->slave, addr, "127.0.0.1:1");
	UNTIL(slave_master_is_there(slave.b->slave));
}

static void
begin_apart(void)
{
	static const char *const as_slave[] = {"brokerRole=SLAVE", "brokerId=1", "slaveReadEnable=true", NULL};

	fixture_start(&master, NULL);
	fixture_start(&slave, as_slave);
	atomic_store(&slave.w.shm->ha.connected, 1);
}

static void
begin(void)
{
	begin_apart();
	slave_second(slave.b->slave); /* sees that ha is connected */
	meet();
}

static void
end(void)
{
	fixture_stop(&slave);
	fixture_stop(&master);
}

static struct topic *
topic_at(struct fixture *f, const char *name)
{
	return topic_find(f->b->topics, slice_of(name));
}

static struct topic *
make_topic(struct fixture *f, const char *name, int32_t queues)
{
	return topic_ensure(f->b->topics, slice_of(name), queues, PERM_READ | PERM_WRITE, 0);
}

static int64_t
offset_at(struct fixture *f, const char *group, int32_t queue)
{
	return offset_get(f->b->offsets, slice_of(group), SLICE_LIT("T"), queue);
}

static void
commit(struct fixture *f, const char *group, int32_t queue, int64_t offset)
{
	(void)offset_commit(f->b->offsets, "test", slice_of(group), SLICE_LIT("T"), queue, offset);
}

/* ---- tables */

static void
a_topic_is_at_the_slave_at_once_and_as_it_is(void)
{
	struct topic *t;
	int64_t began;

	begin();
	settle();
	began = clock_mono_ms();
	t = make_topic(&master, "Orders", 6);
	t->perm = PERM_READ;
	topics_touch(master.b->topics);
	UNTIL(topic_at(&slave, "Orders") != NULL);
	CU_ASSERT(clock_mono_ms() - began < FOLLOW_HOLD_MS); /* some milliseconds; tests share busy machines */
	t = topic_at(&slave, "Orders");
	CU_ASSERT_FATAL(t != NULL);
	CU_ASSERT_EQUAL(t->read_queues, 6);
	CU_ASSERT_EQUAL(t->perm, PERM_READ);
	CU_ASSERT_EQUAL(topics_version(slave.b->topics)->counter, topics_version(master.b->topics)->counter);
	end();
}

static void
groups_and_modes_follow_and_are_kept(void)
{
	struct err e;
	json_t *config;
	struct group *g;

	begin();
	config = json_pack("{s:s, s:i, s:b}", "groupName", "G", "retryMaxTimes", 3, "consumeBroadcastEnable", 0);
	CU_ASSERT_EQUAL(group_update(master.b->groups, config, &e), RC_OK);
	json_decref(config);
	CU_ASSERT_EQUAL(modes_set(master.b->modes, "T", "G", "POP", 2, &e), RC_OK);
	group_set_forbidden(master.b->groups, SLICE_LIT("G"), SLICE_LIT("T"), 2, true);
	UNTIL(group_find(slave.b->groups, SLICE_LIT("G")) != NULL && modes_version(slave.b->modes) > 0 &&
	      group_forbidden(slave.b->groups, SLICE_LIT("G"), SLICE_LIT("T")) == 4);
	fixture_kill(&slave); /* writes what is marked, as the loop would have */
	fixture_restart(&slave, NULL);
	g = group_find(slave.b->groups, SLICE_LIT("G"));
	CU_ASSERT_FATAL(g != NULL);
	CU_ASSERT_EQUAL(g->retry_max, 3);
	CU_ASSERT_FALSE(g->broadcast_enable);
	end();
}

static void
a_topic_that_was_deleted_goes_with_its_queues(void)
{
	begin();
	make_topic(&master, "Gone", 4);
	UNTIL(topic_at(&slave, "Gone") != NULL);
	(void)store_queue_get(slave.b->store, SLICE_LIT("Gone"), 0);
	topic_remove(master.b->topics, SLICE_LIT("Gone"));
	UNTIL(topic_at(&slave, "Gone") == NULL);
	CU_ASSERT_PTR_NULL(store_queue_find(slave.b->store, SLICE_LIT("Gone"), 0));
	end();
}

static void
nothing_is_dropped_for_a_master_whose_log_is_not_ours(void)
{
	begin_apart();
	make_topic(&slave, "Mine", 4);
	(void)store_queue_get(slave.b->store, SLICE_LIT("Mine"), 0);
	atomic_store(&slave.w.shm->ha.connected, 0);
	meet();
	settle();
	CU_ASSERT_PTR_NOT_NULL(topic_at(&slave, "Mine"));
	CU_ASSERT_PTR_NOT_NULL(store_queue_find(slave.b->store, SLICE_LIT("Mine"), 0));
	atomic_store(&slave.w.shm->ha.connected, 1);
	slave_second(slave.b->slave);
	UNTIL(topic_at(&slave, "Mine") == NULL);
	end();
}

/* ---- offsets */

static void
offsets_follow_forward_and_only_changes_are_sent(void)
{
	struct buf text = {0};
	uint64_t before;

	begin();
	commit(&master, "G", 0, 10);
	commit(&master, "H", 3, 5);
	UNTIL(offset_at(&slave, "G", 0) == 10 && offset_at(&slave, "H", 3) == 5);
	before = offsets_clock(master.b->offsets);
	commit(&master, "G", 0, 11);
	offsets_put_changes(master.b->offsets, before, &text);
	CU_ASSERT(slice_starts(buf_slice(&text), "\"offsets\":{\"T@G\":{\"0\":11}},\"back\":{},\"gone\":[]"));
	buf_free(&text);
	UNTIL(offset_at(&slave, "G", 0) == 11);
	end();
}

static void
commits_one_after_the_other_are_told_with_a_pause_between(void)
{
	int64_t began;
	unsigned told = 0;

	begin();
	settle();
	began = clock_mono_ms();
	for (int64_t offset = 1, seen = -1; clock_mono_ms() - began < 10 * FOLLOW_SOON_MS; offset++) {
		commit(&master, "G", 0, offset);
		turn();
		told += offset_at(&slave, "G", 0) != seen;
		seen = offset_at(&slave, "G", 0);
	}
	CU_ASSERT(told >= 2);
	CU_ASSERT(told <= 12);
	end();
}

static void
a_master_that_lost_its_last_commits_does_not_take_the_slave_back(void)
{
	begin_apart();
	commit(&master, "G", 0, 10);
	commit(&slave, "G", 0, 25); /* was told so by the master's last life */
	offsets_own_told(slave.b->offsets, NULL);
	meet();
	settle();
	CU_ASSERT_EQUAL(offset_at(&slave, "G", 0), 25);
	end();
}

static void
a_reset_goes_back_at_the_slave_too_and_stays_pending(void)
{
	begin();
	commit(&master, "G", 0, 100);
	UNTIL(offset_at(&slave, "G", 0) == 100);
	offset_reset(master.b->offsets, SLICE_LIT("G"), SLICE_LIT("T"), 0, 7);
	UNTIL(offset_at(&slave, "G", 0) == 7);
	CU_ASSERT_EQUAL(offset_take_reset(slave.b->offsets, SLICE_LIT("G"), SLICE_LIT("T"), 0), 7);
	offset_reset(master.b->offsets, SLICE_LIT("G"), SLICE_LIT("T"), 0, 3);
	UNTIL(offset_at(&slave, "G", 0) == 3);
	CU_ASSERT_EQUAL(offset_take_reset(master.b->offsets, SLICE_LIT("G"), SLICE_LIT("T"), 0), 3);
	settle();
	CU_ASSERT_EQUAL(offset_take_reset(slave.b->offsets, SLICE_LIT("G"), SLICE_LIT("T"), 0), -1);
	end();
}

static void
a_removed_groups_offsets_go_at_the_slave_too(void)
{
	begin();
	commit(&master, "G", 0, 100);
	UNTIL(offset_at(&slave, "G", 0) == 100);
	offsets_remove_group(master.b->offsets, SLICE_LIT("G"));
	UNTIL(offset_at(&slave, "G", 0) == -1);
	commit(&master, "G", 0, 1);
	UNTIL(offset_at(&slave, "G", 0) == 1);
	end();
}

static void
commits_at_the_slave_flow_back_but_never_move_the_master_back(void)
{
	struct buf own = {0};

	begin_apart();
	commit(&master, "G", 0, 50);
	commit(&master, "G", 1, 50);
	commit(&slave, "G", 0, 60);
	commit(&slave, "G", 1, 40);
	meet();
	UNTIL(offset_at(&master, "G", 0) == 60 && offset_at(&slave, "G", 1) == 50);
	CU_ASSERT_EQUAL(offset_at(&master, "G", 1), 50);
	settle();
	CU_ASSERT_FALSE(offsets_put_own(slave.b->offsets, &own));
	buf_free(&own);
	end();
}

/* ---- locks, deliveries */

static bool
lock(struct fixture *f, const char *client)
{
	const struct mq_name mq = {SLICE_LIT("broker-t"), SLICE_LIT("T"), 2};

	return orderly_lock(f->b->orderly, SLICE_LIT("G"), &mq, slice_of(client));
}

static void
a_held_queue_is_held_at_the_slave_and_a_free_one_free(void)
{
	const struct mq_name mq = {SLICE_LIT("broker-t"), SLICE_LIT("T"), 2};

	begin();
	CU_ASSERT(lock(&master, "A"));
	UNTIL(orderly_group_locked(slave.b->orderly, SLICE_LIT("G")));
	CU_ASSERT_FALSE(lock(&slave, "B"));
	CU_ASSERT(lock(&slave, "A"));
	orderly_unlock(master.b->orderly, SLICE_LIT("G"), &mq, SLICE_LIT("A"));
	UNTIL(!orderly_group_locked(slave.b->orderly, SLICE_LIT("G")));
	CU_ASSERT(lock(&slave, "B"));
	end();
}

static void
the_progress_of_delayed_messages_follows(void)
{
	struct err e;
	char path[128];
	json_t *said = NULL;

	begin();
	snprintf(path, sizeof(path), "%s/config/delayOffset.json", slave.dir);
	CU_ASSERT_EQUAL(slave_take_changes(
			    slave.b, SLICE_LIT("{\"delay\":{\"offsetTable\":{\"3\":17},\"logOffset\":0}}"), true, &e),
			RC_OK);
	UNTIL(access(path, F_OK) == 0);
	CU_ASSERT_EQUAL(json_load_config(path, &said, &e), RC_OK);
	CU_ASSERT_EQUAL(json_get_i64(json_object_get(said, "offsetTable"), "3", -1), 17);
	json_decref(said);
	end();
}

/* ---- who is asked */

static void
a_master_of_an_earlier_epoch_is_not_believed(void)
{
	begin_apart();
	pos_publish(&slave.w.shm->master.epoch, 3);
	pos_publish(&master.w.shm->master.epoch, 2);
	make_topic(&master, "Old", 4);
	{
		char addr[64];

		snprintf(addr, sizeof(addr), "127.0.0.1:%d", master.port);
		slave_learned(slave.b->slave, addr, "");
	}
	settle();
	CU_ASSERT_FALSE(slave_master_is_there(slave.b->slave));
	CU_ASSERT_PTR_NULL(topic_at(&slave, "Old"));
	pos_publish(&master.w.shm->master.epoch, 3);
	UNTIL(topic_at(&slave, "Old") != NULL);
	end();
}

static int
ask_sync(struct fixture *f, const char *broker, const char *have, const char *body)
{
	struct ask a;
	struct got g;
	int fd = fixture_connect(f), code = -1;

	ask_begin(&a, REQ_SLAVE_SYNC, 3);
	ask_field(&a, "brokerName", broker);
	ask_field_i64(&a, "brokerId", 1);
	ask_field(&a, "have", have);
	ask_send(&a, f, fd, body, strlen(body));
	if (got_read(&g, f, fd)) {
		code = g.cmd.code;
		got_free(&g);
	}
	close(fd);
	return code;
}

static void
only_a_master_of_that_name_answers_a_slave(void)
{
	begin();
	CU_ASSERT_EQUAL(ask_sync(&master, "broker-t", "", ""), RES_SUCCESS);
	CU_ASSERT_EQUAL(ask_sync(&master, "broker-x", "", ""), RES_NO_PERMISSION);
	CU_ASSERT_EQUAL(ask_sync(&slave, "broker-t", "", ""), RES_NO_PERMISSION);
	atomic_store(&master.w.shm->ha.fenced, 1);
	CU_ASSERT_EQUAL(ask_sync(&master, "broker-t", "", ""), RES_NO_PERMISSION);
	end();
}

static void
junk_in_a_slaves_question_does_no_harm(void)
{
	begin();
	CU_ASSERT_EQUAL(ask_sync(&master, "broker-t", "1.2.3", "{\"offsets\":[1]}"), RES_SUCCESS);
	CU_ASSERT_EQUAL(ask_sync(&master, "broker-t", "999999999999999999999999.x", "\1\2\3"), RES_SUCCESS);
	CU_ASSERT_EQUAL(ask_sync(&master, "broker-t", "",
				 "{\"offsets\":{\"T\":{\"0\":1},\"T@G\":{\"-1\":5,\"0\":\"x\",\"99999999\":7}}}"),
			RES_SUCCESS);
	CU_ASSERT_EQUAL(offset_at(&master, "G", 0), -1);
	end();
}

static void
junk_in_a_masters_answer_does_no_harm(void)
{
	static const char *const junk[] = {
	    "",
	    "[]",
	    "{\"topics\":3}",
	    "{\"topics\":{\"topicConfigTable\":{\"\":{},\"A\":5}}}",
	    "{\"groups\":{\"subscriptionGroupTable\":{\"G\":[]}}}",
	    "{\"locks\":{\"G\":{\"q\":7},\"\":{}},\"modes\":[],\"delay\":[],\"timer\":\"0g\"}",
	    "{\"offsets\":{\"T@G\":7},\"back\":[],\"gone\":{},\"pending\":3}"};
	struct err e;
	size_t before;

	begin();
	settle();
	before = topics_count(slave.b->topics);
	for (size_t i = 0; i < COUNT_OF(junk); i++)
		(void)!slave_take_changes(slave.b, slice_of(junk[i]), false, &e);
	CU_ASSERT_EQUAL(topics_count(slave.b->topics), before);
	CU_ASSERT_EQUAL(offset_at(&slave, "G", 0), -1);
	end();
}

static void
a_slave_sends_consumers_back_to_its_master_and_serves_them_without_it(void)
{
	struct got g;
	int fd;

	begin();
	make_topic(&master, "T1", 1);
	UNTIL(topic_at(&slave, "T1") != NULL);
	fd = fixture_connect(&slave);
	CU_ASSERT_FATAL(pull_one(&slave, fd, "T1", 0, 0, "*", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_PULL_RETRY_IMMEDIATELY);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "suggestWhichBrokerId"), "0");
	got_free(&g);
	fixture_kill(&master);
	for (int i = 0; i < 100 && slave_master_is_there(slave.b->slave); i++)
		fixture_turns(&slave, 1);
	CU_ASSERT_FALSE(slave_master_is_there(slave.b->slave));
	CU_ASSERT_FATAL(pull_one(&slave, fd, "T1", 0, 0, "*", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_PULL_NOT_FOUND);
	got_free(&g);
	close(fd);
	fixture_restart(&master, NULL);
	end();
}

/* ---- promotion */

/* As ha would: the slave's log becomes a copy of the master's. */
static void
copy_log(void)
{
	char command[512];

	snprintf(command, sizeof(command), "mkdir -p %s/commitlog && cp %s/commitlog/0* %s/commitlog/", slave.dir,
		 master.dir, slave.dir);
	CU_ASSERT_EQUAL(system(command), 0);
	pos_publish(&slave.w.shm->broker.appended, pos_read(&master.w.shm->broker.appended));
	UNTIL(pos_read(&slave.w.shm->broker.dispatched) == pos_read(&master.w.shm->broker.appended));
}

static void
say_promotion(int64_t epoch)
{
	pos_publish(&slave.w.shm->master.epoch, epoch);
	pos_publish(&slave.w.shm->master.broker_id, 0);
	atomic_store(&slave.w.shm->master.role, ROLE_ASYNC_MASTER);
	role_told(slave.b, ROLE_ASYNC_MASTER, epoch);
}

static void
ha_lets_go(int64_t epoch)
{
	pos_publish(&slave.w.shm->ha.role_epoch, epoch);
	fixture_turns(&slave, 2);
}

static int
send_code(struct fixture *f, const char *topic, const char *body)
{
	int fd = fixture_connect(f), code = -1;
	struct got g;

	if (send_one(f, fd, topic, 0, NULL, body, &g)) {
		code = g.cmd.code;
		got_free(&g);
	}
	close(fd);
	return code;
}

static void
a_slave_becomes_the_master_when_ha_has_let_go(void)
{
	begin();
	CU_ASSERT_EQUAL(send_code(&master, "T1", "one"), RES_SUCCESS);
	copy_log();
	UNTIL(topic_at(&slave, "T1") != NULL);
	say_promotion(2);
	CU_ASSERT_FALSE(broker_is_master(slave.b));
	CU_ASSERT_NOT_EQUAL(send_code(&slave, "T1", "early"), RES_SUCCESS);
	ha_lets_go(2);
	CU_ASSERT(broker_is_master(slave.b));
	CU_ASSERT_EQUAL(slave.b->conf->brokerId, 0);
	CU_ASSERT_EQUAL(send_code(&slave, "T1", "two"), RES_SUCCESS);
	CU_ASSERT_EQUAL(queue_max(store_queue_find(slave.b->store, SLICE_LIT("T1"), 0)), 2);
	end();
}

static void
a_promoted_slave_goes_on_with_offsets_and_locks(void)
{
	begin();
	CU_ASSERT_EQUAL(send_code(&master, "T1", "one"), RES_SUCCESS);
	commit(&master, "G", 0, 33);
	CU_ASSERT(lock(&master, "A"));
	copy_log();
	UNTIL(offset_at(&slave, "G", 0) == 33 && orderly_group_locked(slave.b->orderly, SLICE_LIT("G")));
	say_promotion(2);
	ha_lets_go(2);
	CU_ASSERT_EQUAL(offset_at(&slave, "G", 0), 33);
	CU_ASSERT_FALSE(lock(&slave, "B"));
	CU_ASSERT(lock(&slave, "A"));
	commit(&slave, "G", 0, 34);
	{
		struct buf own = {0};

		CU_ASSERT_FALSE(offsets_put_own(slave.b->offsets, &own));
		buf_free(&own);
	}
	end();
}

static void
a_topic_that_the_old_master_could_not_tell_of_is_made_by_its_messages(void)
{
	begin_apart();
	CU_ASSERT_EQUAL(send_code(&master, "Fresh", "one"), RES_SUCCESS);
	copy_log();
	CU_ASSERT_PTR_NULL(topic_at(&slave, "Fresh"));
	say_promotion(2);
	ha_lets_go(2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(topic_at(&slave, "Fresh"));
	CU_ASSERT(topic_at(&slave, "Fresh")->read_queues >= 1);
	end();
}

static void
a_promotion_that_is_taken_back_leaves_a_slave(void)
{
	begin();
	say_promotion(2);
	atomic_store(&slave.w.shm->master.role, ROLE_SLAVE);
	ha_lets_go(3);
	CU_ASSERT_FALSE(broker_is_master(slave.b));
	CU_ASSERT_FALSE(slave.b->promoting);
	end();
}

TEST_MAIN("broker/follow", TEST(a_topic_is_at_the_slave_at_once_and_as_it_is),
	  TEST(groups_and_modes_follow_and_are_kept), TEST(a_topic_that_was_deleted_goes_with_its_queues),
	  TEST(nothing_is_dropped_for_a_master_whose_log_is_not_ours),
	  TEST(offsets_follow_forward_and_only_changes_are_sent),
	  TEST(commits_one_after_the_other_are_told_with_a_pause_between),
	  TEST(a_master_that_lost_its_last_commits_does_not_take_the_slave_back),
	  TEST(a_reset_goes_back_at_the_slave_too_and_stays_pending),
	  TEST(a_removed_groups_offsets_go_at_the_slave_too),
	  TEST(commits_at_the_slave_flow_back_but_never_move_the_master_back),
	  TEST(a_held_queue_is_held_at_the_slave_and_a_free_one_free), TEST(the_progress_of_delayed_messages_follows),
	  TEST(a_master_of_an_earlier_epoch_is_not_believed), TEST(only_a_master_of_that_name_answers_a_slave),
	  TEST(junk_in_a_slaves_question_does_no_harm), TEST(junk_in_a_masters_answer_does_no_harm),
	  TEST(a_slave_sends_consumers_back_to_its_master_and_serves_them_without_it),
	  TEST(a_slave_becomes_the_master_when_ha_has_let_go), TEST(a_promoted_slave_goes_on_with_offsets_and_locks),
	  TEST(a_topic_that_the_old_master_could_not_tell_of_is_made_by_its_messages),
	  TEST(a_promotion_that_is_taken_back_leaves_a_slave))

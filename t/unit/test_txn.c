/*
 * Transactions: half messages, their end, the check, and what a crash leaves.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/offsets.h"
#include "workers/broker/txn_int.h"

#define NOW 1700000001000

static struct fixture f;
static int fd;

static const char *const settings[] = {"transactionTimeOut=6000", "transactionCheckInterval=30000",
				       "transactionCheckMax=3", NULL};

/* A request that is not answered must not hold up the next in the kernel. */
static int
connect_now(void)
{
	int s = fixture_connect(&f), on = 1;

	ensure(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
	return s;
}

static void
start(void)
{
	clock_set_made(NOW);
	fixture_start(&f, settings);
	fd = connect_now();
}

static void
stop(void)
{
	close(fd);
	fixture_stop(&f);
	clock_set_made(-1);
}

static int64_t
count(const char *topic)
{
	return fixture_queue_end(&f, topic, 0);
}

/* The last message of the topic's queue 0. */
static bool
last_record(const char *topic, struct message *m)
{
	return count(topic) > 0 && fixture_message(&f, topic, 0, count(topic) - 1, m, NULL) >= 0;
}

static bool
file_has(const char *name, const char *text)
{
	char path[128], all[4096];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", f.dir, name);
	if ((file = fopen(path, "r")) == NULL)
		return false;
	n = fread(all, 1, sizeof(all) - 1, file);
	all[n] = '\0';
	fclose(file);
	return strstr(all, text) != NULL;
}

struct half {
	int64_t offset, physical;
};

static struct half
send_half(const char *more)
{
	char props[256];
	struct message m;
	struct got g;

	snprintf(props, sizeof(props), "TRAN_MSG\1true\2PGROUP\1PG\2UNIQ_KEY\1K1\2%s", more);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, props, "hello", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	CU_ASSERT_FATAL(last_record(TXN_HALF_TOPIC, &m));
	return (struct half){m.queue_offset, m.physical};
}

static void
end_only(struct half h, const char *group, int what, bool from_check)
{
	struct ask a;

	ask_begin(&a, REQ_END_TRANSACTION, 11);
	ask_field(&a, "producerGroup", group);
	ask_field_i64(&a, "tranStateTableOffset", h.offset);
	ask_field_i64(&a, "commitLogOffset", h.physical);
	ask_field_i64(&a, "commitOrRollback", what);
	ask_field(&a, "fromTransactionCheck", from_check ? "true" : "false");
	ask_field(&a, "msgId", "K1");
	ask_send(&a, &f, fd, NULL, 0);
}

/* The answer's code. */
static int
end(struct half h, const char *group, int what)
{
	struct got g;
	int code;

	end_only(h, group, what, false);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	code = g.cmd.code;
	got_free(&g);
	return code;
}

static void
later(int64_t ms)
{
	clock_advance_ms(ms);
	txn_second(f.b->txn);
	fixture_turns(&f, 5);
	txn_second(f.b->txn);
}

static void
register_producer(void)
{
	static const char body[] =
	    "{\"clientID\":\"p@1\",\"producerDataSet\":[{\"groupName\":\"PG\"}],\"consumerDataSet\":[]}";
	struct ask a;
	struct got g;

	ask_begin(&a, REQ_HEART_BEAT, 12);
	ask_send(&a, &f, fd, body, sizeof(body) - 1);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
}

static void
half_message_waits_in_its_own_topic(void)
{
	struct message m;
	struct got g;

	start();
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 2,
				 "TRAN_MSG\1TRUE\2PGROUP\1PG\2DELAY\1"
				 "3\2UNIQ_KEY\1K1\2",
				 "hello", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueId"), "2");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueOffset"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "K1");
	got_free(&g);
	CU_ASSERT_EQUAL(count("T1"), 0);
	CU_ASSERT_FATAL(last_record(TXN_HALF_TOPIC, &m));
	CU_ASSERT(slice_is(m.body, "hello"));
	CU_ASSERT_EQUAL(m.sysflag & MSG_SYS_TRAN_MASK, 0);
	CU_ASSERT(slice_is(props_get(m.props[0], "REAL_TOPIC"), "T1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "REAL_QID"), "2"));
	CU_ASSERT(slice_is(props_get(m.props[0], "__transactionId__"), "K1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "CLUSTER"), "test"));
	stop();
}

static void
commit_delivers_and_leaves_an_op_message(void)
{
	struct message m;
	struct half h;

	start();
	(void)send_half("");
	h = send_half("TAGS\1A\2");
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL_FATAL(count("T1"), 1);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(m.body, "hello"));
	CU_ASSERT_EQUAL(m.sysflag & MSG_SYS_TRAN_MASK, MSG_SYS_TRAN_COMMIT);
	CU_ASSERT_EQUAL(m.prepared_offset, h.physical);
	CU_ASSERT_EQUAL(m.born_ms, 1700000000000);
	CU_ASSERT(slice_is(props_get(m.props[0], "UNIQ_KEY"), "K1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TAGS"), "A"));
	CU_ASSERT_FATAL(last_record(TXN_OP_TOPIC, &m));
	CU_ASSERT(slice_is(m.body, "1,"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TAGS"), "d"));
	stop();
}

static void
a_time_counts_from_the_commit(void)
{
	struct message m;
	struct half h;
	struct got g;

	start();
	h = send_half("TIMER_DELAY_SEC\0019\2");
	CU_ASSERT_EQUAL(count("rmq_sys_wheel_timer"), 0);
	later(5000);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 1);
	CU_ASSERT_EQUAL_FATAL(count("rmq_sys_wheel_timer"), 1);
	CU_ASSERT_FATAL(last_record("rmq_sys_wheel_timer", &m));
	CU_ASSERT_EQUAL(m.prepared_offset, h.physical);
	fixture_pass_ms(&f, 8999);
	CU_ASSERT_EQUAL(count("T1"), 0);
	fixture_pass_ms(&f, 1);
	CU_ASSERT_EQUAL_FATAL(count("T1"), 1);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(m.body, "hello"));
	CU_ASSERT_EQUAL(m.sysflag & MSG_SYS_TRAN_MASK, MSG_SYS_TRAN_COMMIT);
	h = send_half("TIMER_DELIVER_MS\0011700000001000\2"); /* has gone by */
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 2);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "TRAN_MSG\1true\2PGROUP\1PG\2TIMER_DELAY_SEC\1999999999\2", "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_MESSAGE_ILLEGAL);
	got_free(&g);
	stop();
}

static void
rollback_leaves_an_op_message_alone(void)
{
	struct half h;

	start();
	h = send_half("");
	(void)send_half("");
	CU_ASSERT_EQUAL(end(h, "PG", 12), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 0);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 1);
	txn_free(&f.b->txn); /* writes what is marked */
	CU_ASSERT(file_has("config/transactionMetrics",
			   "\"transactionCount\":{\"T1\":{\"count\":1,\"timeStamp\":1700000001000}}}"));
	CU_ASSERT(file_has("config/transactionMetrics", "{\"dataVersion\":{\"counter\":1,"));
	f.b->txn = txn_new(f.b);
	stop();
}

static void
ends_of_one_turn_share_an_op_message(void)
{
	struct message m;
	struct half h[3];
	struct got g;
	struct buf all = {0};

	start();
	for (int i = 0; i < 3; i++)
		h[i] = send_half("");
	for (int i = 0; i < 3; i++) {
		struct frame_out o;

		frame_begin_request(&o, &all, CODEC_JSON, REQ_END_TRANSACTION, i, false);
		frame_field(&o, "producerGroup", SLICE_LIT("PG"));
		frame_field_i64(&o, "tranStateTableOffset", h[i].offset);
		frame_field_i64(&o, "commitLogOffset", h[i].physical);
		frame_field_i64(&o, "commitOrRollback", 8);
		frame_field(&o, "msgId", SLICE_LIT("K1"));
		frame_end(&o, 0);
	}
	CU_ASSERT_EQUAL_FATAL(write(fd, all.p, all.len), (ssize_t)all.len);
	buf_free(&all);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_FATAL(got_read(&g, &f, fd));
		CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
		got_free(&g);
	}
	CU_ASSERT_EQUAL(count("T1"), 3);
	CU_ASSERT_EQUAL_FATAL(count(TXN_OP_TOPIC), 1);
	CU_ASSERT_FATAL(last_record(TXN_OP_TOPIC, &m));
	CU_ASSERT(slice_is(m.body, "0,1,2,"));
	stop();
}

static void
wrong_ends_are_refused(void)
{
	struct half h, wrong;
	struct got g;

	start();
	h = send_half("");
	CU_ASSERT_EQUAL(end(h, "OTHER", 8), RES_SYSTEM_ERROR);
	wrong = h;
	wrong.offset++;
	CU_ASSERT_EQUAL(end(wrong, "PG", 8), RES_SYSTEM_ERROR);
	wrong = h;
	wrong.physical += 8;
	CU_ASSERT_EQUAL(end(wrong, "PG", 8), RES_SYSTEM_ERROR);
	wrong.physical = INT64_MAX;
	CU_ASSERT_EQUAL(end(wrong, "PG", 8), RES_SYSTEM_ERROR);
	wrong.physical = -1;
	CU_ASSERT_EQUAL(end(wrong, "PG", 8), RES_SYSTEM_ERROR);
	end_only(h, "PG", 0, false); /* not decided: no answer */
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "plain", &g));
	CU_ASSERT_EQUAL(g.cmd.opaque, 7);
	got_free(&g);
	CU_ASSERT_EQUAL(count("T1"), 1);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 0);
	stop();
}

static void
a_message_of_another_topic_is_no_half_message(void)
{
	struct message m;
	struct got g;

	start();
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0,
				 "PGROUP\1PG\2REAL_TOPIC\1T2\2REAL_QID\1"
				 "0\2UNIQ_KEY\1K\2",
				 "x", &g));
	got_free(&g);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT_EQUAL(end((struct half){0, m.physical}, "PG", 8), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(count("T2"), 0);
	stop();
}

static void
a_second_end_delivers_nothing(void)
{
	struct half h;

	start();
	h = send_half("");
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(end(h, "PG", 12), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 1);
	stop();
}

static void
too_late_for_its_own_immunity_is_refused_unless_asked(void)
{
	struct half h;
	struct got g;

	start();
	h = send_half("CHECK_IMMUNITY_TIME_IN_SECONDS\1"
		      "10\2");
	clock_advance_ms(10000);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_ILLEGAL_OPERATION);
	CU_ASSERT_EQUAL(count("T1"), 0);
	end_only(h, "PG", 8, true);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	CU_ASSERT_EQUAL(count("T1"), 1);
	stop();
}

static void
rejected_when_the_configuration_says_so(void)
{
	static const char *const reject[] = {"rejectTransactionMessage=true", NULL};
	struct got g;

	fixture_start(&f, reject);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "TRAN_MSG\1true\2PGROUP\1PG\2", "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_NO_PERMISSION);
	got_free(&g);
	stop();
}

/* ---- what cannot be stored, or waits */

#ifdef ENABLE_DEV
/* The second write of this process meets a full disk: see main. */
static void
commit_that_cannot_be_written_is_refused_and_stays_undecided(void)
{
	struct txn_state s;
	struct half h;

	start();
	h = send_half("");
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SERVICE_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(count("T1"), 0);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 0);
	txn_state(f.b->txn, &s);
	CU_ASSERT_EQUAL(s.undecided, 1);
	later(1000);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 0);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 1);
	stop();
}
#endif

static void
full_disk_refuses_ends_and_stops_the_check(void)
{
	struct half h;

	start();
	h = send_half("");
	atomic_store(&f.w.shm->clean.disk_full, 1);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SERVICE_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(end(h, "PG", 12), RES_SERVICE_NOT_AVAILABLE);
	later(30000);
	CU_ASSERT_EQUAL(f.b->txn->phase, TXN_IDLE);
	atomic_store(&f.w.shm->clean.disk_full, 0);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 1);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	stop();
}

static void
end_waits_for_the_flush(void)
{
	static const char *const sync[] = {"flushDiskType=SYNC_FLUSH", "syncFlushTimeout=600000", NULL};
	struct message m;
	struct half h;
	struct got g;

	clock_set_made(NOW);
	fixture_start(&f, sync);
	fd = connect_now();
	send_only(&f, fd, "T1", 0, "TRAN_MSG\1true\2PGROUP\1PG\2UNIQ_KEY\1K1\2", "hello", 7);
	CU_ASSERT(!got_read(&g, &f, fd));
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	got_free(&g);
	CU_ASSERT_FATAL(last_record(TXN_HALF_TOPIC, &m));
	h = (struct half){m.queue_offset, m.physical};
	end_only(h, "PG", 8, false);
	CU_ASSERT(!got_read(&g, &f, fd));
	txn_note_progress(f.b->txn);
	CU_ASSERT_EQUAL(f.b->txn->w.next, 0); /* it may still fail */
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	txn_note_progress(f.b->txn);
	CU_ASSERT_EQUAL(f.b->txn->w.next, 1);
	CU_ASSERT_EQUAL(f.b->txn->w.op_next, 1);
	CU_ASSERT_EQUAL(count("T1"), 1);
	stop();
}

/* ---- the check */

static void
undecided_one_is_asked_for_with_its_new_places(void)
{
	struct message m, sent;
	struct half h;
	struct got g;

	start();
	register_producer();
	h = send_half("");
	later(29000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 1);
	later(1000);
	CU_ASSERT_EQUAL_FATAL(count(TXN_HALF_TOPIC), 2);
	CU_ASSERT_FATAL(last_record(TXN_HALF_TOPIC, &m));
	CU_ASSERT(slice_is(props_get(m.props[0], "TRANSACTION_CHECK_TIMES"), "1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TRAN_PREPARED_QUEUE_OFFSET"), "0"));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, REQ_CHECK_TRANSACTION_STATE);
	CU_ASSERT(command_is_oneway(&g.cmd));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "tranStateTableOffset"), "1");
	CU_ASSERT_EQUAL(field_i64(&g.cmd, "commitLogOffset", -1), m.physical);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "msgId"), "K1");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "K1");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "bname"), "broker-t");
	CU_ASSERT_EQUAL_FATAL(message_decode(&sent, g.cmd.body.p, g.cmd.body.n, true), RC_OK);
	CU_ASSERT(slice_is(sent.topic, "T1"));
	CU_ASSERT_EQUAL(sent.queue_offset, 1);
	CU_ASSERT(slice_is(props_get(sent.props[0], "PGROUP"), "PG"));
	got_free(&g);
	CU_ASSERT_FATAL(last_record(TXN_OP_TOPIC, &m));
	CU_ASSERT(slice_is(m.body, "0,"));
	CU_ASSERT_EQUAL(h.offset, 0);
	stop();
}

static void
end_of_the_old_copy_settles_the_newest(void)
{
	struct message m;
	struct half h;

	start();
	h = send_half("");
	later(30000);
	later(30000);
	CU_ASSERT_EQUAL_FATAL(count(TXN_HALF_TOPIC), 3);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	CU_ASSERT_FATAL(last_record(TXN_OP_TOPIC, &m));
	CU_ASSERT(slice_is(m.body, "0,2,"));
	CU_ASSERT_FATAL(last_record(TXN_HALF_TOPIC, &m));
	CU_ASSERT_EQUAL(end((struct half){2, m.physical}, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 3);
	stop();
}

static void
never_decided_one_is_given_up(void)
{
	struct txn_state s;
	struct message m;

	start();
	(void)send_half("");
	for (int i = 0; i < 3; i++)
		later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 4);
	txn_state(f.b->txn, &s);
	CU_ASSERT_EQUAL(s.undecided, 1);
	CU_ASSERT_EQUAL(s.oldest_ms, 1700000000000);
	later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 4);
	CU_ASSERT_FATAL(last_record("TRANS_CHECK_MAX_TIME_TOPIC", &m));
	CU_ASSERT(slice_is(m.body, "hello"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TRANSACTION_CHECK_TIMES"), "3"));
	txn_state(f.b->txn, &s);
	CU_ASSERT_EQUAL(s.undecided, 0);
	CU_ASSERT_EQUAL(s.oldest_ms, -1);
	stop();
}

static void
given_up_one_can_be_resumed(void)
{
	char id[MSG_ID_TEXT];
	struct message m;
	struct ask a;
	struct got g;

	start();
	(void)send_half("");
	for (int i = 0; i < 4; i++)
		later(30000);
	CU_ASSERT_FATAL(last_record("TRANS_CHECK_MAX_TIME_TOPIC", &m));
	message_id_text(&m.store_host, m.physical, id);
	ask_begin(&a, REQ_RESUME_CHECK_HALF_MESSAGE, 13);
	ask_field(&a, "msgId", id);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	CU_ASSERT_FATAL(last_record(TXN_HALF_TOPIC, &m));
	CU_ASSERT_EQUAL(m.queue_offset, 4);
	CU_ASSERT(slice_is(props_get(m.props[0], "TRANSACTION_CHECK_TIMES"), "0"));
	CU_ASSERT_EQUAL(end((struct half){4, m.physical}, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	stop();
}

static void
an_immune_one_holds_up_no_other(void)
{
	struct half h;

	start();
	h = send_half("CHECK_IMMUNITY_TIME_IN_SECONDS\1"
		      "300\2");
	(void)send_half("");
	later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 3);
	CU_ASSERT_EQUAL(f.b->txn->w.next, h.offset);
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	txn_second(f.b->txn);
	CU_ASSERT_EQUAL(f.b->txn->w.next, 2);
	stop();
}

/* ---- restarts */

static void
restart(void)
{
	close(fd);
	fixture_kill(&f);
	fixture_restart(&f, settings);
	fd = connect_now();
}

static void
a_restart_knows_what_is_settled(void)
{
	struct half a, b, c;

	start();
	a = send_half("");
	b = send_half("");
	c = send_half("");
	CU_ASSERT_EQUAL(end(a, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(end(c, "PG", 12), RES_SUCCESS);
	restart();
	CU_ASSERT_EQUAL(f.b->txn->phase, TXN_IDLE);
	later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 4);
	CU_ASSERT_EQUAL(count("T1"), 1);
	CU_ASSERT_EQUAL(end(b, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 2);
	CU_ASSERT_EQUAL(end(a, "PG", 8), RES_SUCCESS); /* settled before the restart */
	restart();
	later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 4);
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, SLICE_LIT("CID_RMQ_SYS_TRANS"), SLICE_LIT(TXN_HALF_TOPIC), 0), 4);
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, SLICE_LIT("CID_RMQ_SYS_TRANS"), SLICE_LIT(TXN_OP_TOPIC), 0),
			count(TXN_OP_TOPIC));
	stop();
}

/* As a turn leaves it that was cut between the copy and the op message. */
static void
append_copy_alone(struct half h)
{
	struct append_to to = {0};
	struct message m, half;

	CU_ASSERT_EQUAL_FATAL(txn_half_at(f.b->txn, h.physical, &half), RC_OK);
	append_copy(f.b, &half, &m);
	m.topic = SLICE_LIT("T1");
	m.sysflag |= MSG_SYS_TRAN_COMMIT;
	m.prepared_offset = h.physical;
	m.props[0] = half.props[0];
	CU_ASSERT_EQUAL_FATAL(append_message(f.b, &m, &to), RC_OK);
	fixture_turns(&f, 2);
}

static void
a_copy_without_its_op_message_counts_as_committed(void)
{
	struct message m;
	struct half h;

	start();
	(void)send_half("");
	h = send_half("");
	CU_ASSERT_EQUAL(end(send_half(""), "PG", 8), RES_SUCCESS);
	append_copy_alone(h);
	CU_ASSERT_EQUAL(count("T1"), 2);
	CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 1);
	for (int kills = 0; kills < 2; kills++) {
		close(fd);
		fixture_kill(&f);
		fixture_restart(&f, settings);
		fd = connect_now();
		fixture_turns(&f, 10);
		CU_ASSERT_EQUAL(count(TXN_OP_TOPIC), 2);
	}
	CU_ASSERT_FATAL(last_record(TXN_OP_TOPIC, &m));
	CU_ASSERT(slice_is(m.body, "1,"));
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 2);
	later(40000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 4); /* the first one alone is asked for */
	stop();
}

static void
a_restart_knows_the_newest_copy(void)
{
	struct half h;

	start();
	h = send_half("");
	later(30000);
	restart();
	CU_ASSERT_EQUAL(end(h, "PG", 8), RES_SUCCESS);
	CU_ASSERT_EQUAL(count("T1"), 1);
	later(30000);
	CU_ASSERT_EQUAL(count(TXN_HALF_TOPIC), 2);
	stop();
}

int
main(void)
{
	static const struct test_row rows[] = {
#ifdef ENABLE_DEV
	    TEST(commit_that_cannot_be_written_is_refused_and_stays_undecided),
#endif
	    TEST(half_message_waits_in_its_own_topic),
	    TEST(commit_delivers_and_leaves_an_op_message),
	    TEST(a_time_counts_from_the_commit),
	    TEST(rollback_leaves_an_op_message_alone),
	    TEST(ends_of_one_turn_share_an_op_message),
	    TEST(wrong_ends_are_refused),
	    TEST(a_message_of_another_topic_is_no_half_message),
	    TEST(a_second_end_delivers_nothing),
	    TEST(too_late_for_its_own_immunity_is_refused_unless_asked),
	    TEST(rejected_when_the_configuration_says_so),
	    TEST(full_disk_refuses_ends_and_stops_the_check),
	    TEST(end_waits_for_the_flush),
	    TEST(undecided_one_is_asked_for_with_its_new_places),
	    TEST(end_of_the_old_copy_settles_the_newest),
	    TEST(never_decided_one_is_given_up),
	    TEST(given_up_one_can_be_resumed),
	    TEST(an_immune_one_holds_up_no_other),
	    TEST(a_restart_knows_what_is_settled),
	    TEST(a_copy_without_its_op_message_counts_as_committed),
	    TEST(a_restart_knows_the_newest_copy)};

	setenv("RMQ_FAULTS", "append.write=ENOSPC@2", 1);
	return test_run("broker/txn", rows, COUNT_OF(rows));
}

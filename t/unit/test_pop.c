/*
 * Pop consumption with a made clock: when messages come again, when offsets are stored, what waits and what wakes it,
 * what the log does not take, what is cold, and what the original has left in its timer queue.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/cold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_int.h"

#define NOW       1700000000000
#define RETRY     "%RETRY%PG_T1"
#define FILL_BODY (2 << 20)

static struct fixture f;
static int fd;

/* What is sent behind a request that waits must not wait for the acknowledgement of that. */
static void
open_connection(void)
{
	int one = 1;

	fd = fixture_connect(&f);
	CU_ASSERT_EQUAL_FATAL(setsockopt(fd, SOL_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	fixture_turns(&f, 8);
}

static void
begin(const char *const *settings)
{
	clock_set_made(NOW);
	fixture_start(&f, settings);
	open_connection();
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
	clock_set_made(-1);
}

static void
kill_and_restart(void)
{
	close(fd);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	open_connection();
}

static void
pass_ms(int64_t ms)
{
	clock_advance_ms(ms);
	f.w.on_second(&f.w);
	fixture_turns(&f, 8);
}

static void
flush_all(void)
{
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
}

static void
put(const char *body)
{
	char *props = xasprintf("UNIQ_KEY\1%s\2", body);
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, props, body, &g));
	CU_ASSERT_EQUAL_FATAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	free(props);
}

static void
pop_ask(int32_t opaque, int64_t invisible_ms, int64_t poll_ms, int count)
{
	struct ask a;

	ask_begin(&a, REQ_POP_MESSAGE, opaque);
	ask_field(&a, "consumerGroup", "PG");
	ask_field(&a, "topic", "T1");
	ask_field_i64(&a, "queueId", -1);
	ask_field_i64(&a, "maxMsgNums", count);
	ask_field_i64(&a, "invisibleTime", invisible_ms);
	ask_field_i64(&a, "pollTime", poll_ms);
	ask_field_i64(&a, "bornTime", clock_wall_ms());
	ask_field_i64(&a, "initMode", 0);
	ask_send(&a, &f, fd, NULL, 0);
}

struct popped { /* the first message of an answer */
	int code, messages;
	char body[64], handle[256], topic[64];
	int queue_id, reconsume;
	int64_t offset;
};

static void
read_first(const struct got *g, struct popped *p)
{
	struct pop_handle h = {.flag = POP_NORMAL, .broker_name = SLICE_LIT("broker-t")};
	struct buf text = {0};
	struct message m;
	char start[128];

	CU_ASSERT_EQUAL_FATAL(message_decode(&m, g->cmd.body.p, g->cmd.body.n, true), RC_OK);
	snprintf(p->body, sizeof(p->body), "%.*s", (int)MIN_OF(m.body.n, (size_t)60), m.body.p);
	p->reconsume = m.reconsume_times;
	p->queue_id = m.queue_id;
	p->offset = m.queue_offset;
	snprintf(p->topic, sizeof(p->topic), "%s", "T1");
	if (props_get(m.props[0], "POP_CK").n > 0) {
		snprintf(p->topic, sizeof(p->topic), "%s", RETRY);
		snprintf(p->handle, sizeof(p->handle), "%.*s", (int)props_get(m.props[0], "POP_CK").n,
			 props_get(m.props[0], "POP_CK").p);
		return;
	}
	snprintf(start, sizeof(start), "%s", got_text(g, "startOffsetInfo"));
	CU_ASSERT_EQUAL_FATAL(sscanf(start, "0 %*d %lld", (long long *)&h.start), 1);
	h.pop_ms = strtoll(got_text(g, "popTime"), NULL, 10);
	h.invisible_ms = strtoll(got_text(g, "invisibleTime"), NULL, 10);
	h.revive_queue = atoi(got_text(g, "reviveQid"));
	h.queue_id = p->queue_id;
	h.offset = p->offset;
	pop_handle_put(&h, &text);
	snprintf(p->handle, sizeof(p->handle), "%.*s", (int)text.len, text.p);
	buf_free(&text);
}

/* False: no answer. */
static bool
pop_read(struct popped *p)
{
	struct got g;

	*p = (struct popped){.code = -1};
	if (!got_read(&g, &f, fd))
		return false;
	p->code = g.cmd.code;
	for (size_t at = 0; at < g.cmd.body.n; at += be32_get(g.cmd.body.p + at))
		p->messages++;
	if (p->messages > 0)
		read_first(&g, p);
	got_free(&g);
	return true;
}

static struct popped
pop(int64_t invisible_ms, int count)
{
	struct popped p;

	pop_ask(7, invisible_ms, 0, count);
	CU_ASSERT_FATAL(pop_read(&p));
	return p;
}

static int
handle_request(int code, const struct popped *p, int64_t invisible_ms)
{
	struct ask a;
	struct got g;
	int answer;

	ask_begin(&a, code, 8);
	ask_field(&a, "consumerGroup", "PG");
	ask_field(&a, "topic", p->topic);
	ask_field_i64(&a, "queueId", p->queue_id);
	ask_field(&a, "extraInfo", p->handle);
	ask_field_i64(&a, "offset", p->offset);
	ask_field_i64(&a, "invisibleTime", invisible_ms);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	answer = g.cmd.code;
	got_free(&g);
	return answer;
}

static int
ack(const struct popped *p)
{
	return handle_request(REQ_ACK_MESSAGE, p, 0);
}

static int64_t
stored(const char *topic)
{
	return offset_get(f.b->offsets, SLICE_LIT("PG"), slice_of(topic), 0);
}

static struct pop_facts
facts(void)
{
	struct pop_facts k;

	pop_state_facts(f.b->pop->state, &k);
	return k;
}

static int64_t
queue_end(const char *topic, int32_t queue)
{
	struct store_queue *q = store_queue_find(f.b->store, slice_of(topic), queue);

	return q != NULL ? queue_max(q) : 0;
}

/* ---- */

static void
message_comes_again_at_its_millisecond(void)
{
	struct popped p;

	begin(NULL);
	put("a");
	p = pop(5000, 32);
	CU_ASSERT_STRING_EQUAL(p.body, "a");
	pass_ms(4999);
	CU_ASSERT_EQUAL(pop(5000, 32).code, RES_POLLING_TIMEOUT);
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 0);
	pass_ms(1);
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 1);
	p = pop(5000, 32);
	CU_ASSERT_STRING_EQUAL(p.body, "a");
	CU_ASSERT_EQUAL(p.reconsume, 1);
	CU_ASSERT_EQUAL(ack(&p), RES_SUCCESS);
	CU_ASSERT_EQUAL(facts().messages, 0);
	pass_ms(100000);
	CU_ASSERT_EQUAL(pop(5000, 32).code, RES_POLLING_TIMEOUT);
	end();
}

static void
offset_is_stored_when_the_checkpoint_is_flushed(void)
{
	begin(NULL);
	put("a");
	put("b");
	CU_ASSERT_EQUAL(pop(60000, 1).messages, 1);
	CU_ASSERT_EQUAL(stored("T1"), 0); /* where the group began */
	CU_ASSERT_STRING_EQUAL(pop(60000, 1).body, "b");
	pass_ms(1000);
	CU_ASSERT_EQUAL(stored("T1"), 0);
	flush_all();
	pass_ms(1000);
	CU_ASSERT_EQUAL(stored("T1"), 2);
	end();
}

static void
offset_that_somebody_else_sets_is_where_pops_go_on(void)
{
	begin(NULL);
	for (int i = 0; i < 4; i++)
		put("x");
	CU_ASSERT_EQUAL(pop(60000, 4).messages, 4);
	flush_all();
	pass_ms(1000);
	CU_ASSERT_EQUAL(stored("T1"), 4);
	CU_ASSERT_TRUE(offset_commit(f.b->offsets, "test", SLICE_LIT("PG"), SLICE_LIT("T1"), 0, 2));
	CU_ASSERT_EQUAL(pop(60000, 32).messages, 2);
	CU_ASSERT_TRUE(offset_commit(f.b->offsets, "test", SLICE_LIT("PG"), SLICE_LIT("T1"), 0, 1));
	flush_all();
	pass_ms(1000); /* the pop's own offset comes too late */
	CU_ASSERT_EQUAL(stored("T1"), 1);
	CU_ASSERT_EQUAL(pop(60000, 32).messages, 3);
	end();
}

static void
waiting_pop_is_woken_by_a_message_or_by_its_time(void)
{
	struct popped p;

	begin(NULL);
	put("first");
	CU_ASSERT_EQUAL(pop(60000, 1).messages, 1);
	pop_ask(9, 60000, 5000, 1);
	CU_ASSERT_EQUAL(pop_hold_count(f.b->pop->hold), 1);
	pass_ms(4000);
	CU_ASSERT_EQUAL(pop_hold_count(f.b->pop->hold), 1);
	send_only(&f, fd, "T1", 0, NULL, "second", 10);
	fixture_turns(&f, 8);
	CU_ASSERT_EQUAL(pop_hold_count(f.b->pop->hold), 0);
	CU_ASSERT_FATAL(pop_read(&p)); /* the answer to the send */
	CU_ASSERT_FATAL(pop_read(&p));
	CU_ASSERT_STRING_EQUAL(p.body, "second");
	pop_ask(11, 60000, 5000, 1);
	pass_ms(4950);
	CU_ASSERT_FATAL(pop_read(&p));
	CU_ASSERT_EQUAL(p.code, RES_POLLING_TIMEOUT);
	end();
}

static void
waiting_pop_of_a_closed_connection_is_forgotten(void)
{
	begin(NULL);
	put("x");
	CU_ASSERT_EQUAL(pop(60000, 1).messages, 1);
	pop_ask(9, 60000, 5000, 1);
	CU_ASSERT_EQUAL(pop_hold_count(f.b->pop->hold), 1);
	close(fd);
	fixture_turns(&f, 8);
	CU_ASSERT_EQUAL(pop_hold_count(f.b->pop->hold), 0);
	open_connection();
	put("y");
	CU_ASSERT_STRING_EQUAL(pop(60000, 1).body, "y");
	end();
}

static void
full_disk_gives_nothing_out_and_revives_later(void)
{
	struct popped p, again;

	begin(NULL);
	put("a");
	put("b");
	p = pop(1000, 1);
	atomic_store(&f.w.shm->clean.disk_full, 1);
	pass_ms(0);
	CU_ASSERT_EQUAL(pop(1000, 1).code, RES_SERVICE_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(ack(&p), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(handle_request(REQ_CHANGE_MESSAGE_INVISIBLETIME, &p, 5000), RES_SYSTEM_ERROR);
	pass_ms(2000);
	CU_ASSERT(queue_end(RETRY, 0) == 0 && facts().messages == 1);
	atomic_store(&f.w.shm->clean.disk_full, 0);
	pass_ms(1000);
	pass_ms(1000);
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 1);
	p = pop(100000, 1);
	again = pop(100000, 1);
	CU_ASSERT(strcmp(p.body, "a") == 0 || strcmp(p.body, "b") == 0);
	CU_ASSERT_STRING_NOT_EQUAL(p.body, again.body);
	end();
}

static void
kill_keeps_what_is_in_flight(void)
{
	struct popped a, b;

	begin(NULL);
	put("a");
	put("b");
	put("c");
	a = pop(10000, 1);
	b = pop(10000, 1);
	CU_ASSERT_EQUAL(ack(&a), RES_SUCCESS);
	kill_and_restart();
	CU_ASSERT_EQUAL(facts().messages, 1);
	CU_ASSERT_STRING_EQUAL(pop(10000, 32).body, "c");
	CU_ASSERT_EQUAL(ack(&b), RES_SUCCESS);
	kill_and_restart();
	CU_ASSERT_EQUAL(facts().messages, 1);
	pass_ms(10000);
	CU_ASSERT_STRING_EQUAL(pop(10000, 32).body, "c");
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 1);
	end();
}

/* ---- the original's */

/* A record of the revive topic, or one of the timer queue that is for it. */
static void
put_foreign(const char *tag, const char *body)
{
	char *props =
	    xasprintf("TAGS\1%s\2TIMER_DELIVER_MS\1%lld\2TIMER_OUT_MS\1%lld\2", tag, NOW + 4000LL, NOW + 4000LL);
	struct message m = {.topic = slice_of(f.b->pop->revive_topic),
			    .queue_id = 2,
			    .body = slice_of(body),
			    .props = {slice_of(props)},
			    .store_host = f.b->store_host,
			    .born_host = f.b->store_host};
	struct append_to to = {.done = NULL};

	CU_ASSERT_EQUAL(append_message(f.b, &m, &to), RC_OK);
	fixture_turns(&f, 8);
	free(props);
}

static void
checkpoints_of_the_original_are_taken_over(void)
{
	struct popped p;

	begin(NULL);
	put("a");
	put("b");
	CU_ASSERT_TRUE(offset_commit(f.b->offsets, "test", SLICE_LIT("PG"), SLICE_LIT("T1"), 0, 2));
	CU_ASSERT_EQUAL(pop(60000, 32).code, RES_POLLING_TIMEOUT);
	put_foreign(
	    "ck",
	    "{\"bm\":0,\"bn\":\"broker-t\",\"c\":\"PG\",\"d\":[0,1],\"it\":5000,\"n\":2,\"pt\":1700000000000,\"q\":0,"
	    "\"reviveTime\":1700000005000,\"ro\":0,\"so\":0,\"t\":\"T1\"}");
	CU_ASSERT_EQUAL(facts().messages, 2);
	put_foreign("ack",
		    "{\"ao\":0,\"bn\":\"broker-t\",\"c\":\"PG\",\"pt\":1700000000000,\"q\":0,\"so\":0,\"t\":\"T1\"}");
	put_foreign("ack", "no json");
	put_foreign("ck", "{\"n\":77}");
	CU_ASSERT_EQUAL(facts().messages, 1);
	pass_ms(5000 + POP_FOREIGN_MS - 1);
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 0);
	pass_ms(1);
	p = pop(60000, 32);
	CU_ASSERT_STRING_EQUAL(p.body, "b");
	CU_ASSERT_EQUAL(p.messages, 1);
	end();
}

static void
ack_of_a_checkpoint_in_the_timer_queue_goes_behind_it(void)
{
	struct popped p = {.topic = "T1", .handle = "0 1700000000000 5000 2 0 broker-t 0 0"};
	char *props;
	const char *body = "{\"bm\":0,\"bn\":\"broker-t\",\"c\":\"PG\",\"d\":[0],\"it\":5000,\"n\":1,\"pt\":"
			   "1700000000000,\"q\":0,\"so\":0,"
			   "\"t\":\"T1\"}";
	struct message m = {.topic = SLICE_LIT("rmq_sys_wheel_timer"), .body = slice_of(body)};
	struct append_to to = {.done = NULL};

	begin(NULL);
	put("a");
	props = xasprintf("TAGS\1ck\2TIMER_DELIVER_MS\1%lld\2TIMER_OUT_MS\1%lld\2REAL_TOPIC\1%s\2REAL_QID\0012\2",
			  NOW + 4000LL, NOW + 3000LL, f.b->pop->revive_topic);
	m.props[0] = slice_of(props);
	m.store_host = m.born_host = f.b->store_host;
	CU_ASSERT_EQUAL(append_message(f.b, &m, &to), RC_OK);
	fixture_turns(&f, 8);
	pass_ms(0);
	CU_ASSERT_EQUAL(ack(&p), RES_SUCCESS);
	CU_ASSERT_EQUAL(queue_end("rmq_sys_wheel_timer", 0), 2);
	pass_ms(4500);
	CU_ASSERT_EQUAL(facts().messages, 1);
	pass_ms(600);
	CU_ASSERT_EQUAL(facts().messages, 0);
	pass_ms(10000);
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 0);
	free(props);
	end();
}

/* ---- bounds */

static void
threshold_stops_a_queue_until_messages_are_done(void)
{
	struct popped p, waiting;

	begin((const char *const[]){"enablePopMessageThreshold=true", "popInflightMessageThreshold=1", NULL});
	for (int i = 0; i < 5; i++)
		put("x");
	p = pop(60000, 1);
	CU_ASSERT_EQUAL(pop(60000, 1).messages, 1); /* more than the threshold now */
	CU_ASSERT_EQUAL(pop(60000, 1).code, RES_POLLING_TIMEOUT);
	pop_ask(9, 60000, 5000, 1);
	CU_ASSERT_EQUAL(pop_hold_count(f.b->pop->hold), 1);
	(void)ack(&p);
	CU_ASSERT_FATAL(pop_read(&waiting));
	CU_ASSERT_EQUAL(waiting.messages, 1);
	end();
}

static void
too_many_waiting_pops_are_told(void)
{
	struct popped p;

	begin((const char *const[]){"maxPopPollingSize=1", NULL});
	put("x");
	CU_ASSERT_EQUAL(pop(60000, 1).messages, 1);
	pop_ask(9, 60000, 5000, 1);
	pop_ask(10, 60000, 5000, 1);
	CU_ASSERT_FATAL(pop_read(&p));
	CU_ASSERT_EQUAL(p.code, RES_POLLING_FULL);
	end();
}

static void
records_that_are_not_needed_are_passed_by_the_stored_offset(void)
{
	struct popped p;

	begin((const char *const[]){"reviveQueueNum=1", NULL});
	for (int i = 0; i < 10; i++) {
		put("x");
		p = pop(60000, 1);
		if (i != 4)
			CU_ASSERT_EQUAL(ack(&p), RES_SUCCESS);
	}
	for (int i = 0; i < 3; i++) {
		flush_all();
		pass_ms(1000);
	}
	/* The last record that is done with is the one before the fifth checkpoint. */
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, SLICE_LIT(POP_REVIVE_GROUP), slice_of(f.b->pop->revive_topic), 0), 7);
	pass_ms(60000);
	for (int i = 0; i < 3; i++) {
		flush_all();
		pass_ms(1000);
	}
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, SLICE_LIT(POP_REVIVE_GROUP), slice_of(f.b->pop->revive_topic), 0),
			queue_end(f.b->pop->revive_topic, 0) - 1);
	end();
}

/* ---- cold */

static void
evict_log(void)
{
	struct store_queue *q = store_queue_find(f.b->store, SLICE_LIT("T1"), 0);
	char *path = xasprintf("%s/commitlog/00000000000000000000", f.dir);
	int64_t physical, code;
	struct slice record;
	int32_t size;
	int log = open(path, O_RDWR);

	CU_ASSERT_EQUAL_FATAL(store_unit_at(f.b->store, q, 0, &physical, &size, &code), RC_OK);
	CU_ASSERT_EQUAL_FATAL(store_record_at(f.b->store, physical, &record), RC_OK);
	CU_ASSERT_FATAL(log >= 0);
	(void)madvise((void *)((uintptr_t)record.p & ~(uintptr_t)4095), 8192, MADV_DONTNEED);
	CU_ASSERT_EQUAL(fsync(log), 0);
	(void)posix_fadvise(log, 0, 0, POSIX_FADV_DONTNEED);
	close(log);
	free(path);
	clock_advance_ms(60000); /* what is known of memory is forgotten */
}

static void
fill_log(void)
{
	char *body = xmalloc(FILL_BODY + 1);
	struct got g;

	memset(body, 'x', FILL_BODY);
	body[FILL_BODY] = '\0';
	for (int i = 0; i < 36; i++) {
		CU_ASSERT_FATAL(send_one(&f, fd, "T2", 0, NULL, body, &g));
		got_free(&g);
	}
	free(body);
}

/* Answers all that warm was asked. False: nothing. */
static bool
answer_warm(void)
{
	struct ipc_msg m;
	bool some = false;

	while (ipc_recv(f.warm_fd, &m) == RC_OK)
		if (m.type == IPC_BROKER_WARM_RANGE || m.type == IPC_BROKER_WARM_FILE) {
			cold_done(f.b->cold, ipc_i64(&m), 0);
			some = true;
		}
	fixture_turns(&f, 8);
	return some;
}

/* Where files are in memory anyway (tmpfs) nothing is asked for. */
static void
messages_that_left_memory_are_read_by_warm_to_be_popped_and_to_come_again(void)
{
	struct popped p;

	begin(NULL);
	put("old");
	fill_log();
	evict_log();
	pop_ask(7, 1000, 0, 1);
	if (cold_count(f.b->cold) > 0)
		CU_ASSERT_TRUE(answer_warm());
	CU_ASSERT_FATAL(pop_read(&p));
	CU_ASSERT_STRING_EQUAL(p.body, "old");
	evict_log(); /* its time is over with that */
	pass_ms(0);
	while (answer_warm())
		pass_ms(0);
	CU_ASSERT_EQUAL(queue_end(RETRY, 0), 1);
	end();
}

TEST_MAIN("broker/pop", TEST(message_comes_again_at_its_millisecond),
	  TEST(offset_is_stored_when_the_checkpoint_is_flushed),
	  TEST(offset_that_somebody_else_sets_is_where_pops_go_on),
	  TEST(waiting_pop_is_woken_by_a_message_or_by_its_time), TEST(waiting_pop_of_a_closed_connection_is_forgotten),
	  TEST(full_disk_gives_nothing_out_and_revives_later), TEST(kill_keeps_what_is_in_flight),
	  TEST(checkpoints_of_the_original_are_taken_over), TEST(ack_of_a_checkpoint_in_the_timer_queue_goes_behind_it),
	  TEST(threshold_stops_a_queue_until_messages_are_done), TEST(too_many_waiting_pops_are_told),
	  TEST(records_that_are_not_needed_are_passed_by_the_stored_offset),
	  TEST(messages_that_left_memory_are_read_by_warm_to_be_popped_and_to_come_again))

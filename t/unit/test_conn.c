/*
 * test_conn: connections against plain sockets: frames in pieces and in heaps, slow readers, hostile ones, the end of
 * each.
 */
#include "wire.h"

#include <malloc.h>
#include <sys/resource.h>

static void
answer_opaque(struct wire *w, struct conn *c, struct command *cmd)
{
	struct request_id id;

	(void)w;
	request_id_of(&id, cmd);
	conn_answer(c, &id, RES_SUCCESS, NULL);
}

static void
echo_body(struct wire *w, struct conn *c, struct command *cmd)
{
	struct request_id id;

	(void)w;
	request_id_of(&id, cmd);
	conn_answer_body(c, &id, RES_SUCCESS, cmd->body);
}

/* The body by reference: it lies in the read memory, which must live to the end of the turn. */
static void
echo_ref(struct wire *w, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct frame_out f;

	(void)w;
	request_id_of(&id, cmd);
	frame_begin_response(&f, &c->out, &id, RES_SUCCESS);
	frame_end(&f, cmd->body.n);
	conn_put_ref(c, cmd->body.p, cmd->body.n);
	conn_kick(c);
}

static struct command
frame_at(struct buf *b, size_t *at)
{
	static struct command c;
	struct err e;
	size_t total = 0;

	CU_ASSERT_EQUAL_FATAL(frame_length(b->p + *at, b->len - *at, &total, &e), RC_OK);
	CU_ASSERT_EQUAL_FATAL(command_decode(&c, b->p + *at, total, &e), RC_OK);
	*at += total;
	return c;
}

static void
request_is_answered(void)
{
	struct wire w;
	struct buf b = {0}, in = {0};
	struct command c;
	size_t at = 0;
	int fd;

	wire_start(&w);
	w.on_command = echo_body;
	fd = wire_peer(&w);
	CU_ASSERT_EQUAL(w.last->tag, 3);
	put_request(&b, REQ_HEART_BEAT, 42, SLICE_LIT("hello"));
	peer_write(fd, b.p, b.len);
	CU_ASSERT_EQUAL(peer_read_frames(&w, fd, &in, 1), 1);
	c = frame_at(&in, &at);
	CU_ASSERT_EQUAL(c.opaque, 42);
	CU_ASSERT(slice_is(c.body, "hello"));
	close(fd);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	CU_ASSERT_EQUAL(w.set.count, 0);
	buf_free(&b);
	buf_free(&in);
	wire_stop(&w);
}

static void
frames_in_single_bytes_are_put_together(void)
{
	struct wire w;
	struct buf b = {0};
	int fd;

	wire_start(&w);
	fd = wire_peer(&w);
	put_request(&b, REQ_HEART_BEAT, 1, SLICE_LIT("abc"));
	put_request(&b, REQ_HEART_BEAT, 2, SLICE_NONE);
	for (size_t i = 0; i < b.len; i++) {
		peer_write(fd, b.p + i, 1);
		wire_turn(&w);
	}
	CU_ASSERT(turns_until(&w, w.commands == 2));
	CU_ASSERT_EQUAL(w.set.priv->partial_bytes, 0);
	close(fd);
	buf_free(&b);
	wire_stop(&w);
}

/* Takes what is there, without a turn. */
static void
peer_take(int fd, struct buf *in)
{
	ssize_t n = recv(fd, buf_room(in, 262144), 262144, MSG_DONTWAIT);

	in->len += n > 0 ? (size_t)n : 0;
}

static void
pipelined_requests_take_one_read_and_one_answer_write(void)
{
	struct wire w;
	struct buf b = {0}, in = {0};
	size_t at = 0;
	int fd;

	wire_start(&w);
	w.on_command = answer_opaque;
	fd = wire_peer(&w);
	for (int i = 0; i < 64; i++)
		put_request(&b, REQ_SEND_MESSAGE_V2, i, SLICE_LIT("0123456789"));
	peer_write(fd, b.p, b.len);
	CU_ASSERT(turns_until(&w, w.commands > 0));
	CU_ASSERT_EQUAL(w.commands, 64);
	/* all answers are in the peer's socket after that one turn: read them without another one */
	peer_take(fd, &in);
	for (int i = 0; i < 64; i++)
		CU_ASSERT_EQUAL(frame_at(&in, &at).opaque, i);
	CU_ASSERT_EQUAL(at, in.len);
	close(fd);
	buf_free(&b);
	buf_free(&in);
	wire_stop(&w);
}

/* Sends all of b while turning, as the socket takes it, and reads meanwhile: who only writes is not read from for ever.
 */
static void
peer_write_all(struct wire *w, int fd, const struct buf *b, struct buf *in)
{
	size_t at = 0;

	while (at < b->len) {
		ssize_t n = send(fd, b->p + at, MIN_OF(b->len - at, (size_t)100000), MSG_NOSIGNAL | MSG_DONTWAIT);

		CU_ASSERT_FATAL(n > 0 || errno == EAGAIN);
		at += n > 0 ? (size_t)n : 0;
		wire_turn(w);
		peer_take(fd, in);
	}
}

static void
check_large_frames(void (*handler)(struct wire *, struct conn *, struct command *), size_t size)
{
	struct wire w;
	struct buf b = {0}, in = {0};
	char *body = xmalloc(size);
	size_t at = 0;
	int fd;

	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i * 7 + i / 251);
	wire_start(&w);
	w.on_command = handler;
	fd = wire_peer(&w);
	for (int i = 0; i < 3; i++)
		put_request(&b, REQ_SEND_MESSAGE_V2, i, (struct slice){body, size});
	peer_write_all(&w, fd, &b, &in);
	CU_ASSERT_EQUAL_FATAL(peer_read_frames(&w, fd, &in, 3), 3);
	for (int i = 0; i < 3; i++) {
		struct command c = frame_at(&in, &at);

		CU_ASSERT_EQUAL(c.opaque, i);
		CU_ASSERT(slice_eq(c.body, (struct slice){body, size}));
	}
	CU_ASSERT_EQUAL(w.set.priv->partial_bytes, 0);
	close(fd);
	free(body);
	buf_free(&b);
	buf_free(&in);
	wire_stop(&w);
}

static void
large_frames_come_through_whole(void)
{
	check_large_frames(echo_body, 5000000);
	check_large_frames(echo_body, 300000);
	check_large_frames(echo_body, 9000);
}

static void
references_are_sent_in_their_place(void)
{
	check_large_frames(echo_ref, 5000000);
	check_large_frames(echo_ref, 20000);
	check_large_frames(echo_ref, 10);
}

static void
largest_frame_is_taken(void)
{
	struct wire w;
	struct buf b = {0}, in = {0};
	size_t size = FRAME_MAX - 200;
	char *body = xcalloc(1, size);
	int fd;

	wire_start(&w);
	fd = wire_peer(&w);
	put_request(&b, REQ_SEND_MESSAGE_V2, 1, (struct slice){body, size});
	peer_write_all(&w, fd, &b, &in);
	CU_ASSERT(turns_until(&w, w.commands == 1));
	CU_ASSERT_EQUAL(w.closed, 0);
	close(fd);
	free(body);
	buf_free(&b);
	buf_free(&in);
	wire_stop(&w);
}

static char big_answer[100000];

static void
answer_big(struct wire *w, struct conn *c, struct command *cmd)
{
	struct request_id id;

	(void)w;
	request_id_of(&id, cmd);
	conn_answer_body(c, &id, RES_SUCCESS, (struct slice){big_answer, sizeof(big_answer)});
}

static void
slow_reader_is_not_read_over_the_high_mark(void)
{
	struct wire w;
	struct buf b = {0}, in = {0};
	int fd, before;

	wire_start(&w);
	w.on_command = answer_big;
	fd = wire_peer(&w);
	for (int i = 0; i < 400; i++)
		put_request(&b, REQ_PULL_MESSAGE, i, SLICE_NONE);
	peer_write(fd, b.p, b.len);
	for (int i = 0; i < 100; i++)
		wire_turn(&w);
	CU_ASSERT(w.commands >= 40 && w.commands < 200); /* 4 MiB, and what the kernel buffers */
	CU_ASSERT(w.last->priv->paused != 0);
	CU_ASSERT(conn_out_pending(w.last) <= CONN_OUT_HIGH + sizeof(big_answer) + 1000);
	before = w.commands;
	for (int i = 0; i < 100; i++)
		wire_turn(&w);
	CU_ASSERT_EQUAL(w.commands, before);
	CU_ASSERT_EQUAL(peer_read_frames(&w, fd, &in, 400), 400);
	CU_ASSERT_EQUAL(w.commands, 400);
	CU_ASSERT_EQUAL(w.last->priv->paused, 0);
	close(fd);
	buf_free(&b);
	buf_free(&in);
	wire_stop(&w);
}

static void
peer_that_takes_nothing_is_closed(void)
{
	struct wire w;
	struct buf b = {0};
	int fd;

	clock_set_made(1700000000000);
	wire_start(&w);
	w.on_command = answer_big;
	fd = wire_peer(&w);
	for (int i = 0; i < 100; i++)
		put_request(&b, REQ_PULL_MESSAGE, i, SLICE_NONE);
	peer_write(fd, b.p, b.len);
	CU_ASSERT(turns_until(&w, w.last->priv->write_blocked));
	clock_advance_ms(CONN_STALL_MS - 1);
	conn_set_sweep(&w.set);
	conn_set_flush(&w.set);
	CU_ASSERT_EQUAL(w.closed, 0);
	clock_advance_ms(2);
	conn_set_sweep(&w.set);
	conn_set_flush(&w.set);
	CU_ASSERT_EQUAL(w.closed, 1);
	CU_ASSERT(strstr(w.why, "took nothing") != NULL);
	close(fd);
	buf_free(&b);
	wire_stop(&w);
}

static void
idle_connection_is_closed(void)
{
	struct wire w;
	int fd;

	clock_set_made(1700000000000);
	wire_start(&w);
	fd = wire_peer(&w);
	clock_advance_ms(CONN_IDLE_MS);
	conn_set_sweep(&w.set);
	wire_turn(&w);
	CU_ASSERT_EQUAL(w.closed, 0);
	clock_advance_ms(1);
	conn_set_sweep(&w.set);
	wire_turn(&w);
	CU_ASSERT_EQUAL(w.closed, 1);
	CU_ASSERT(strstr(w.why, "no traffic") != NULL);
	CU_ASSERT(peer_sees_end(&w, fd));
	close(fd);
	wire_stop(&w);
}

static void
frame_that_does_not_become_whole_is_closed(void)
{
	struct wire w;
	struct buf b = {0};
	int fd;

	clock_set_made(1700000000000);
	wire_start(&w);
	fd = wire_peer(&w);
	put_request(&b, REQ_HEART_BEAT, 1, SLICE_LIT("0123456789012345678901234567890123456789"));
	for (int i = 0; i < 31; i++) {
		CU_ASSERT_EQUAL(w.closed, 0);
		peer_write(fd, b.p + i, 1);
		wire_turn(&w);
		clock_advance_ms(1000);
		conn_set_sweep(&w.set);
		wire_turn(&w);
	}
	CU_ASSERT_EQUAL(w.closed, 1);
	CU_ASSERT(strstr(w.why, "not complete") != NULL);
	CU_ASSERT_EQUAL(w.set.priv->partial_bytes, 0);
	close(fd);
	buf_free(&b);
	wire_stop(&w);
}

static void
check_bad_bytes(const char *bytes, size_t n, const char *why)
{
	struct wire w;
	int fd;

	wire_start(&w);
	fd = wire_peer(&w);
	peer_write(fd, bytes, n);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	CU_ASSERT(strstr(w.why, why) != NULL);
	CU_ASSERT_EQUAL(w.set.bad_frames, 1);
	CU_ASSERT(peer_sees_end(&w, fd));
	close(fd);
	wire_stop(&w);
}

static void
bytes_that_are_no_frame_close_with_a_sentence(void)
{
	check_bad_bytes("\x16\x03\x01\x02\x00\x01", 6, "TLS is not enabled");
	check_bad_bytes("GET / HTTP/1.1\r\n\r\n", 18, "HTTP");
	check_bad_bytes("\0\0\0\1\0\0\0\0", 8, "too small");
	check_bad_bytes("\0\0\0\4\0\0\0\0", 8, "object expected");
	check_bad_bytes("\0\0\0\4\0\0\0\1", 8, "beyond the frame");
}

static void
close_in_handler(struct wire *w, struct conn *c, struct command *cmd)
{
	answer_opaque(w, c, cmd);
	if (cmd->opaque == 1)
		conn_close(c, "closed by the test");
}

static void
closing_in_a_handler_sends_what_was_put_and_drops_the_rest(void)
{
	struct wire w;
	struct buf b = {0}, in = {0};
	size_t at = 0;
	int fd;

	wire_start(&w);
	w.on_command = close_in_handler;
	fd = wire_peer(&w);
	for (int i = 0; i < 5; i++)
		put_request(&b, REQ_HEART_BEAT, i, SLICE_NONE);
	peer_write(fd, b.p, b.len);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	CU_ASSERT_EQUAL(w.commands, 2);
	CU_ASSERT_STRING_EQUAL(w.why, "closed by the test");
	peer_read(&w, fd, &in, 1000000);
	CU_ASSERT_EQUAL(frame_at(&in, &at).opaque, 0);
	CU_ASSERT_EQUAL(frame_at(&in, &at).opaque, 1);
	CU_ASSERT_EQUAL(at, in.len);
	close(fd);
	buf_free(&b);
	buf_free(&in);
	wire_stop(&w);
}

static void
pause_in_handler(struct wire *w, struct conn *c, struct command *cmd)
{
	(void)w;
	(void)cmd;
	conn_pause(c, true);
}

static void
paused_connection_keeps_its_frames(void)
{
	struct wire w;
	struct buf b = {0};
	int fd;

	wire_start(&w);
	w.on_command = pause_in_handler;
	fd = wire_peer(&w);
	for (int i = 0; i < 5; i++)
		put_request(&b, REQ_HEART_BEAT, i, SLICE_NONE);
	peer_write(fd, b.p, b.len);
	for (int i = 1; i <= 5; i++) {
		CU_ASSERT(turns_until(&w, w.commands == i));
		for (int k = 0; k < 10; k++)
			wire_turn(&w);
		CU_ASSERT_EQUAL(w.commands, i);
		conn_pause(w.last, false);
	}
	CU_ASSERT_EQUAL(w.set.priv->partial_bytes, 0);
	close(fd);
	buf_free(&b);
	wire_stop(&w);
}

/* A small generator of our own, so that a failure comes again. */
static unsigned
next_random(unsigned *state)
{
	*state = *state * 1103515245 + 12345;
	return *state >> 16 & 0x7fff;
}

/* Frames must come whole and in order; every seventh pauses the connection. */
static void
check_order(struct wire *w, struct conn *c, struct command *cmd)
{
	CU_ASSERT_EQUAL(cmd->opaque, w->commands - 1);
	for (size_t i = 0; i < cmd->body.n; i += 97)
		CU_ASSERT_EQUAL_FATAL((uint8_t)cmd->body.p[i], (uint8_t)(cmd->opaque + (int)i));
	if (cmd->opaque % 7 == 3)
		conn_pause(c, true);
}

static void
check_cuts(unsigned seed)
{
	static char body[70000];
	struct wire w;
	struct buf b = {0};
	size_t at = 0;
	int fd, count = 60;

	for (int i = 0; i < count; i++) {
		size_t n = next_random(&seed) % (i % 9 ? 3000 : sizeof(body));

		for (size_t k = 0; k < n; k++)
			body[k] = (char)(i + (int)k);
		put_request(&b, REQ_HEART_BEAT, i, (struct slice){body, n});
	}
	wire_start(&w);
	w.on_command = check_order;
	fd = wire_peer(&w);
	while (at < b.len) {
		size_t n = next_random(&seed) % (next_random(&seed) % 4 ? 40 : 30000) + 1;
		ssize_t k = send(fd, b.p + at, MIN_OF(n, b.len - at), MSG_NOSIGNAL | MSG_DONTWAIT);

		at += k > 0 ? (size_t)k : 0;
		if (next_random(&seed) % 3)
			wire_turn(&w);
		if (next_random(&seed) % 5 == 0)
			conn_pause(w.last, false);
	}
	while (w.commands < count && turns_until(&w, w.commands == count || w.last->priv->paused))
		conn_pause(w.last, false);
	CU_ASSERT_EQUAL(w.commands, count);
	CU_ASSERT_EQUAL(w.closed, 0);
	CU_ASSERT_EQUAL(w.set.priv->partial_bytes, 0);
	close(fd);
	buf_free(&b);
	wire_stop(&w);
}

static void
any_cuts_of_a_stream_give_the_same_frames(void)
{
	for (unsigned seed = 1; seed <= 40; seed++)
		check_cuts(seed);
}

static void
held_reference_outlives_the_connection(void)
{
	struct wire w;
	struct request_id id = {.codec = CODEC_JSON};
	struct conn *held;
	int fd;

	wire_start(&w);
	fd = wire_peer(&w);
	held = w.last;
	conn_ref(held);
	close(fd);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	wire_turn(&w);
	CU_ASSERT(held->closed);
	conn_answer(held, &id, RES_SUCCESS, "too late %d", 1);
	conn_kick(held);
	wire_turn(&w);
	conn_unref(&held);
	CU_ASSERT(held == NULL);
	wire_turn(&w);
	CU_ASSERT(w.set.priv->first == NULL);
	wire_stop(&w);
}

static void
reference_may_be_dropped_after_the_set(void)
{
	struct wire w;
	struct conn *held;
	int fd;

	wire_start(&w);
	fd = wire_peer(&w);
	held = w.last;
	conn_ref(held);
	wire_stop(&w);
	CU_ASSERT_EQUAL(w.closed, 1);
	conn_unref(&held);
	close(fd);
}

static void
connections_over_the_limit_are_refused(void)
{
	struct wire w;
	struct addr a;
	struct err e;
	int one, two;

	wire_start(&w);
	log_level_now = LOG_LV_ERROR;
	w.set.limit = 1;
	one = wire_peer(&w);
	a = wire_addr(&w);
	CU_ASSERT_EQUAL_FATAL(sock_connect(&a, &two, &e), RC_OK);
	CU_ASSERT(peer_sees_end(&w, two));
	CU_ASSERT_EQUAL(w.set.count, 1);
	CU_ASSERT_EQUAL(w.closed, 0);
	close(one);
	close(two);
	wire_stop(&w);
}

static void
unfinished_frames_are_bounded_in_total(void)
{
	struct wire w;
	struct buf b = {0};
	char *body = xcalloc(1, 100000);
	int small, large;

	wire_start(&w);
	w.set.partial_limit = 60000;
	small = wire_peer(&w);
	large = wire_peer(&w);
	put_request(&b, REQ_SEND_MESSAGE_V2, 1, (struct slice){body, 100000});
	peer_write(small, b.p, 20000);
	CU_ASSERT(turns_until(&w, w.set.priv->partial_bytes == 20000));
	peer_write(large, b.p, 50000);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	CU_ASSERT(strstr(w.why, "unfinished frames") != NULL);
	CU_ASSERT(peer_sees_end(&w, large));
	peer_write(small, b.p + 20000, 10000);
	CU_ASSERT(turns_until(&w, w.set.priv->partial_bytes >= 30000));
	CU_ASSERT_EQUAL(w.closed, 1);
	close(small);
	close(large);
	free(body);
	buf_free(&b);
	wire_stop(&w);
}

static void
thousand_idle_connections_cost_little(void)
{
	enum { COUNT = 1000 };
	static int fds[COUNT];
	struct rlimit rl = {4096, 4096};
	struct wire w;
	struct buf b = {0}, in = {0};
	size_t before, after;

	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	wire_start(&w);
	w.on_command = echo_body;
	put_request(&b, REQ_HEART_BEAT, 1, SLICE_LIT("a heartbeat's body"));
	before = mallinfo2().uordblks;
	for (int i = 0; i < COUNT; i++) {
		fds[i] = wire_peer(&w);
		peer_write(fds[i], b.p, b.len);
	}
	CU_ASSERT(turns_until(&w, w.commands == COUNT));
	for (int i = 0; i < COUNT; i++) {
		in.len = 0;
		CU_ASSERT_EQUAL(peer_read_frames(&w, fds[i], &in, 1), 1);
	}
	buf_free(&in);
	after = mallinfo2().uordblks;
	CU_ASSERT_EQUAL(w.set.count, COUNT);
	CU_ASSERT(after - before < (size_t)COUNT * 1024 + (4u << 20)); /* the pools of the whole set are within 4 MiB */
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	CU_ASSERT(turns_until(&w, w.closed == COUNT));
	buf_free(&b);
	wire_stop(&w);
}

static void
accepting_pauses_without_descriptors_and_goes_on(void)
{
	struct rlimit old, low;
	struct wire w;
	struct addr a;
	struct err e;
	int fd = -1, probe;

	wire_start(&w);
	log_level_now = LOG_LV_ERROR;
	log_to_stderr();
	a = wire_addr(&w);
	CU_ASSERT_EQUAL_FATAL(sock_connect(&a, &fd, &e), RC_OK);
	getrlimit(RLIMIT_NOFILE, &old);
	probe = dup(0);
	close(probe);
	low = old;
	low.rlim_cur = (rlim_t)probe;
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &low), 0);
	CU_ASSERT(turns_until(&w, w.set.priv->listeners->paused));
	setrlimit(RLIMIT_NOFILE, &old);
	CU_ASSERT_EQUAL(w.opened, 0);
	conn_set_sweep(&w.set);
	CU_ASSERT(turns_until(&w, w.opened == 1));
	close(fd);
	wire_stop(&w);
}

static void
refused_connect_is_a_close_with_a_sentence(void)
{
	struct wire w;
	struct conn *c;
	struct addr a = {.ip = {127, 0, 0, 1}, .port = 1};
	struct err e;

	wire_start(&w);
	CU_ASSERT_EQUAL_FATAL(conn_open(&w.set, &a, &c, &e), RC_OK);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	CU_ASSERT(strstr(w.why, "cannot connect to 127.0.0.1:1: Connection refused") != NULL);
	CU_ASSERT_EQUAL(w.opened, 0);
	conn_unref(&c);
	wire_stop(&w);
}

static void
own_connection_sends_what_was_put_before_it_opened(void)
{
	struct wire w;
	struct conn *c;
	struct addr a;
	struct err e;

	wire_start(&w);
	a = wire_addr(&w);
	CU_ASSERT_EQUAL_FATAL(conn_open(&w.set, &a, &c, &e), RC_OK);
	CU_ASSERT(c->outgoing);
	put_request(&c->out, REQ_HEART_BEAT, 5, SLICE_NONE);
	conn_kick(c);
	conn_set_flush(&w.set);
	CU_ASSERT(turns_until(&w, w.commands == 1));
	CU_ASSERT_EQUAL(w.opened, 2);
	conn_unref(&c);
	wire_stop(&w);
}

static void
answers_beyond_the_buffer_limit_close(void)
{
	struct wire w;
	struct buf b = {0};
	int fd;

	wire_start(&w);
	w.on_command = answer_big;
	fd = wire_peer(&w);
	w.last->out.limit = 50000;
	put_request(&b, REQ_PULL_MESSAGE, 1, SLICE_NONE);
	peer_write(fd, b.p, b.len);
	CU_ASSERT(turns_until(&w, w.closed == 1));
	CU_ASSERT(peer_sees_end(&w, fd));
	close(fd);
	buf_free(&b);
	wire_stop(&w);
}

TEST_MAIN("remoting/conn", TEST(request_is_answered), TEST(frames_in_single_bytes_are_put_together),
	  TEST(pipelined_requests_take_one_read_and_one_answer_write), TEST(large_frames_come_through_whole),
	  TEST(references_are_sent_in_their_place), TEST(largest_frame_is_taken),
	  TEST(slow_reader_is_not_read_over_the_high_mark), TEST(peer_that_takes_nothing_is_closed),
	  TEST(idle_connection_is_closed), TEST(frame_that_does_not_become_whole_is_closed),
	  TEST(bytes_that_are_no_frame_close_with_a_sentence),
	  TEST(closing_in_a_handler_sends_what_was_put_and_drops_the_rest), TEST(paused_connection_keeps_its_frames),
	  TEST(any_cuts_of_a_stream_give_the_same_frames), TEST(held_reference_outlives_the_connection),
	  TEST(reference_may_be_dropped_after_the_set), TEST(connections_over_the_limit_are_refused),
	  TEST(unfinished_frames_are_bounded_in_total), TEST(thousand_idle_connections_cost_little),
	  TEST(accepting_pauses_without_descriptors_and_goes_on), TEST(refused_connect_is_a_close_with_a_sentence),
	  TEST(own_connection_sends_what_was_put_before_it_opened), TEST(answers_beyond_the_buffer_limit_close))

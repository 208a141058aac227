/*
 * The ha process on its own: the test plays the broker, and the slave or master of the original's kind at the other
 * end.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/crc.h"
#include "common/message.h"
#include "common/sock.h"
#include "t/unit/node.h"
#include "workers/ha/ha.h"
#include "workers/ha/hello.h"

#define FILE_BYTES (1 << 20) /* node.h's mappedFileSizeCommitLog */
#define LOG_END    5000

static struct node n;
static int port;

static int
listen_somewhere(void)
{
	struct err e;
	int fd;

	for (port = 21000 + getpid() % 5000; port < 30000; port++)
		if (sock_listen("127.0.0.1", port, &fd, &e) == RC_OK)
			return fd;
	return -1;
}

/* A log whose bytes say their place. */
static void
make_log(off_t from, int64_t end)
{
	char name[64], *bytes = malloc(FILE_BYTES);
	int fd;

	snprintf(name, sizeof(name), "commitlog/%020lld", (long long)from);
	fd = node_file(&n, name, FILE_BYTES);
	for (int i = 0; i < FILE_BYTES; i++)
		bytes[i] = (char)(i % 251);
	CU_ASSERT_EQUAL(pwrite(fd, bytes, (size_t)(end - from), 0), (ssize_t)(end - from));
	close(fd);
	free(bytes);
}

static void
begin(enum broker_role role)
{
	node_init(&n, WORKER_HA);
	n.w.listen_fds[0] = listen_somewhere();
	CU_ASSERT_TRUE_FATAL(n.w.listen_fds[0] >= 0);
	atomic_store(&n.shm->master.role, role);
	atomic_store(&n.shm->broker.state, NODE_RUNNING);
	n.spec.conf.haSendHeartbeatInterval = 100;
}

static void
begin_master(enum broker_role role)
{
	begin(role);
	make_log(0, LOG_END);
	pos_publish(&n.shm->broker.appended, LOG_END);
	node_start(&n, ha_run);
	node_ready(&n);
}

static void
end(void)
{
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	close(n.w.listen_fds[0]);
	node_free(&n);
}

/* ---- playing a slave of the original */

static int
slave_connect(void)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {NODE_DEADLINE_MS / 1000, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void
slave_report(int fd, int64_t position)
{
	char word[REPORT_BYTES];

	be64_put(word, (uint64_t)position);
	CU_ASSERT_EQUAL(send(fd, word, sizeof(word), MSG_NOSIGNAL), (ssize_t)sizeof(word));
}

static bool
read_all(int fd, void *p, size_t bytes)
{
	return recv(fd, p, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

/* Reads frames, heartbeats too, until all up to `to` is there. The bytes are those of make_log. */
static bool
slave_reads(int fd, int64_t from, int64_t to)
{
	static char data[1 << 20];
	char raw[HEAD_PLAIN_BYTES];
	struct head h;

	while (from < to) {
		if (!read_all(fd, raw, sizeof(raw)) || head_take(&h, raw, false, FILE_BYTES) != RC_OK || h.at != from ||
		    !read_all(fd, data, (size_t)h.bytes))
			return false;
		for (int32_t i = 0; i < h.bytes; i++)
			if (data[i] != (char)((from + i) % FILE_BYTES % 251))
				return false;
		from += h.bytes;
	}
	return true;
}

static bool
is_closed(int fd)
{
	char bytes[4096];
	ssize_t got;

	while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		;
	return got == 0 || errno == ECONNRESET;
}

/* ---- a master's ha */

static void
an_asynchronous_master_asks_for_no_replica(void)
{
	begin_master(ROLE_ASYNC_MASTER);
	node_until(pos_read(&n.shm->ha.replicated) == LOG_END);
	end();
}

static void
a_synchronous_master_is_not_told_of_copies_that_nobody_has(void)
{
	begin_master(ROLE_SYNC_MASTER);
	node_until(atomic_load(&n.shm->ha.needed) == 2);
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.replicated), 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves), 0);
	end();
}

static void
a_slave_of_the_original_gets_the_last_file_and_its_report_counts(void)
{
	int fd;

	begin_master(ROLE_SYNC_MASTER);
	fd = slave_connect();
	slave_report(fd, 0);
	CU_ASSERT(slave_reads(fd, 0, LOG_END));
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.replicated), 0);
	slave_report(fd, LOG_END);
	CU_ASSERT(node_until_pos(&n, &n.shm->ha.replicated, LOG_END));
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves_in_sync), 1);
	make_log(0, LOG_END + 700);
	node_append(&n, LOG_END + 700, 1);
	CU_ASSERT(slave_reads(fd, LOG_END, LOG_END + 700));
	slave_report(fd, LOG_END + 700);
	CU_ASSERT(node_until_pos(&n, &n.shm->ha.replicated, LOG_END + 700));
	close(fd);
	node_until(atomic_load(&n.shm->ha.slaves) == 0);
	end();
}

static void
frames_end_where_a_file_ends(void)
{
	int fd;

	begin(ROLE_ASYNC_MASTER);
	make_log(0, FILE_BYTES);
	make_log(FILE_BYTES, FILE_BYTES + 3000);
	pos_publish(&n.shm->broker.appended, FILE_BYTES + 3000);
	node_start(&n, ha_run);
	node_ready(&n);
	fd = slave_connect();
	slave_report(fd, FILE_BYTES - 1000);
	CU_ASSERT(slave_reads(fd, FILE_BYTES - 1000, FILE_BYTES + 3000)); /* head_take refuses what crosses it */
	close(fd);
	end();
}

static void
junk_never_counts(void)
{
	int silent, zero, http, ahead;

	begin_master(ROLE_SYNC_MASTER);
	silent = slave_connect();
	zero = slave_connect();
	slave_report(zero, 0); /* a port scanner's eight zero bytes: an empty slave that then confirms nothing */
	http = slave_connect();
	CU_ASSERT_EQUAL(send(http, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
	CU_ASSERT(is_closed(http));
	ahead = slave_connect();
	slave_report(ahead, LOG_END + 1);
	CU_ASSERT(is_closed(ahead));
	CU_ASSERT(slave_reads(zero, 0, LOG_END));
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves_in_sync), 0);
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.replicated), 0);
	close(silent), close(zero), close(http), close(ahead);
	end();
}

static void
who_confirms_what_was_not_sent_is_disconnected_and_not_counted(void)
{
	int fd;

	begin_master(ROLE_SYNC_MASTER);
	fd = slave_connect();
	slave_report(fd, 1000);
	CU_ASSERT(slave_reads(fd, 1000, LOG_END));
	slave_report(fd, LOG_END + 100000);
	CU_ASSERT(is_closed(fd));
	node_until(atomic_load(&n.shm->ha.slaves) == 0);
	CU_ASSERT(pos_read(&n.shm->ha.replicated) <= 1000);
	close(fd);
	end();
}

static void
a_silent_slave_is_dropped_and_a_beat_comes_without_data(void)
{
	char raw[HEAD_PLAIN_BYTES];
	struct head h;
	int fd;

	begin(ROLE_ASYNC_MASTER);
	make_log(0, LOG_END);
	pos_publish(&n.shm->broker.appended, LOG_END);
	n.spec.conf.haHousekeepingInterval = 1000;
	node_start(&n, ha_run);
	node_ready(&n);
	fd = slave_connect();
	slave_report(fd, LOG_END);
	CU_ASSERT(read_all(fd, raw, sizeof(raw)));
	CU_ASSERT_EQUAL(head_take(&h, raw, false, FILE_BYTES), RC_OK);
	CU_ASSERT(h.at == LOG_END && h.bytes == 0);
	CU_ASSERT(is_closed(fd));
	close(fd);
	end();
}

/* ---- a slave's ha; the test plays a Java master */

static int master_fd, master_port;

static size_t
put_record(char *out, int64_t at, size_t body)
{
	static char text[4096];
	struct message m = {.topic = SLICE_LIT("T"), .physical = at, .store_ms = 77, .body = {text, body}};

	message_encode(&m, out);
	return message_size(&m);
}

static void
begin_slave(void)
{
	begin(ROLE_SLAVE);
	master_fd = n.w.listen_fds[0]; /* nobody asks the slave itself: its port is the master's here */
	n.w.listen_fds[0] = -1;
	master_port = port;
	free(n.spec.conf.haMasterAddress);
	n.spec.conf.haMasterAddress = xasprintf("127.0.0.1:%d", master_port);
	node_start(&n, ha_run);
	node_ready(&n);
}

static void
end_slave(void)
{
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	close(master_fd);
	node_free(&n);
}

static int
master_accept(void)
{
	struct pollfd p = {.fd = master_fd, .events = POLLIN};
	struct timeval patience = {NODE_DEADLINE_MS / 1000, 0};
	int fd;

	CU_ASSERT_EQUAL_FATAL(poll(&p, 1, NODE_DEADLINE_MS), 1);
	fd = accept4(master_fd, NULL, NULL, SOCK_CLOEXEC);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* As the Java master: of a stream only the last whole word counts, and nothing is sent before one is a report. */
static int64_t
master_hears(int fd)
{
	char word[REPORT_BYTES];

	return read_all(fd, word, sizeof(word)) ? (int64_t)be64_get(word) : INT64_MIN;
}

/* The slave's connection, at its first report; a hello comes before, no part of which may look like one. */
static int
master_meets(int64_t *report)
{
	int fd = master_accept(), words = 0;

	while ((*report = master_hears(fd)) < 0 && *report != INT64_MIN)
		words++;
	CU_ASSERT(words > 3);
	return fd;
}

static void
master_sends(int fd, int64_t at, const char *data, size_t bytes)
{
	struct head h = {.at = at, .bytes = (int32_t)bytes};
	char raw[HEAD_PLAIN_BYTES];

	(void)head_put(raw, &h, false, SLICE_NONE);
	CU_ASSERT_EQUAL(send(fd, raw, sizeof(raw), MSG_NOSIGNAL), (ssize_t)sizeof(raw));
	CU_ASSERT_EQUAL(send(fd, data, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

static bool
reports_until(int fd, int64_t position)
{
	int64_t got;

	do
		got = master_hears(fd);
	while (got != INT64_MIN && got < position);
	return got == position;
}

static void
a_hello_is_never_a_report_and_whole_records_are_confirmed(void)
{
	char data[8192];
	size_t first, both;
	int64_t report;
	int fd;

	begin_slave();
	fd = master_meets(&report);
	CU_ASSERT_EQUAL(report, 0);
	first = put_record(data, 0, 1000);
	both = first + put_record(data + first, (int64_t)first, 1000);
	master_sends(fd, 0, data, first + 300); /* torn in the second record */
	CU_ASSERT(reports_until(fd, (int64_t)first));
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended), (int64_t)first);
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.written), (int64_t)first + 300);
	master_sends(fd, (int64_t)first + 300, data + first + 300, both - first - 300);
	CU_ASSERT(reports_until(fd, (int64_t)both));
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended_store_ms), 77);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.connected), 1);
	close(fd);
	end_slave();
}

static void
damaged_bytes_are_refused_and_asked_for_again(void)
{
	char data[4096];
	size_t one, two;
	int64_t report;
	int fd;

	begin_slave();
	fd = master_meets(&report);
	one = put_record(data, 0, 500);
	two = one + put_record(data + one, (int64_t)one, 500);
	data[two - 50] ^= 1; /* in the body */
	master_sends(fd, 0, data, two);
	CU_ASSERT(reports_until(fd, (int64_t)one) || is_closed(fd));
	close(fd);
	fd = master_meets(&report);
	CU_ASSERT_EQUAL(report, (int64_t)one);
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended), (int64_t)one);
	data[two - 50] ^= 1;
	master_sends(fd, (int64_t)one, data + one, two - one);
	CU_ASSERT(reports_until(fd, (int64_t)two));
	close(fd);
	end_slave();
}

static void
a_frame_for_another_place_is_refused(void)
{
	char data[2048];
	size_t one;
	int64_t report;
	int fd;

	begin_slave();
	fd = master_meets(&report);
	one = put_record(data, 0, 500);
	master_sends(fd, 0, data, one);
	CU_ASSERT(reports_until(fd, (int64_t)one));
	master_sends(fd, (int64_t)one + 100, data, one);
	CU_ASSERT(is_closed(fd));
	close(fd);
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended), (int64_t)one);
	end_slave();
}

/* ---- between two of ours */

static struct hello hello; /* the last one that was read */

static void
send_hello(int fd, const struct hello *h)
{
	struct buf out = {0};

	hello_put(&out, h);
	CU_ASSERT_EQUAL(send(fd, out.p, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
	buf_free(&out);
}

/* Reads word by word, so that nothing behind it is taken. */
static bool
read_hello(int fd)
{
	static char raw[2 * HELLO_MAX];
	size_t have = 0, used;
	struct err e;
	enum rc rc;

	do {
		if (!read_all(fd, raw + have, 8))
			return false;
		have += 8;
		rc = hello_take(&hello, raw, have, &used, &e);
	} while (rc == RC_AGAIN);
	return rc == RC_OK;
}

static struct hello
own_hello(enum broker_role role, int64_t max)
{
	struct hello h = {.role = role, .broker_id = 1, .max = max, .tail_at = max, .segment_bytes = FILE_BYTES};

	snprintf(h.cluster, sizeof(h.cluster), "%s", n.spec.conf.brokerClusterName);
	snprintf(h.name, sizeof(h.name), "%s", n.spec.conf.brokerName);
	return h;
}

static void
a_slave_of_ours_is_counted_by_its_first_report(void)
{
	char raw[HEAD_OURS_BYTES], data[LOG_END];
	struct hello h;
	struct head head;
	int fd;

	begin_master(ROLE_SYNC_MASTER);
	fd = slave_connect();
	h = own_hello(ROLE_SLAVE, 0);
	send_hello(fd, &h);
	CU_ASSERT_TRUE_FATAL(read_hello(fd));
	CU_ASSERT_EQUAL(hello.verdict, VERDICT_GO);
	CU_ASSERT(hello.start == 0 && hello.max == LOG_END && hello.role == ROLE_SYNC_MASTER);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves), 0);
	CU_ASSERT(read_all(fd, raw, sizeof(raw)));
	CU_ASSERT_EQUAL_FATAL(head_take(&head, raw, true, FILE_BYTES), RC_OK);
	CU_ASSERT_EQUAL_FATAL(head.bytes, LOG_END);
	CU_ASSERT(read_all(fd, data, LOG_END));
	CU_ASSERT_EQUAL(crc32_of(data, LOG_END), head.crc);
	slave_report(fd, LOG_END);
	CU_ASSERT(node_until_pos(&n, &n.shm->ha.replicated, LOG_END));
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves_in_sync), 1);
	/* it stands still: no longer in sync, though still connected */
	node_until(atomic_load(&n.shm->ha.slaves_in_sync) == 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves), 1);
	slave_report(fd, LOG_END);
	node_until(atomic_load(&n.shm->ha.slaves_in_sync) == 1);
	close(fd);
	end();
}

static void
send_frame(int fd, const struct head *h, const char *data, size_t bytes)
{
	char raw[HEAD_OURS_BYTES];

	(void)head_put(raw, h, true, (struct slice){data, bytes});
	CU_ASSERT_EQUAL(send(fd, raw, sizeof(raw), MSG_NOSIGNAL), (ssize_t)sizeof(raw));
	CU_ASSERT_EQUAL(send(fd, data, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

/* Takes the slave's connection as a master of ours. */
static int
master_greets(int64_t max)
{
	int fd = master_accept();
	struct hello h;

	CU_ASSERT_TRUE_FATAL(read_hello(fd));
	h = own_hello(ROLE_ASYNC_MASTER, max);
	h.verdict = VERDICT_GO;
	h.start = hello.max;
	send_hello(fd, &h);
	return fd;
}

static void
a_frame_that_was_damaged_outside_of_bodies_is_refused_too(void)
{
	char data[2048];
	size_t one = put_record(data, 0, 500);
	struct head h = {.bytes = (int32_t)one, .max = (int64_t)one};
	char raw[HEAD_OURS_BYTES];
	int fd;

	begin_slave();
	fd = master_greets((int64_t)one);
	(void)head_put(raw, &h, true, (struct slice){data, one});
	data[one - 3] ^= 1; /* the topic's name: no record says a CRC of that */
	CU_ASSERT_EQUAL(send(fd, raw, sizeof(raw), MSG_NOSIGNAL), (ssize_t)sizeof(raw));
	CU_ASSERT_EQUAL(send(fd, data, one, MSG_NOSIGNAL), (ssize_t)one);
	CU_ASSERT(is_closed(fd));
	close(fd);
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended), 0);
	fd = master_greets((int64_t)one);
	CU_ASSERT_EQUAL(hello.max, 0);
	data[one - 3] ^= 1;
	send_frame(fd, &h, data, one);
	CU_ASSERT(reports_until(fd, (int64_t)one));
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.master_max), (int64_t)one);
	close(fd);
	end_slave();
}

static void
what_is_only_written_is_not_confirmed_when_it_must_be_flushed(void)
{
	char data[2048];
	size_t one = put_record(data, 0, 500);
	struct head h = {.bytes = (int32_t)one, .max = (int64_t)one};
	int fd;

	begin(ROLE_SLAVE);
	n.spec.conf.haSlaveFsyncBeforeAck = true;
	master_fd = n.w.listen_fds[0];
	n.w.listen_fds[0] = -1;
	free(n.spec.conf.haMasterAddress);
	n.spec.conf.haMasterAddress = xasprintf("127.0.0.1:%d", port);
	node_start(&n, ha_run);
	node_ready(&n);
	fd = master_greets((int64_t)one);
	send_frame(fd, &h, data, one);
	CU_ASSERT(node_until_pos(&n, &n.shm->broker.appended, (int64_t)one));
	CU_ASSERT_EQUAL(master_hears(fd), 0); /* the beat: alive, and nothing is safe */
	CU_ASSERT_EQUAL(master_hears(fd), 0);
	pos_publish(&n.shm->flush.flushed, (int64_t)one);
	wake_send(&n.shm->waiters[WORKER_HA].w, n.w.wake_fds[WORKER_HA]);
	CU_ASSERT(reports_until(fd, (int64_t)one));
	close(fd);
	end_slave();
}

static void
an_order_to_cut_is_written_down_before_the_master_hears_of_it(void)
{
	struct hello h;
	struct ipc_msg m;
	int fd;

	begin(ROLE_SLAVE);
	master_fd = n.w.listen_fds[0];
	n.w.listen_fds[0] = -1;
	make_log(0, LOG_END);
	pos_publish(&n.shm->broker.appended, LOG_END);
	free(n.spec.conf.haMasterAddress);
	n.spec.conf.haMasterAddress = xasprintf("127.0.0.1:%d", port);
	node_start(&n, ha_run);
	node_ready(&n);
	fd = master_accept();
	CU_ASSERT_TRUE_FATAL(read_hello(fd));
	h = own_hello(ROLE_ASYNC_MASTER, 9000);
	h.epoch = 3;
	epochs_append(&h.epochs, 3, 4000);
	h.verdict = VERDICT_CUT;
	h.start = 3000; /* a master that cannot be right: by both lists of epochs it is 4000 */
	send_hello(fd, &h);
	CU_ASSERT(is_closed(fd));
	close(fd);
	CU_ASSERT_FALSE(node_has(&n, "cut"));
	fd = master_accept();
	CU_ASSERT_TRUE_FATAL(read_hello(fd));
	h.start = 4000;
	send_hello(fd, &h);
	CU_ASSERT_TRUE_FATAL(node_message(n.control, IPC_HA_MASTER_CUT, &m));
	CU_ASSERT_EQUAL(ipc_i64(&m), 4000);
	CU_ASSERT_TRUE(node_has(&n, "cut"));
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended), 4000); /* flush must not look beyond */
	close(fd);
	end_slave();
}

static void
a_master_hears_of_a_later_epoch_before_it_takes_sends(void)
{
	struct broker_spec brokers[2];
	struct cluster_spec cluster = {.failover = FAILOVER_LOCAL, .brokers = brokers, .broker_count = 2};
	struct hello h;
	struct ipc_msg m;
	int fd;

	begin(ROLE_SYNC_MASTER);
	n.spec.name = (char[]){"broker-a-0"};
	brokers[0] = brokers[1] = n.spec;
	brokers[1].name = (char[]){"broker-a-1"};
	master_fd = n.w.listen_fds[0];
	n.w.listen_fds[0] = -1;
	broker_conf_init(&brokers[1].conf);
	brokers[1].conf.brokerId = 1;
	brokers[1].conf.haListenPort = port;
	free(brokers[1].conf.brokerIP2);
	brokers[1].conf.brokerIP2 = xstrdup("127.0.0.1");
	n.w.cluster = &cluster;
	pos_publish(&n.shm->master.epoch, 2);
	node_start(&n, ha_run);
	node_ready(&n);
	fd = master_accept();
	CU_ASSERT_TRUE_FATAL(read_hello(fd));
	CU_ASSERT_EQUAL(hello.flags, HELLO_PROBE);
	CU_ASSERT_EQUAL(hello.epoch, 2);
	h = own_hello(ROLE_ASYNC_MASTER, 9000);
	h.epoch = 3;
	send_hello(fd, &h);
	node_until(atomic_load(&n.shm->ha.asked) == 1);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.fenced), 1);
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.fenced_epoch), 3);
	CU_ASSERT_TRUE_FATAL(node_message(n.control, IPC_HA_MASTER_FENCED, &m));
	CU_ASSERT_EQUAL(ipc_i64(&m), 3);
	close(fd);
	broker_conf_free(&brokers[1].conf);
	end_slave();
}

/* ---- roles */

static void
a_promotion_lets_go_of_the_log(void)
{
	char data[2048];
	size_t one;
	int64_t report;
	int fd;

	begin_slave();
	fd = master_meets(&report);
	one = put_record(data, 0, 500);
	master_sends(fd, 0, data, one);
	CU_ASSERT(reports_until(fd, (int64_t)one));
	pos_publish(&n.shm->master.epoch, 3);
	atomic_store(&n.shm->master.role, ROLE_ASYNC_MASTER);
	CU_ASSERT_EQUAL(ipc_send(n.control, IPC_MASTER_ALL_ROLE, ROLE_ASYNC_MASTER, (int64_t)3), RC_OK);
	CU_ASSERT(node_until_pos(&n, &n.shm->ha.role_epoch, 3));
	CU_ASSERT(is_closed(fd));
	CU_ASSERT_EQUAL(pos_read(&n.shm->broker.appended), (int64_t)one);
	close(fd);
	end_slave();
}

TEST_MAIN("ha", TEST(an_asynchronous_master_asks_for_no_replica),
	  TEST(a_synchronous_master_is_not_told_of_copies_that_nobody_has),
	  TEST(a_slave_of_the_original_gets_the_last_file_and_its_report_counts), TEST(frames_end_where_a_file_ends),
	  TEST(junk_never_counts), TEST(who_confirms_what_was_not_sent_is_disconnected_and_not_counted),
	  TEST(a_silent_slave_is_dropped_and_a_beat_comes_without_data),
	  TEST(a_hello_is_never_a_report_and_whole_records_are_confirmed),
	  TEST(damaged_bytes_are_refused_and_asked_for_again), TEST(a_frame_for_another_place_is_refused),
	  TEST(a_slave_of_ours_is_counted_by_its_first_report),
	  TEST(a_frame_that_was_damaged_outside_of_bodies_is_refused_too),
	  TEST(what_is_only_written_is_not_confirmed_when_it_must_be_flushed),
	  TEST(an_order_to_cut_is_written_down_before_the_master_hears_of_it),
	  TEST(a_master_hears_of_a_later_epoch_before_it_takes_sends), TEST(a_promotion_lets_go_of_the_log))

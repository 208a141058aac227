/*
 * broker_fixture: a whole broker in the test's process.
 */
#include "t/unit/broker_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

#define PORT_FIRST 21000
#define PORT_RANGE 8000
#define TURNS_MAX  400

/* ---- the broker */

static void
set_param(struct broker_conf *conf, const char *key, const char *value)
{
	const struct param *p = param_find(&broker_params, slice_of(key));
	struct err e;

	ensure(p != NULL && param_set(p, conf, slice_of(value), &e) == RC_OK);
}

static void
set_params(struct fixture *f, const char *const *settings)
{
	struct broker_conf *conf = &f->node.conf;
	char text[128], key[64];

	broker_conf_init(conf);
	set_param(conf, "brokerIP1", "127.0.0.1");
	snprintf(text, sizeof(text), "%d", f->port);
	set_param(conf, "listenPort", text);
	set_param(conf, "brokerName", "broker-t");
	set_param(conf, "brokerClusterName", "test");
	set_param(conf, "storePathRootDir", f->dir);
	snprintf(text, sizeof(text), "%s/commitlog", f->dir);
	set_param(conf, "storePathCommitLog", text);
	set_param(conf, "mappedFileSizeCommitLog", "4194304");
	for (; settings != NULL && *settings != NULL; settings++) {
		const char *eq = strchr(*settings, '=');

		snprintf(key, sizeof(key), "%.*s", (int)(eq - *settings), *settings);
		set_param(conf, key, eq + 1);
	}
}

static void
open_listener(struct fixture *f)
{
	struct err e;

	f->port = PORT_FIRST + (int)(getpid() % PORT_RANGE);
	for (int tries = 0; tries < 200; tries++, f->port++)
		if (sock_listen("127.0.0.1", f->port, &f->listen_fd, &e) == RC_OK)
			return;
	ensure(false);
}

static void
pair(struct worker *w, enum role role, int *other)
{
	int fds[2];

	ensure(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	w->peer_fds[role] = fds[0];
	*other = fds[1];
}

static void
make_worker(struct fixture *f)
{
	struct worker *w = &f->w;
	size_t size = (sizeof(struct node_shm) + SHM_LINE - 1) / SHM_LINE * SHM_LINE;

	*w = (struct worker){.role = WORKER_BROKER, .cluster = &f->cluster, .node = &f->node, .control_fd = -1};
	for (int i = 0; i < WORKER_LISTENERS; i++)
		w->listen_fds[i] = -1;
	for (int r = 0; r < ROLE_COUNT; r++)
		w->peer_fds[r] = w->wake_fds[r] = -1;
	w->listen_fds[0] = f->listen_fd;
	w->shm = aligned_alloc(SHM_LINE, size);
	ensure(w->shm != NULL);
	memset(w->shm, 0, size);
	w->shm->magic = SHM_MAGIC;
	w->shm->version = SHM_VERSION;
	w->shm->size = (uint32_t)sizeof(struct node_shm);
	atomic_store(&w->shm->master.role, (int32_t)f->node.conf.brokerRole);
	pair(w, WORKER_FLUSH, &f->flush_fd);
	pair(w, WORKER_WARM, &f->warm_fd);
}

static void
start(struct fixture *f, const char *const *settings)
{
	open_listener(f);
	set_params(f, settings);
	f->node.name = xstrdup("broker-t-0");
	f->node.dir = xstrdup(f->dir);
	f->node.conf_file = xasprintf("%s/config/broker.conf", f->dir);
	make_worker(f);
	f->b = broker_start(&f->w);
	fixture_turns(f, 2);
}

void
fixture_start(struct fixture *f, const char *const *settings)
{
	*f = (struct fixture){0};
	log_to_stderr();
	ensure(log_set_level("error") == RC_OK);
	snprintf(f->dir, sizeof(f->dir), "/tmp/broker-test-XXXXXX");
	ensure(mkdtemp(f->dir) != NULL);
	start(f, settings);
}

void
fixture_kill(struct fixture *f)
{
	broker_end(&f->b);
	ev_loop_destroy(f->w.loop);
	close(f->listen_fd);
	close(f->flush_fd);
	close(f->warm_fd);
	close(f->w.peer_fds[WORKER_FLUSH]);
	close(f->w.peer_fds[WORKER_WARM]);
	free(f->w.shm);
	free(f->w.priv);
	free(f->node.name);
	free(f->node.dir);
	free(f->node.conf_file);
	broker_conf_free(&f->node.conf);
}

void
fixture_restart(struct fixture *f, const char *const *settings)
{
	start(f, settings);
}

void
fixture_stop(struct fixture *f)
{
	char command[128];

	fixture_kill(f);
	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	ensure(system(command) == 0);
}

void
fixture_turns(struct fixture *f, int n)
{
	while (n-- > 0)
		ev_run(f->w.loop, EVRUN_NOWAIT);
}

int
fixture_connect(struct fixture *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ensure(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	fixture_turns(f, 2);
	return fd;
}

/* ---- looking */

void
fixture_pass_ms(struct fixture *f, int64_t ms)
{
	clock_advance_ms(ms);
	f->w.on_second(&f->w);
	fixture_turns(f, 8);
}

int64_t
fixture_queue_end(struct fixture *f, const char *topic, int32_t queue)
{
	struct store_queue *q = store_queue_find(f->b->store, slice_of(topic), queue);

	return q == NULL ? 0 : queue_max(q);
}

int64_t
fixture_message(struct fixture *f, const char *topic, int32_t queue, int64_t offset, struct message *m, int64_t *code)
{
	struct store_queue *q = store_queue_find(f->b->store, slice_of(topic), queue);
	int64_t physical, its_code;
	struct slice record;
	int32_t size;

	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	CU_ASSERT_EQUAL_FATAL(store_unit_at(f->b->store, q, offset, &physical, &size, &its_code), RC_OK);
	CU_ASSERT_EQUAL_FATAL(store_record_at(f->b->store, physical, &record), RC_OK);
	CU_ASSERT_EQUAL_FATAL(message_decode(m, record.p, record.n, true), RC_OK);
	if (code != NULL)
		*code = its_code;
	return physical;
}

/* ---- asking */

void
ask_begin(struct ask *a, int code, int32_t opaque)
{
	*a = (struct ask){0};
	frame_begin_request(&a->f, &a->b, CODEC_JSON, code, opaque, false);
}

void
ask_field(struct ask *a, const char *name, const char *value)
{
	frame_field(&a->f, name, slice_of(value));
}

void
ask_field_i64(struct ask *a, const char *name, int64_t value)
{
	frame_field_i64(&a->f, name, value);
}

void
ask_send(struct ask *a, struct fixture *f, int fd, const void *body, size_t n)
{
	size_t at = 0;
	ssize_t sent;

	frame_end(&a->f, n);
	buf_put(&a->b, body, n);
	ensure(!a->b.failed);
	while (at < a->b.len) {
		sent = send(fd, a->b.p + at, a->b.len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		ensure(sent > 0 || errno == EAGAIN);
		at += sent > 0 ? (size_t)sent : 0;
		fixture_turns(f, 1);
	}
	buf_free(&a->b);
	fixture_turns(f, 2);
}

/* Reads n bytes, turning the loop in between. */
static bool
read_bytes(struct fixture *f, int fd, char *to, size_t n)
{
	size_t at = 0;

	for (int turns = 0; at < n && turns < TURNS_MAX; turns++) {
		ssize_t k = recv(fd, to + at, n - at, MSG_DONTWAIT);

		if (k == 0)
			return false;
		if (k > 0) {
			at += (size_t)k;
			turns = 0;
		} else {
			fixture_turns(f, 1);
		}
	}
	return at == n;
}

bool
got_read(struct got *g, struct fixture *f, int fd)
{
	char head[4];
	size_t total;
	struct err e;

	g->mem = NULL;
	if (!read_bytes(f, fd, head, sizeof(head)))
		return false;
	total = be32_get(head) + 4;
	g->mem = xmalloc(total);
	memcpy(g->mem, head, sizeof(head));
	if (read_bytes(f, fd, g->mem + 4, total - 4) && command_decode(&g->cmd, g->mem, total, &e) == RC_OK)
		return true;
	got_free(g);
	return false;
}

void
got_free(struct got *g)
{
	free(g->mem);
	g->mem = NULL;
}

const char *
got_text(const struct got *g, const char *field)
{
	static char text[4][512];
	static unsigned next;
	struct slice v = field == NULL ? g->cmd.remark : field_get(&g->cmd, field);
	char *to = text[next++ % 4];

	snprintf(to, sizeof(text[0]), "%.*s", (int)v.n, v.p == NULL ? "" : v.p);
	return to;
}

/* ---- sends and pulls */

void
send_only(struct fixture *f, int fd, const char *topic, int queue, const char *props, const char *body, int32_t opaque)
{
	struct ask a;

	ask_begin(&a, REQ_SEND_MESSAGE_V2, opaque);
	ask_field(&a, "a", "PG");
	ask_field(&a, "b", topic);
	ask_field(&a, "c", "TBW102");
	ask_field_i64(&a, "d", 4);
	ask_field_i64(&a, "e", queue);
	ask_field_i64(&a, "f", 0);
	ask_field_i64(&a, "g", 1700000000000);
	ask_field_i64(&a, "h", 0);
	ask_field(&a, "i", props != NULL ? props : "UNIQ_KEY\1" "0A0000010000000000000000000000AA\2");
	ask_field_i64(&a, "j", 0);
	ask_field(&a, "k", "false");
	ask_field(&a, "m", "false");
	ask_send(&a, f, fd, body, strlen(body));
}

bool
send_one(struct fixture *f, int fd, const char *topic, int queue, const char *props, const char *body, struct got *g)
{
	send_only(f, fd, topic, queue, props, body, 7);
	return got_read(g, f, fd);
}

void
pull_only(struct fixture *f, int fd, const char *topic, int queue, int64_t offset, const char *sub, int64_t suspend_ms, int32_t opaque)
{
	struct ask a;

	ask_begin(&a, REQ_PULL_MESSAGE, opaque);
	ask_field(&a, "consumerGroup", "CG");
	ask_field(&a, "topic", topic);
	ask_field_i64(&a, "queueId", queue);
	ask_field_i64(&a, "queueOffset", offset);
	ask_field_i64(&a, "maxMsgNums", 32);
	ask_field_i64(&a, "sysFlag", suspend_ms > 0 ? 6 : 4);
	ask_field_i64(&a, "commitOffset", 0);
	ask_field_i64(&a, "suspendTimeoutMillis", suspend_ms);
	ask_field(&a, "subscription", sub);
	ask_field_i64(&a, "subVersion", 0);
	ask_send(&a, f, fd, NULL, 0);
}

bool
pull_one(struct fixture *f, int fd, const char *topic, int queue, int64_t offset, const char *sub, struct got *g)
{
	pull_only(f, fd, topic, queue, offset, sub, 0, 9);
	return got_read(g, f, fd);
}

/*
 * wire: a set of connections under test, and a plain socket that plays its peer. No sleeping: a turn takes what is
 * there, and `turns_until` gives up after many empty ones.
 */
#ifndef T_UNIT_WIRE_H
#define T_UNIT_WIRE_H

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "remoting/conn_priv.h"
#include "test.h"

struct wire {
	struct ev_loop	*loop;
	struct conn_set	 set;
	int		 listen_fd, port;
	struct conn	*last;		/* last that opened; no reference */
	int		 opened, closed, commands;
	char		 why[512];	/* of the last close */
	void		(*on_command)(struct wire *w, struct conn *c, struct command *cmd);
	void		(*on_close)(struct wire *w, struct conn *c, const char *why);
	void		*test;
};

static void
wire_command(struct conn *c, struct command *cmd)
{
	struct wire *w = c->set->owner;

	w->commands++;
	if (w->on_command)
		w->on_command(w, c, cmd);
}

static void
wire_open(struct conn *c)
{
	struct wire *w = c->set->owner;

	w->opened++;
	w->last = c;
}

static void
wire_close(struct conn *c, const char *why)
{
	struct wire *w = c->set->owner;

	w->closed++;
	snprintf(w->why, sizeof(w->why), "%s", why);
	if (w->on_close)
		w->on_close(w, c, why);
}

static const struct conn_ops wire_ops = {wire_command, wire_open, wire_close};

static inline void
wire_start(struct wire *w)
{
	struct err e;

	*w = (struct wire){.listen_fd = -1};
	w->loop = ev_loop_new(EVFLAG_AUTO);
	for (w->port = 21000 + getpid() % 4000; w->port < 30000; w->port++)
		if (sock_listen("127.0.0.1", w->port, &w->listen_fd, &e) == RC_OK)
			break;
	CU_ASSERT_FATAL(w->listen_fd >= 0);
	conn_set_init(&w->set, w->loop, &wire_ops, w);
	conn_set_listen(&w->set, w->listen_fd, 3);
}

static inline void
wire_stop(struct wire *w)
{
	conn_set_free(&w->set);
	close(w->listen_fd);
	ev_loop_destroy(w->loop);
	clock_set_made(-1);
}

static inline void
wire_turn(struct wire *w)
{
	ev_run(w->loop, EVRUN_NOWAIT);
	conn_set_flush(&w->set);
}

/* Turns until cond is true; false after many turns without it. */
#define turns_until(w, cond)                                                                                           \
	({                                                                                                             \
		int left_ = 20000;                                                                                     \
		while (!(cond) && left_-- > 0)                                                                         \
			wire_turn(w);                                                                                  \
		(cond);                                                                                                \
	})

static inline struct addr
wire_addr(const struct wire *w)
{
	struct addr a = {.ip = {127, 0, 0, 1}, .port = (uint16_t)w->port};

	return a;
}

/* A plain socket that is connected and known to the set. */
static inline int
wire_peer(struct wire *w)
{
	struct addr a = wire_addr(w);
	struct err e;
	int fd = -1, before = w->opened;

	CU_ASSERT_EQUAL_FATAL(sock_connect(&a, &fd, &e), RC_OK);
	CU_ASSERT_FATAL(turns_until(w, w->opened > before));
	sock_nodelay(fd); /* else the kernel keeps the last bytes back for longer than we turn */
	return fd;
}

static inline void
peer_write(int fd, const void *p, size_t n)
{
	CU_ASSERT_EQUAL_FATAL(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* A request frame. */
static inline void
put_request(struct buf *b, int code, int32_t opaque, struct slice body)
{
	struct frame_out f;

	frame_begin_request(&f, b, CODEC_JSON, code, opaque, false);
	frame_field(&f, "topic", SLICE_LIT("some-topic"));
	frame_end(&f, body.n);
	buf_put_slice(b, body);
}

/* Takes what is there; turns meanwhile. True when n bytes have come. */
static inline bool
peer_read(struct wire *w, int fd, struct buf *b, size_t n)
{
	for (int left = 20000; b->len < n && left > 0; left--) {
		char *room = buf_room(b, 65536);
		ssize_t k;

		if (room == NULL)
			return false;
		k = recv(fd, room, 65536, MSG_DONTWAIT);
		if (k > 0)
			b->len += (size_t)k;
		else if (k == 0)
			return false;
		wire_turn(w);
	}
	return b->len >= n;
}

/* Reads whole frames until there are `count` of them. */
static inline size_t
peer_read_frames(struct wire *w, int fd, struct buf *b, size_t count)
{
	size_t seen = 0, at = 0, total;
	struct err e;

	while (seen < count) {
		enum rc rc = frame_length(b->p + at, b->len - at, &total, &e);

		if (rc == RC_OK && total <= b->len - at) {
			at += total;
			seen++;
		} else if (!peer_read(w, fd, b, b->len + 1)) {
			break;
		}
	}
	return seen;
}

/* True when the other side has closed. */
static inline bool
peer_sees_end(struct wire *w, int fd)
{
	char c[4096];
	ssize_t n = -1;

	for (int left = 20000; left > 0; left--) {
		n = recv(fd, c, sizeof(c), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		wire_turn(w);
	}
	return false;
}

#endif

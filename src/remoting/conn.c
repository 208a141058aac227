/*
 * conn: the life of connections: accepted or opened, paused, closed, freed; and the sweep that ends dead ones.
 */
#include "remoting/conn.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "remoting/conn_priv.h"

#define ACCEPT_BATCH 64 /* connections taken in one event */
#define REMARK_MAX   1024
#define LIMIT_LINES  10 /* log lines a minute about bad peers */

int64_t
conn_turn_ms(struct conn_set *s)
{
	if (s->priv->now_ms == 0)
		s->priv->now_ms = clock_mono_ms();
	return s->priv->now_ms;
}

void
conn_ref(struct conn *c)
{
	c->priv->refs++;
}

static void
conn_free(struct conn *c)
{
	conn_out_free(c);
	free(c->priv->why);
	free(c);
}

/* The last reference puts it on the list of the dead: an event of this turn may still name it. */
void
conn_unref(struct conn **cp)
{
	struct conn *c = *cp;

	*cp = NULL;
	if (c == NULL || --c->priv->refs > 0)
		return;
	if (c->set == NULL) {
		conn_free(c);
		return;
	}
	c->priv->listed[LIST_CLOSING] = c->set->priv->dead;
	c->set->priv->dead = c;
}

void
conn_list_add(struct conn *c, enum conn_list which)
{
	struct conn_priv *p = c->priv;

	if (p->in_list[which])
		return;
	p->in_list[which] = true;
	p->listed[which] = c->set->priv->lists[which];
	c->set->priv->lists[which] = c;
	conn_ref(c);
}

/* Takes one off; its reference is the caller's. */
static struct conn *
list_pop(struct conn_set *s, enum conn_list which)
{
	struct conn *c = s->priv->lists[which];

	if (c) {
		s->priv->lists[which] = c->priv->listed[which];
		c->priv->in_list[which] = false;
	}
	return c;
}

void
conn_set_paused(struct conn *c, uint8_t why, bool on)
{
	struct conn_priv *p = c->priv;
	bool before = p->paused != 0;

	p->paused = on ? p->paused | why : p->paused & (uint8_t)~why;
	if (c->closed || before == (p->paused != 0))
		return;
	if (p->paused) {
		ev_io_stop(c->set->loop, &p->read_io);
		return;
	}
	ev_io_start(c->set->loop, &p->read_io);
	p->partial_ms = conn_turn_ms(c->set);
	if (p->tail_len == 0)
		return;
	conn_list_add(c, LIST_RESUMED);
	ev_timer_start(c->set->loop, &c->set->priv->resume);
}

void
conn_pause(struct conn *c, bool paused)
{
	conn_set_paused(c, PAUSE_USER, paused);
}

/* In a turn of its own, since a pause may end within the flush, and what the frames put out must be flushed too. */
static void
resume_cb(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct conn_set *s = w->data;
	struct conn *list = NULL, *c;

	(void)loop;
	(void)revents;
	while ((c = list_pop(s, LIST_RESUMED)) != NULL) {
		c->priv->listed[LIST_RESUMED] = list;
		list = c;
	}
	while ((c = list) != NULL) {
		list = c->priv->listed[LIST_RESUMED];
		conn_in_resume(c);
		conn_unref(&c);
	}
}

static void
read_cb(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	conn_in_readable(w->data);
}

static void
connect_done(struct conn *c)
{
	int error = sock_error(c->priv->fd);

	if (error) {
		conn_close(c, "cannot connect to %s: %s", c->peer_text, strerror(error));
		return;
	}
	ev_io_stop(c->set->loop, &c->priv->write_io);
	conn_set_paused(c, PAUSE_CONNECT, false);
	sock_nodelay(c->priv->fd);
	c->priv->last_ms = conn_turn_ms(c->set);
	if (c->set->ops->on_open)
		c->set->ops->on_open(c);
	if (conn_out_pending(c) > 0)
		conn_kick(c);
}

static void
write_cb(struct ev_loop *loop, ev_io *w, int revents)
{
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	if (c->priv->paused & PAUSE_CONNECT)
		connect_done(c);
	else
		conn_out_writable(c);
}

/* A connection of the set, which holds the one reference. */
static struct conn *
conn_new(struct conn_set *s, int fd, const struct addr *peer)
{
	static uint64_t next_id;
	struct conn_full *full = xcalloc(1, sizeof(*full));
	struct conn *c = &full->c;
	struct conn_priv *p = &full->p;

	c->set = s;
	c->id = ++next_id;
	c->peer = *peer;
	c->priv = p;
	addr_text(peer, c->peer_text);
	p->fd = fd;
	p->refs = 1;
	p->last_ms = conn_turn_ms(s);
	ev_io_init(&p->read_io, read_cb, fd, EV_READ);
	ev_io_init(&p->write_io, write_cb, fd, EV_WRITE);
	p->read_io.data = p->write_io.data = c;
	p->next = s->priv->first;
	if (p->next)
		p->next->priv->prev = c;
	s->priv->first = c;
	s->count++;
	return c;
}

static void
close_v(struct conn *c, const char *fmt, va_list ap)
{
	struct conn_priv *p = c->priv;

	if (c->closed)
		return;
	c->closed = true;
	if (vasprintf(&p->why, fmt, ap) < 0)
		p->why = NULL;
	ev_io_stop(c->set->loop, &p->read_io);
	ev_io_stop(c->set->loop, &p->write_io);
	conn_list_add(c, LIST_CLOSING);
	log_debug("%s: closed: %s", c->peer_text, p->why ? p->why : "?");
}

void
conn_close(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	close_v(c, fmt, ap);
	va_end(ap);
}

void
conn_bad(struct conn *c, const char *fmt, ...)
{
	static struct log_limit limit;
	va_list ap;

	if (c->closed)
		return;
	va_start(ap, fmt);
	close_v(c, fmt, ap);
	va_end(ap);
	c->set->bad_frames++;
	if (log_allowed(&limit, LIMIT_LINES))
		log_warn("connection from %s closed: %s", c->peer_text, c->priv->why ? c->priv->why : "?");
}

/* The end of a turn for a connection that was closed in it. */
static void
finish_close(struct conn *c)
{
	struct conn_set *s = c->set;
	struct conn *own = c;

	if (!(c->priv->paused & PAUSE_CONNECT))
		conn_out_flush(c);
	close(c->priv->fd);
	c->priv->fd = -1;
	c->priv->gone = true;
	s->count--;
	conn_in_free(c);
	if (s->ops->on_close)
		s->ops->on_close(c, c->priv->why ? c->priv->why : "closed");
	conn_out_free(c);
	conn_unref(&own);
}

static void
free_dead(struct conn_set *s)
{
	struct conn *c;

	while ((c = s->priv->dead) != NULL) {
		struct conn_priv *p = c->priv;

		s->priv->dead = p->listed[LIST_CLOSING];
		if (p->prev)
			p->prev->priv->next = p->next;
		else
			s->priv->first = p->next;
		if (p->next)
			p->next->priv->prev = p->prev;
		conn_free(c);
	}
}

void
conn_set_flush(struct conn_set *s)
{
	struct conn_set_priv *sp = s->priv;
	struct conn *c;

	while (sp->lists[LIST_CLOSING] || sp->lists[LIST_KICKED]) {
		while ((c = list_pop(s, LIST_CLOSING)) != NULL) {
			finish_close(c);
			conn_unref(&c);
		}
		while ((c = list_pop(s, LIST_KICKED)) != NULL) {
			if (!c->priv->gone)
				conn_out_flush(c);
			conn_unref(&c);
		}
	}
	free_dead(s);
	conn_in_turn_end(s);
}

void
conn_set_each(struct conn_set *s, void (*each)(struct conn *c, void *arg), void *arg)
{
	for (struct conn *c = s->priv->first; c; c = c->priv->next)
		if (!c->closed)
			each(c, arg);
}

static void
adopt(struct listener *l, int fd, const struct sockaddr_storage *ss)
{
	static struct log_limit limit;
	struct conn_set *s = l->set;
	struct addr peer;
	struct conn *c;

	s->accepted++;
	if (s->limit && s->count >= s->limit) {
		if (log_allowed(&limit, LIMIT_LINES))
			log_warn("a connection was refused: %zu are open, which is the limit", s->count);
		close(fd);
		return;
	}
	addr_from_sockaddr(&peer, ss);
	c = conn_new(s, fd, &peer);
	c->tag = l->tag;
	sock_nodelay(fd);
	ev_io_start(s->loop, &c->priv->read_io);
	if (s->ops->on_open)
		s->ops->on_open(c);
}

/* accept(2) failed. True: the next one may succeed. */
static bool
accept_failed(struct listener *l, int error)
{
	static struct log_limit limit;

	if (error == EINTR || error == ECONNABORTED || error == EPROTO)
		return true;
	if (error == EAGAIN)
		return false;
	if (log_allowed(&limit, LIMIT_LINES))
		log_error("cannot accept connections (%s), %zu are open: trying again in a second; raise LimitNOFILE "
			  "if it stays",
			  strerror(error), l->set->count);
	ev_io_stop(l->set->loop, &l->io);
	l->paused = true;
	return false;
}

static void
accept_cb(struct ev_loop *loop, ev_io *w, int revents)
{
	struct listener *l = w->data;

	(void)loop;
	(void)revents;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			adopt(l, fd, &ss);
		else if (!accept_failed(l, errno))
			break;
	}
}

void
conn_set_listen(struct conn_set *s, int fd, int tag)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	l->set = s;
	l->fd = fd;
	l->tag = tag;
	l->next = s->priv->listeners;
	s->priv->listeners = l;
	ev_io_init(&l->io, accept_cb, fd, EV_READ);
	l->io.data = l;
	ev_io_start(s->loop, &l->io);
}

void
conn_set_stop_listening(struct conn_set *s)
{
	struct listener *l;

	while ((l = s->priv->listeners) != NULL) {
		s->priv->listeners = l->next;
		ev_io_stop(s->loop, &l->io);
		free(l);
	}
}

enum rc
conn_open(struct conn_set *s, const struct addr *a, struct conn **out, struct err *e)
{
	struct conn *c;
	int fd;
	enum rc rc = sock_connect(a, &fd, e);

	if (rc != RC_OK)
		return rc;
	c = conn_new(s, fd, a);
	c->outgoing = true;
	c->priv->paused = PAUSE_CONNECT;
	ev_io_start(s->loop, &c->priv->write_io);
	conn_ref(c);
	*out = c;
	return RC_OK;
}

static void
sweep_one(struct conn *c, int64_t now)
{
	const struct conn_priv *p = c->priv;
	int64_t idle_ms = c->set->idle_ms;

	if (p->paused & PAUSE_CONNECT) {
		if (now - p->last_ms > CONN_CONNECT_MS)
			conn_close(c, "cannot connect to %s: no answer in %d ms", c->peer_text, CONN_CONNECT_MS);
	} else if (p->write_blocked && now - p->progress_ms > CONN_STALL_MS) {
		conn_bad(c, "the peer took nothing of %zu bytes for %d s", conn_out_pending(c), CONN_STALL_MS / 1000);
	} else if (conn_in_overdue(c, now)) {
		conn_bad(c, "a frame was begun %lld s ago and is not complete (%zu bytes came)",
			 (long long)(now - p->partial_ms) / 1000, p->tail_len);
	} else if (idle_ms > 0 && now - p->last_ms > idle_ms) {
		conn_close(c, "no traffic for %lld s", (long long)idle_ms / 1000);
	}
}

void
conn_set_sweep(struct conn_set *s)
{
	int64_t now = conn_turn_ms(s);

	for (struct conn *c = s->priv->first; c; c = c->priv->next)
		if (!c->closed)
			sweep_one(c, now);
	for (struct listener *l = s->priv->listeners; l; l = l->next) {
		if (l->paused)
			ev_io_start(s->loop, &l->io);
		l->paused = false;
	}
}

static void
sweep_cb(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	conn_set_sweep(w->data);
}

void
conn_set_init(struct conn_set *s, struct ev_loop *loop, const struct conn_ops *ops, void *owner)
{
	*s = (struct conn_set){
	    .loop = loop, .ops = ops, .owner = owner, .idle_ms = CONN_IDLE_MS, .partial_limit = CONN_PARTIAL_TOTAL};
	s->priv = xcalloc(1, sizeof(*s->priv));
	ev_timer_init(&s->priv->sweep, sweep_cb, 1., 1.);
	ev_timer_init(&s->priv->resume, resume_cb, 0., 0.);
	s->priv->sweep.data = s->priv->resume.data = s;
	ev_timer_start(loop, &s->priv->sweep);
}

void
conn_set_free(struct conn_set *s)
{
	struct conn *c;

	if (s->priv == NULL)
		return;
	conn_set_stop_listening(s);
	for (c = s->priv->first; c; c = c->priv->next)
		conn_close(c, "this side stops");
	while ((c = list_pop(s, LIST_RESUMED)) != NULL)
		conn_unref(&c);
	conn_set_flush(s);
	for (c = s->priv->first; c; c = c->priv->next)
		c->set = NULL; /* somebody holds a reference: its end frees it */
	ev_timer_stop(s->loop, &s->priv->sweep);
	ev_timer_stop(s->loop, &s->priv->resume);
	conn_in_set_free(s);
	conn_out_set_free(s);
	free(s->priv);
	s->priv = NULL;
}

void
conn_answer(struct conn *c, const struct request_id *id, int code, const char *remark_fmt, ...)
{
	struct frame_out f;
	char remark[REMARK_MAX];
	va_list ap;

	if (id->oneway || c->closed)
		return;
	frame_begin_response(&f, &c->out, id, code);
	if (remark_fmt) {
		va_start(ap, remark_fmt);
		vsnprintf(remark, sizeof(remark), remark_fmt, ap);
		va_end(ap);
		frame_remark(&f, slice_of(remark));
	}
	frame_end(&f, 0);
	conn_kick(c);
}

void
conn_answer_body(struct conn *c, const struct request_id *id, int code, struct slice body)
{
	struct frame_out f;

	if (id->oneway || c->closed)
		return;
	frame_begin_response(&f, &c->out, id, code);
	frame_end(&f, body.n);
	buf_put_slice(&c->out, body);
	conn_kick(c);
}

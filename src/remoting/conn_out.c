/*
 * conn_out: sending what a turn put out.
 *
 * conn.out holds our own bytes; out_refs are bytes of others that belong between them. All goes out with one call. What
 * the socket does not take is copied into conn.out, since nobody promises the others' bytes beyond the turn, and then
 * waits for the socket.
 */
#include <errno.h>
#include <sys/uio.h>

#include "common/mem.h"
#include "remoting/conn_priv.h"

#define IOV_BATCH    512
#define POOL_BUF_MAX (1u << 20) /* larger buffers are given back to the system */
#define POOL_BUF_MIN (4u << 10)

size_t
conn_out_pending(const struct conn *c)
{
	return c->out.len - c->priv->out_sent + c->priv->ref_bytes;
}

/* Gives an empty connection a buffer that another one has used before. */
void
conn_out_prepare(struct conn *c)
{
	struct conn_set_priv *sp = c->set->priv;

	if (c->out.cap == 0 && sp->out_pooled) {
		size_t limit = c->out.limit;

		c->out = sp->out_pool[--sp->out_pooled];
		c->out.limit = limit;
	}
}

static void
out_to_pool(struct conn *c)
{
	struct conn_set_priv *sp = c->set->priv;
	size_t limit = c->out.limit;

	c->priv->out_sent = 0;
	c->out.len = 0;
	if (c->out.cap == 0)
		return;
	if (sp->out_pooled < OUT_POOL && c->out.cap >= POOL_BUF_MIN && c->out.cap <= POOL_BUF_MAX)
		sp->out_pool[sp->out_pooled++] = c->out;
	else
		buf_free(&c->out);
	c->out = (struct buf){.limit = limit};
}

static void
check_marks(struct conn *c)
{
	size_t pending = conn_out_pending(c);

	if (pending > CONN_OUT_HIGH)
		conn_set_paused(c, PAUSE_OUT, true);
	else if (pending < CONN_OUT_LOW)
		conn_set_paused(c, PAUSE_OUT, false);
}

void
conn_kick(struct conn *c)
{
	if (c->priv->gone) {
		c->out.len = 0;
		return;
	}
	conn_list_add(c, LIST_KICKED);
	if (conn_out_pending(c) > CONN_OUT_HIGH)
		conn_set_paused(c, PAUSE_OUT, true);
}

void
conn_put_ref(struct conn *c, const void *p, size_t n)
{
	struct conn_priv *cp = c->priv;

	if (n == 0 || cp->gone)
		return;
	if (cp->ref_count == cp->ref_cap) {
		cp->ref_cap = cp->ref_cap ? 2 * cp->ref_cap : 16;
		cp->out_refs = xrealloc(cp->out_refs, cp->ref_cap * sizeof(*cp->out_refs));
	}
	cp->out_refs[cp->ref_count++] = (struct out_ref){c->out.len, p, n};
	cp->ref_bytes += n;
	conn_kick(c);
}

static void
refs_clear(struct conn_priv *cp)
{
	cp->ref_count = 0;
	cp->ref_bytes = 0;
	if (cp->ref_cap > 16) {
		free(cp->out_refs);
		cp->out_refs = NULL;
		cp->ref_cap = 0;
	}
}

static unsigned
add_iov(struct iovec *v, unsigned n, const char *p, size_t len)
{
	if (len == 0)
		return n;
	v[n].iov_base = (void *)(uintptr_t)p;
	v[n].iov_len = len;
	return n + 1;
}

/* The first pieces that wait, in order. */
static unsigned
fill_iov(const struct conn *c, struct iovec *v)
{
	const struct conn_priv *cp = c->priv;
	size_t at = cp->out_sent;
	unsigned n = 0, i;

	for (i = 0; i < cp->ref_count && n + 2 < IOV_BATCH; i++) {
		n = add_iov(v, n, c->out.p + at, cp->out_refs[i].at - at);
		n = add_iov(v, n, cp->out_refs[i].p, cp->out_refs[i].n);
		at = cp->out_refs[i].at;
	}
	if (i == cp->ref_count)
		n = add_iov(v, n, c->out.p + at, c->out.len - at);
	return n;
}

/* n bytes have gone: forgets them, own bytes and references in their order. */
static void
consume(struct conn *c, size_t n)
{
	struct conn_priv *cp = c->priv;
	unsigned done = 0;

	while (n > 0) {
		struct out_ref *r = done < cp->ref_count ? &cp->out_refs[done] : NULL;
		size_t own = (r != NULL ? r->at : c->out.len) - cp->out_sent;
		size_t k = MIN_OF(own, n);

		cp->out_sent += k;
		n -= k;
		if (n == 0)
			break;
		ensure(r != NULL); /* own bytes alone are never fewer than what has gone */
		k = MIN_OF(r->n, n);
		r->p += k;
		r->n -= k;
		cp->ref_bytes -= k;
		n -= k;
		if (r->n == 0)
			done++;
	}
	cp->ref_count -= done;
	if (done)
		memmove(cp->out_refs, cp->out_refs + done, cp->ref_count * sizeof(*cp->out_refs));
}

/* Copies all that still waits into one new buffer. */
static void
flatten(struct conn *c)
{
	struct conn_priv *cp = c->priv;
	struct buf b = {.limit = c->out.limit};
	size_t at = cp->out_sent;

	for (unsigned i = 0; i < cp->ref_count; i++) {
		buf_put(&b, c->out.p + at, cp->out_refs[i].at - at);
		buf_put(&b, cp->out_refs[i].p, cp->out_refs[i].n);
		at = cp->out_refs[i].at;
	}
	buf_put(&b, c->out.p + at, c->out.len - at);
	buf_free(&c->out);
	c->out = b;
	cp->out_sent = 0;
	refs_clear(cp);
}

static void
block_writing(struct conn *c)
{
	struct conn_priv *cp = c->priv;

	if (cp->ref_count || cp->out_sent > c->out.len / 2)
		flatten(c);
	if (cp->write_blocked || c->closed)
		return;
	cp->write_blocked = true;
	cp->progress_ms = conn_turn_ms(c->set);
	ev_io_start(c->set->loop, &cp->write_io);
}

static void
unblock_writing(struct conn *c)
{
	if (c->priv->write_blocked)
		ev_io_stop(c->set->loop, &c->priv->write_io);
	c->priv->write_blocked = false;
}

/* One sendmsg. RC_OK: it took all that was offered. RC_AGAIN: it took less. RC_CLOSED: the connection has ended. */
static enum rc
send_once(struct conn *c)
{
	struct iovec v[IOV_BATCH];
	struct msghdr m = {.msg_iov = v};
	size_t offered = 0;
	ssize_t n;

	m.msg_iovlen = fill_iov(c, v);
	for (size_t i = 0; i < m.msg_iovlen; i++)
		offered += v[i].iov_len;
	n = sendmsg(c->priv->fd, &m, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return RC_AGAIN;
		if (errno == EPIPE || errno == ECONNRESET)
			conn_close(c, "the peer reset the connection");
		else
			conn_close(c, "write failed: %s", strerror(errno));
		return RC_CLOSED;
	}
	c->set->bytes_out += (uint64_t)n;
	c->priv->last_ms = c->priv->progress_ms = conn_turn_ms(c->set);
	consume(c, (size_t)n);
	return (size_t)n == offered ? RC_OK : RC_AGAIN;
}

static void
send_all(struct conn *c)
{
	enum rc rc = RC_OK;

	while (rc == RC_OK && conn_out_pending(c) > 0)
		rc = send_once(c);
	if (rc == RC_CLOSED)
		return;
	if (rc == RC_AGAIN) {
		block_writing(c);
	} else {
		unblock_writing(c);
		refs_clear(c->priv);
		out_to_pool(c);
	}
	check_marks(c);
}

void
conn_out_flush(struct conn *c)
{
	struct conn_priv *cp = c->priv;

	if (c->out.failed) {
		c->out.failed = false;
		c->out.len = cp->out_sent;
		refs_clear(cp);
		conn_close(c, "answers of more than %zu bytes wait for this connection", c->out.limit);
		return;
	}
	if (cp->paused & PAUSE_CONNECT || (cp->write_blocked && !c->closed)) {
		if (cp->ref_count)
			flatten(c);
		return;
	}
	send_all(c);
}

void
conn_out_writable(struct conn *c)
{
	send_all(c);
}

void
conn_out_free(struct conn *c)
{
	buf_free(&c->out);
	free(c->priv->out_refs);
	c->priv->out_refs = NULL;
	c->priv->ref_count = c->priv->ref_cap = 0;
	c->priv->ref_bytes = c->priv->out_sent = 0;
}

void
conn_out_set_free(struct conn_set *s)
{
	while (s->priv->out_pooled)
		buf_free(&s->priv->out_pool[--s->priv->out_pooled]);
}

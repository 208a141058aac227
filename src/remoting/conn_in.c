/*
 * conn_in: reading frames.
 *
 * A read goes into a chunk that all connections of the set share and that lives to the end of the turn; frames are
 * handled where they lie. Only what is no whole frame yet is copied into a tail of the connection's own, so an idle
 * connection holds nothing. A large frame is read into the tail itself, which grows with what has really come, never
 * with what was announced.
 */
#include <errno.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "remoting/conn_priv.h"

#define CHUNK_BYTES   (1u << 20)
#define CHUNKS_KEPT   8
#define READ_MAX      (256u << 10) /* bytes of one connection in one turn */
#define READ_MAX_BUSY (16u << 10)  /* ... once the turn has read TURN_BUSY bytes */
#define READ_MAX_FULL (4u << 10)   /* ... TURN_FULL bytes */
#define TURN_BUSY     (16u << 20)
#define TURN_FULL     (64u << 20)
#define TAIL_COPY_MAX (8u << 10) /* a shorter tail is copied in front of the next read, a longer one read into */
#define PARTIAL_RATE  64         /* bytes per millisecond which a large frame must have to be given more time */

static size_t
read_allowance(const struct conn_set_priv *sp)
{
	if (sp->turn_bytes < TURN_BUSY)
		return READ_MAX;
	return sp->turn_bytes < TURN_FULL ? READ_MAX_BUSY : READ_MAX_FULL;
}

/* A chunk with room for n bytes (n <= CHUNK_BYTES / 2) at p + used. */
static struct turn_chunk *
chunk_with(struct conn_set_priv *sp, size_t n)
{
	struct turn_chunk *k = sp->chunks;

	if (k && k->size - k->used >= n)
		return k;
	k = sp->spare;
	if (k) {
		sp->spare = k->next;
		sp->spare_count--;
	} else {
		k = xmalloc(sizeof(*k) + CHUNK_BYTES);
		k->size = CHUNK_BYTES;
	}
	k->used = 0;
	k->next = sp->chunks;
	sp->chunks = k;
	return k;
}

static void
chunk_use(struct turn_chunk *k, size_t n)
{
	k->used += (n + 15) & ~(size_t)15;
	if (k->used > k->size)
		k->used = k->size;
}

static void
tail_forget(struct conn *c)
{
	struct conn_priv *p = c->priv;

	c->set->priv->partial_bytes -= p->tail_cap;
	p->tail = NULL;
	p->tail_len = p->tail_cap = 0;
}

/* The frames in the tail are about to be used: it stays until the turn's end, but is no longer the connection's. */
static char *
tail_spend(struct conn *c)
{
	struct conn_set_priv *sp = c->set->priv;
	char *mem = c->priv->tail;

	if (sp->spent_count == sp->spent_cap) {
		sp->spent_cap = sp->spent_cap ? 2 * sp->spent_cap : 16;
		sp->spent = xrealloc(sp->spent, sp->spent_cap * sizeof(*sp->spent));
	}
	sp->spent[sp->spent_count++] = mem;
	tail_forget(c);
	return mem;
}

/* Too many bytes of unfinished frames: the connection that holds most of them goes. */
static void
close_largest(struct conn_set *s)
{
	struct conn *worst = NULL;

	for (struct conn *c = s->priv->first; c; c = c->priv->next)
		if (!c->closed && (worst == NULL || c->priv->tail_cap > worst->priv->tail_cap))
			worst = c;
	if (worst == NULL)
		return;
	conn_bad(worst,
		 "unfinished frames take %zu bytes, more than the limit of %zu, and this connection holds most of them "
		 "(%zu)",
		 s->priv->partial_bytes, s->partial_limit, worst->priv->tail_cap);
	conn_in_free(worst);
}

/* Room for `cap` bytes in the tail. False: the limit was met and it was this connection that had to go. */
static bool
tail_grow(struct conn *c, size_t cap)
{
	struct conn_priv *p = c->priv;
	struct conn_set_priv *sp = c->set->priv;

	if (cap <= p->tail_cap)
		return true;
	p->tail = xrealloc(p->tail, cap);
	sp->partial_bytes += cap - p->tail_cap;
	p->tail_cap = cap;
	if (UNLIKELY(sp->partial_bytes > c->set->partial_limit))
		close_largest(c->set);
	return !c->closed;
}

/* Keeps what is left of a read. A frame's time begins when its first byte came. */
static void
tail_keep(struct conn *c, const char *data, size_t n, bool new_frame)
{
	if (c->closed || n == 0)
		return;
	if (!tail_grow(c, n))
		return;
	memcpy(c->priv->tail, data, n);
	c->priv->tail_len = n;
	if (new_frame)
		c->priv->partial_ms = conn_turn_ms(c->set);
}

/* Decodes the frame and hands it over. The command takes only as much of the chunk as it has fields. */
static void
handle_frame(struct conn *c, char *p, size_t total)
{
	struct turn_chunk *k = chunk_with(c->set->priv, sizeof(struct command));
	struct command *cmd = (struct command *)(void *)(k->p + k->used);
	struct err e;

	if (UNLIKELY(command_decode(cmd, p, total, &e) != RC_OK)) {
		conn_bad(c, "%s", e.text);
		return;
	}
	c->priv->seen_frame = true;
	chunk_use(k, offsetof(struct command, fields) + cmd->field_count * sizeof(struct field));
	c->set->ops->on_command(c, cmd);
}

static bool
may_go_on(const struct conn *c)
{
	return !c->closed && c->priv->paused == 0;
}

/* Handles the whole frames of p[0..n). Returns how many bytes they had. */
static size_t
walk_frames(struct conn *c, char *p, size_t n)
{
	size_t at = 0, total = 0;
	struct err e;
	enum rc rc;

	while (may_go_on(c)) {
		rc = frame_length(p + at, n - at, &total, &e);
		if (rc == RC_AGAIN || (rc == RC_OK && total > n - at))
			break;
		if (rc != RC_OK) {
			if (!c->priv->seen_frame && p[at] == 0x16)
				conn_bad(c, "TLS is not enabled");
			else
				conn_bad(c, "%s", e.text);
			break;
		}
		conn_out_prepare(c);
		handle_frame(c, p + at, total);
		at += total;
	}
	return at;
}

static void
walk_and_keep(struct conn *c, char *p, size_t n, bool had_tail)
{
	size_t used = walk_frames(c, p, n);

	tail_keep(c, p + used, n - used, used > 0 || !had_tail);
}

/* read(2), with the ends of a connection turned into conn_close. 0: nothing to handle. */
static size_t
read_some(struct conn *c, char *p, size_t room)
{
	ssize_t n = read(c->priv->fd, p, room);

	if (n > 0) {
		c->set->bytes_in += (uint64_t)n;
		c->set->priv->turn_bytes += (size_t)n;
		c->priv->last_ms = conn_turn_ms(c->set);
		return (size_t)n;
	}
	if (n == 0)
		conn_close(c, "the peer closed the connection");
	else if (errno == ECONNRESET || errno == EPIPE)
		conn_close(c, "the peer reset the connection");
	else if (errno != EAGAIN && errno != EINTR)
		conn_close(c, "read failed: %s", strerror(errno));
	return 0;
}

/* The usual case: a (short) tail and new bytes behind it, in the shared chunk. */
static void
read_into_chunk(struct conn *c)
{
	struct conn_priv *p = c->priv;
	size_t room = read_allowance(c->set->priv), tail = p->tail_len, n;
	struct turn_chunk *k = chunk_with(c->set->priv, tail + MIN_OF(room, READ_MAX / 4));
	char *data = k->p + k->used;

	room = MIN_OF(room, k->size - k->used - tail);
	n = read_some(c, data + tail, room);
	if (n == 0)
		return;
	if (tail) {
		memcpy(data, p->tail, tail);
		free(p->tail);
		tail_forget(c);
	}
	chunk_use(k, tail + n);
	walk_and_keep(c, data, tail + n, tail > 0);
}

/* A large frame: its bytes go to where they will be handled, without passing the chunk. */
static void
read_into_tail(struct conn *c, size_t total)
{
	struct conn_priv *p = c->priv;
	size_t n;

	if (p->tail_len == p->tail_cap && !tail_grow(c, MIN_OF(total, 2 * p->tail_cap)))
		return;
	n = read_some(c, p->tail + p->tail_len, MIN_OF(MIN_OF(p->tail_cap, total) - p->tail_len, 4 * READ_MAX));
	p->tail_len += n;
	if (n > 0 && p->tail_len == total)
		walk_and_keep(c, tail_spend(c), total, true);
}

void
conn_in_resume(struct conn *c)
{
	size_t n = c->priv->tail_len;

	if (n > 0 && may_go_on(c))
		walk_and_keep(c, tail_spend(c), n, true);
}

void
conn_in_readable(struct conn *c)
{
	struct conn_priv *p = c->priv;
	size_t total = 0;
	struct err e;

	if (!may_go_on(c))
		return;
	if (p->tail_len >= 4) {
		if (frame_length(p->tail, p->tail_len, &total, &e) != RC_OK || total <= p->tail_len) {
			conn_in_resume(c);
			return;
		}
		if (p->tail_len > TAIL_COPY_MAX) {
			read_into_tail(c, total);
			return;
		}
	}
	read_into_chunk(c);
}

/*
 * A frame has CONN_PARTIAL_MS, and more in proportion to what came of it: a slow line may carry a large message, but a
 * byte now and then keeps nothing open.
 */
bool
conn_in_overdue(const struct conn *c, int64_t now_ms)
{
	const struct conn_priv *p = c->priv;

	if (p->tail_len == 0 || p->paused)
		return false;
	return now_ms - p->partial_ms > CONN_PARTIAL_MS + (int64_t)(p->tail_len / PARTIAL_RATE);
}

void
conn_in_free(struct conn *c)
{
	free(c->priv->tail);
	tail_forget(c);
}

static void
chunks_free(struct turn_chunk **list)
{
	struct turn_chunk *next;

	for (; *list; *list = next) {
		next = (*list)->next;
		free(*list);
	}
}

void
conn_in_turn_end(struct conn_set *s)
{
	struct conn_set_priv *sp = s->priv;
	struct turn_chunk *k;

	while ((k = sp->chunks) != NULL) {
		sp->chunks = k->next;
		if (sp->spare_count == CHUNKS_KEPT) {
			free(k);
			continue;
		}
		k->next = sp->spare;
		sp->spare = k;
		sp->spare_count++;
	}
	for (size_t i = 0; i < sp->spent_count; i++)
		free(sp->spent[i]);
	sp->spent_count = 0;
	sp->turn_bytes = 0;
	sp->now_ms = 0;
}

void
conn_in_set_free(struct conn_set *s)
{
	conn_in_turn_end(s);
	chunks_free(&s->priv->spare);
	free(s->priv->spent);
}

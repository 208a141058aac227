/*
 * known: answers that wait until the name servers know the topic of which they speak. See known.h.
 *
 * Runs in:    the broker process.
 * Owns:       those answers, each with a reference of its connection.
 * If it dies: the clients see the closed connection; what they asked for is done.
 *
 * An answer is put here when it is ready: one that waits for the flush as well comes here late, or not at all any more.
 */
#include "workers/broker/known.h"

#include "common/clock.h"
#include "workers/broker/announce.h"
#include "workers/broker/topics.h"

#define MOST 1000 /* answers: beyond, they do not wait */

struct held_answer {
	struct held_answer *next;
	struct conn	*conn;		/* a reference */
	int32_t		 opaque;
	int64_t		 counter;	/* version of the topics that must be known */
	int64_t		 until_us;
	struct buf	 frame;		/* empty: there is no answer yet */
};

struct known {
	struct broker	*b;
	struct held_answer *first, **end; /* oldest first */
	size_t		 count;
	ev_timer	 patience;
};

static void
let_go_first(struct known *k)
{
	struct held_answer *h = k->first;

	if (h->frame.len > 0 && !h->conn->closed) {
		buf_put_slice(&h->conn->out, buf_slice(&h->frame));
		conn_kick(h->conn);
	}
	if ((k->first = h->next) == NULL)
		k->end = &k->first;
	k->count--;
	buf_free(&h->frame);
	conn_unref(&h->conn);
	free(h);
}

/* The versions grow, and so do the times: who came first leaves first. */
void
known_look(struct known *k)
{
	int64_t now, counter;

	if (LIKELY(k->first == NULL))
		return;
	now = clock_mono_us();
	counter = announce_confirmed(k->b->announce);
	while (k->first != NULL && (k->first->counter <= counter || k->first->until_us <= now))
		let_go_first(k);
	ev_timer_stop(k->b->w->loop, &k->patience);
	if (k->first == NULL)
		return;
	ev_now_update(k->b->w->loop);
	ev_timer_set(&k->patience, (double)(k->first->until_us - now) / 1e6, 0.);
	ev_timer_start(k->b->w->loop, &k->patience);
}

static void
patience_over(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop, (void)events;
	known_look(t->data);
}

void
known_hold(struct known *k, struct conn *c, const struct request_id *id)
{
	int64_t counter = topics_version(k->b->topics)->counter;
	struct held_answer *h;

	if (id->oneway || k->count >= MOST || announce_confirmed(k->b->announce) >= counter)
		return;
	h = xcalloc(1, sizeof(*h));
	*h = (struct held_answer){.conn = c, .opaque = id->opaque, .counter = counter, .until_us = clock_mono_us() + KNOWN_MS * 1000};
	conn_ref(c);
	*k->end = h;
	k->end = &h->next;
	if (k->count++ == 0)
		known_look(k); /* starts the timer */
}

struct buf *
known_out(struct known *k, struct conn *c, const struct request_id *id)
{
	for (struct held_answer *h = k->first; UNLIKELY(h != NULL); h = h->next)
		if (h->conn == c && h->opaque == id->opaque && h->frame.len == 0)
			return &h->frame;
	return &c->out;
}

size_t
known_count(const struct known *k)
{
	return k->count;
}

struct known *
known_new(struct broker *b)
{
	struct known *k = xcalloc(1, sizeof(*k));

	k->b = b;
	k->end = &k->first;
	ev_timer_init(&k->patience, patience_over, 0., 0.);
	k->patience.data = k;
	return k;
}

void
known_free(struct known **kp)
{
	struct known *k = *kp;

	if (k == NULL)
		return;
	ev_timer_stop(k->b->w->loop, &k->patience);
	while (k->first != NULL)
		let_go_first(k);
	free(k);
	*kp = NULL;
}

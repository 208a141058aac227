/*
 * hold: pulls that found nothing and wait for messages of their queue (long polling).
 *
 * Runs in:    the broker process.
 * Owns:       the held pulls: each is on the list of its queue, of its connection and of the second in which its time is over.
 * Must not:   keep one beyond its time, nor answer one twice: a pull is taken off all lists before it is run again.
 *
 * A unit that its filter lets pass wakes the pull; it is run at the end of the turn. A unit that does not pass only marks it: each five
 * seconds those are run too, so that the client learns of the offset it may go on from. Both as the original does.
 */
#include "workers/broker/hold.h"

#include <sys/queue.h>

#include "common/clock.h"

#define WHEEL_SLOTS  128	/* seconds; a longer time goes round more than once */
#define LOOK_SECONDS 5
#define TIMEOUT_MAX  (10 * 60 * 1000)

/* The waiting pulls of one store queue. Lives as long as hold does: the queue may be deleted before. */
struct held_queue {
	LIST_HEAD(, held)	 pulls;
	SLIST_ENTRY(held_queue)	 next;
};

struct held {
	LIST_ENTRY(held)	 by_queue, by_second;
	struct held		*conn_next, **conn_prev;
	STAILQ_ENTRY(held)	 woken;
	bool			 is_woken, skipped_some;
	struct conn		*conn;		/* a reference */
	struct request_id	 id;
	int64_t			 until_ms;	/* clock_mono_ms */
	struct tag_filter	 filter;	/* its codes stand behind the struct */
	struct pull		 pull;		/* its texts too */
};

struct hold {
	struct broker		*b;
	size_t			 count;
	int64_t			 last_second;
	unsigned		 seconds;
	LIST_HEAD(, held)	 wheel[WHEEL_SLOTS];
	STAILQ_HEAD(, held)	 woken;
	SLIST_HEAD(, held_queue) queues;
};

struct hold *
hold_new(struct broker *b)
{
	struct hold *h = xcalloc(1, sizeof(*h));

	h->b = b;
	h->last_second = clock_mono_ms() / 1000;
	STAILQ_INIT(&h->woken);
	return h;
}

size_t
hold_count(const struct hold *h)
{
	return h->count;
}

/* ---- lists */

static void
link_conn(struct held *it)
{
	struct client_conn *cc = it->conn->user;

	it->conn_next = cc->held;
	if (it->conn_next != NULL)
		it->conn_next->conn_prev = &it->conn_next;
	it->conn_prev = &cc->held;
	cc->held = it;
}

static void
unlink_conn(struct held *it)
{
	if (it->conn_prev == NULL)
		return;
	*it->conn_prev = it->conn_next;
	if (it->conn_next != NULL)
		it->conn_next->conn_prev = it->conn_prev;
	it->conn_prev = NULL;
}

/* Off all lists but that of the woken. */
static void
unlink_held(struct held *it)
{
	LIST_REMOVE(it, by_queue);
	LIST_REMOVE(it, by_second);
	unlink_conn(it);
}

static void
free_held(struct hold *h, struct held *it)
{
	conn_unref(&it->conn);
	sql_filter_unref(&it->filter.sql);
	free(it);
	h->count--;
}

static void
wake(struct hold *h, struct held *it)
{
	unlink_held(it);
	it->is_woken = true;
	STAILQ_INSERT_TAIL(&h->woken, it, woken);
}

static struct held_queue *
queue_of(struct hold *h, struct store_queue *q)
{
	struct held_queue *hq = *queue_user(q);

	if (hq != NULL)
		return hq;
	hq = xcalloc(1, sizeof(*hq));
	SLIST_INSERT_HEAD(&h->queues, hq, next);
	*queue_user(q) = hq;
	return hq;
}

/* ---- in */

static struct held *
copy_held(const struct pull *p, const struct tag_filter *f)
{
	size_t codes = f->all ? 0 : f->count * sizeof(f->codes[0]);
	struct held *it = xcalloc(1, sizeof(*it) + codes + pull_copy_size(p));
	int32_t *to = (int32_t *)(it + 1);

	it->filter = *f;
	it->filter.codes = to;
	sql_filter_ref(it->filter.sql);
	if (codes > 0)
		memcpy(to, f->codes, codes);
	pull_copy(&it->pull, p, (char *)to + codes);
	it->filter.group = it->pull.group;
	it->pull.first = false;
	it->pull.asked = 0;
	return it;
}

enum rc
hold_add(struct hold *h, struct conn *c, const struct request_id *id, const struct pull *p, struct store_queue *q,
    const struct tag_filter *f, int64_t timeout_ms)
{
	struct held *it;

	if (h->count >= HOLD_MAX || q == NULL)
		return RC_FULL;
	it = copy_held(p, f);
	it->conn = c;
	conn_ref(c);
	it->id = *id;
	it->until_ms = clock_mono_ms() + MIN_OF(MAX_OF(timeout_ms, 0), TIMEOUT_MAX);
	LIST_INSERT_HEAD(&queue_of(h, q)->pulls, it, by_queue);
	LIST_INSERT_HEAD(&h->wheel[it->until_ms / 1000 % WHEEL_SLOTS], it, by_second);
	link_conn(it);
	h->count++;
	count_add(&h->b->w->shm->counters.held_pulls, 1);
	return RC_OK;
}

/* ---- what wakes them */

void
hold_arrival(struct hold *h, struct store_queue *q, int64_t tags_code, struct slice props)
{
	struct held_queue *hq = *queue_user(q);
	struct held *it, *next;

	if (LIKELY(hq == NULL || LIST_EMPTY(&hq->pulls)))
		return;
	for (it = LIST_FIRST(&hq->pulls); it != NULL; it = next) {
		next = LIST_NEXT(it, by_queue);
		if (tag_filter_passes(&it->filter, tags_code) && tag_filter_passes_props(&it->filter, props))
			wake(h, it);
		else
			it->skipped_some = true;
	}
}

static void
wake_slot(struct hold *h, size_t slot, int64_t now_ms)
{
	struct held *it, *next;

	for (it = LIST_FIRST(&h->wheel[slot]); it != NULL; it = next) {
		next = LIST_NEXT(it, by_second);
		if (it->until_ms <= now_ms)
			wake(h, it);
	}
}

static void
wake_skipped(struct hold *h)
{
	struct held *it, *next;

	for (size_t slot = 0; slot < WHEEL_SLOTS; slot++)
		for (it = LIST_FIRST(&h->wheel[slot]); it != NULL; it = next) {
			next = LIST_NEXT(it, by_second);
			if (it->skipped_some)
				wake(h, it);
		}
}

void
hold_second(struct hold *h)
{
	int64_t now_ms = clock_mono_ms(), now = now_ms / 1000;
	int64_t from = MAX_OF(h->last_second, now - WHEEL_SLOTS + 1);

	for (int64_t second = from; second <= now; second++)
		wake_slot(h, (size_t)(second % WHEEL_SLOTS), now_ms);
	h->last_second = now;
	if (++h->seconds % LOOK_SECONDS == 0)
		wake_skipped(h);
}

void
hold_conn_closed(struct hold *h, struct conn *c)
{
	struct client_conn *cc = c->user;
	struct held *it;

	while (cc != NULL && (it = cc->held) != NULL) {
		unlink_held(it);
		free_held(h, it);
	}
}

/* ---- out */

void
hold_run(struct hold *h)
{
	struct held *it;

	while ((it = STAILQ_FIRST(&h->woken)) != NULL) {
		STAILQ_REMOVE_HEAD(&h->woken, woken);
		if (!it->conn->closed)
			pull_run(h->b, it->conn, &it->id, &it->pull);
		free_held(h, it);
	}
}

void
hold_answer_all(struct hold *h)
{
	for (size_t slot = 0; slot < WHEEL_SLOTS; slot++)
		wake_slot(h, slot, INT64_MAX);
	hold_run(h);
}

void
hold_free(struct hold **h)
{
	struct held_queue *hq;
	struct held *it;

	if (*h == NULL)
		return;
	for (size_t slot = 0; slot < WHEEL_SLOTS; slot++)
		wake_slot(*h, slot, INT64_MAX);
	while ((it = STAILQ_FIRST(&(*h)->woken)) != NULL) {
		STAILQ_REMOVE_HEAD(&(*h)->woken, woken);
		free_held(*h, it);
	}
	while ((hq = SLIST_FIRST(&(*h)->queues)) != NULL) {
		SLIST_REMOVE_HEAD(&(*h)->queues, next);
		free(hq);
	}
	free(*h);
	*h = NULL;
}

/*
 * cold: pulls whose bytes may have to come from the disk.
 *
 * Runs in:    the broker process.
 * Owns:       copies of the waiting pulls, by the id that warm's answer brings back.
 * Must not:   read the range itself before warm has.
 * If warm dies: it is started again and finds unread asks in its channel; one that it had taken is asked again after ASK_AGAIN_MS.
 */
#include "workers/broker/cold.h"

#include <errno.h>

#include "common/clock.h"

#define ASK_AGAIN_MS 3000
#define ASKS_MAX     3 /* then the range is read as it is: slow is better than never */
#define SLOT_BITS    10
_Static_assert(COLD_MAX == 1 << SLOT_BITS, "an id is a generation and a slot");

struct cold_pull {
	cold_ready	*ready;		/* told instead; NULL: a pull */
	void		*arg;
	struct conn	*conn;		/* a reference; NULL: no pull */
	struct request_id id;
	int64_t		 asked_ms;
	struct pull	 pull;		/* its texts stand behind the struct */
};

struct cold {
	struct broker	*b;
	struct cold_pull *slot[COLD_MAX];
	uint32_t	 generation[COLD_MAX];
	unsigned	 free_slots[COLD_MAX];
	unsigned	 free_count;
};

struct cold *
cold_new(struct broker *b)
{
	struct cold *c = xcalloc(1, sizeof(*c));

	c->b = b;
	for (unsigned i = 0; i < COLD_MAX; i++)
		c->free_slots[c->free_count++] = COLD_MAX - 1 - i;
	return c;
}

static void
free_pull(struct cold_pull *it)
{
	if (it->conn != NULL)
		conn_unref(&it->conn);
	free(it);
}

static void
tell_ready(struct cold_pull *it, int error)
{
	cold_ready *ready = it->ready;
	void *arg = it->arg;

	free(it);
	ready(arg, error);
}

void
cold_free(struct cold **c)
{
	if (*c == NULL)
		return;
	for (unsigned i = 0; i < COLD_MAX; i++)
		if ((*c)->slot[i] != NULL && (*c)->slot[i]->ready != NULL)
			tell_ready((*c)->slot[i], ECANCELED);
		else if ((*c)->slot[i] != NULL)
			free_pull((*c)->slot[i]);
	free(*c);
	*c = NULL;
}

size_t
cold_count(const struct cold *c)
{
	return COLD_MAX - c->free_count;
}

static int64_t
id_of(const struct cold *c, unsigned slot)
{
	return (int64_t)c->generation[slot] << SLOT_BITS | slot;
}

static struct cold_pull *
take(struct cold *c, unsigned slot)
{
	struct cold_pull *it = c->slot[slot];

	c->slot[slot] = NULL;
	c->generation[slot]++;
	c->free_slots[c->free_count++] = slot;
	return it;
}

static struct cold_pull *
copy_pull(struct conn *conn, const struct request_id *id, const struct pull *p)
{
	struct cold_pull *it = xcalloc(1, sizeof(*it) + pull_copy_size(p));

	it->conn = conn;
	conn_ref(conn);
	it->id = *id;
	it->asked_ms = clock_mono_ms();
	pull_copy(&it->pull, p, (char *)(it + 1));
	it->pull.asked++;
	return it;
}

/* Asks warm in the name of a free slot. RC_OK: *slot is to be filled. */
static enum rc
ask_warm(struct cold *c, int64_t at, int64_t len, unsigned *slot)
{
	int fd = c->b->w->peer_fds[WORKER_WARM];
	enum rc rc;

	if (fd < 0)
		return RC_CLOSED;
	if (c->free_count == 0)
		return RC_FULL;
	*slot = c->free_slots[c->free_count - 1];
	rc = ipc_send(fd, IPC_BROKER_WARM_RANGE, id_of(c, *slot), at, len);
	if (rc != RC_OK)
		return rc == RC_AGAIN ? RC_FULL : RC_CLOSED;
	c->free_count--;
	return RC_OK;
}

enum rc
cold_add(struct cold *c, struct conn *conn, const struct request_id *id, const struct pull *p, int64_t at, int64_t len)
{
	unsigned slot;
	enum rc rc = p->asked < ASKS_MAX ? ask_warm(c, at, len, &slot) : RC_CLOSED;

	if (rc != RC_OK)
		return rc;
	c->slot[slot] = copy_pull(conn, id, p);
	count_add(&c->b->w->shm->counters.cold_pulls, 1);
	return RC_OK;
}

enum rc
cold_wait(struct cold *c, int64_t at, int64_t len, cold_ready *ready, void *arg)
{
	unsigned slot;
	enum rc rc = ask_warm(c, at, len, &slot);

	if (rc != RC_OK)
		return rc;
	c->slot[slot] = xcalloc(1, sizeof(struct cold_pull));
	c->slot[slot]->ready = ready;
	c->slot[slot]->arg = arg;
	c->slot[slot]->asked_ms = clock_mono_ms();
	return RC_OK;
}

void
cold_done(struct cold *c, int64_t id, int32_t error)
{
	unsigned slot = (unsigned)(id & (COLD_MAX - 1));
	struct cold_pull *it;

	if (c->slot[slot] == NULL || id_of(c, slot) != id)
		return; /* asked again in the meantime, or its connection has gone */
	it = take(c, slot);
	if (it->ready != NULL)
		return tell_ready(it, error);
	it->pull.warmed = true;
	if (it->conn->closed)
		;
	else if (error != 0)
		conn_answer(it->conn, &it->id, RES_SYSTEM_ERROR, "the messages from offset %lld of %.*s, queue %d could not be read: %s",
		    (long long)it->pull.offset, (int)it->pull.topic.n, it->pull.topic.p, it->pull.queue_id, strerror(error));
	else
		pull_run(c->b, it->conn, &it->id, &it->pull);
	free_pull(it);
}

void
cold_second(struct cold *c)
{
	int64_t now = clock_mono_ms();

	for (unsigned i = 0; c->free_count < COLD_MAX && i < COLD_MAX; i++) {
		struct cold_pull *it = c->slot[i];

		if (it == NULL || ((it->conn == NULL || !it->conn->closed) && now - it->asked_ms < ASK_AGAIN_MS))
			continue;
		take(c, i);
		if (it->ready != NULL) {
			tell_ready(it, 0);
			continue;
		}
		if (!it->conn->closed)
			pull_run(c->b, it->conn, &it->id, &it->pull);
		free_pull(it);
	}
}

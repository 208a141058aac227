/*
 * cold: pulls and others whose bytes may have to come from the disk.
 *
 * Runs in:    the broker process.
 * Owns:       copies of the waiting pulls. Each range that warm is asked for takes a slot, whose id warm's answer brings back; who
 *             waits goes on when all of his are back.
 * Must not:   read the range itself before warm has.
 * If warm dies: it is started again and finds unread asks in its channel; one that it had taken is asked again after ASK_AGAIN_MS.
 */
#include "workers/broker/cold.h"

#include <errno.h>

#include "common/clock.h"

#define ASK_AGAIN_MS 3000
#define ASKS_MAX     16 /* then the range is read as it is: slow is better than never */
#define SLOT_BITS    10
#define NOBODY	     (-1) /* the id of an ask that nobody waits for */
_Static_assert(COLD_MAX == 1 << SLOT_BITS, "an id is a generation and a slot");

struct cold_pull {
	cold_ready	*ready;		/* told instead; NULL: a pull */
	void		*arg;
	struct conn	*conn;		/* a reference; NULL: no pull */
	struct request_id id;
	int64_t		 asked_ms;
	unsigned	 left;		/* ranges that are not back yet */
	int32_t		 error;		/* of the first that could not be read */
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
	for (unsigned i = 0; i < COLD_MAX; i++) {
		struct cold_pull *it = (*c)->slot[i];

		if (it == NULL || --it->left > 0)
			continue;
		if (it->ready != NULL)
			tell_ready(it, ECANCELED);
		else
			free_pull(it);
	}
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

/* Gives the slot back; true: it was the last that its owner waited for. */
static bool
take(struct cold *c, unsigned slot, struct cold_pull **it)
{
	*it = c->slot[slot];
	c->slot[slot] = NULL;
	c->generation[slot]++;
	c->free_slots[c->free_count++] = slot;
	return --(*it)->left == 0;
}

static struct cold_pull *
copy_pull(struct conn *conn, const struct request_id *id, const struct pull *p)
{
	struct cold_pull *it = xcalloc(1, sizeof(*it) + pull_copy_size(p));

	it->conn = conn;
	conn_ref(conn);
	it->id = *id;
	pull_copy(&it->pull, p, (char *)(it + 1));
	it->pull.asked++;
	return it;
}

static enum rc
send_range(struct cold *c, const struct cold_range *r, int64_t id)
{
	int fd = c->b->w->peer_fds[WORKER_WARM];
	enum rc rc;

	if (fd < 0)
		return RC_CLOSED;
	if (r->file != NULL)
		rc = ipc_send(fd, IPC_BROKER_WARM_FILE, id, r->file, r->at, r->len);
	else
		rc = ipc_send(fd, IPC_BROKER_WARM_RANGE, id, r->at, r->len);
	return rc == RC_OK ? RC_OK : rc == RC_AGAIN ? RC_FULL : RC_CLOSED;
}

/* Asks warm for the range in the name of a free slot, which becomes that of `it`. */
static enum rc
ask_warm(struct cold *c, struct cold_pull *it, const struct cold_range *r)
{
	unsigned slot;
	enum rc rc;

	if (c->free_count == 0)
		return RC_FULL;
	slot = c->free_slots[c->free_count - 1];
	rc = send_range(c, r, id_of(c, slot));
	if (rc != RC_OK)
		return rc;
	c->free_count--;
	c->slot[slot] = it;
	it->left++;
	return RC_OK;
}

/* As many ranges as go; the rest is found cold again. Not RC_OK: not even one, `it` is freed. */
static enum rc
ask_all(struct cold *c, struct cold_pull *it, const struct cold_list *l)
{
	enum rc rc = RC_CLOSED;

	it->asked_ms = clock_mono_ms();
	for (unsigned i = 0; i < l->count; i++) {
		rc = ask_warm(c, it, &l->range[i]);
		if (rc != RC_OK)
			break;
	}
	if (it->left > 0)
		return RC_OK;
	free_pull(it);
	return rc;
}

enum rc
cold_add(struct cold *c, struct conn *conn, const struct request_id *id, const struct pull *p, const struct cold_list *l)
{
	enum rc rc = p->asked < ASKS_MAX ? ask_all(c, copy_pull(conn, id, p), l) : RC_CLOSED;

	if (rc == RC_OK)
		count_add(&c->b->w->shm->counters.cold_pulls, 1);
	return rc;
}

enum rc
cold_wait_list(struct cold *c, const struct cold_list *l, cold_ready *ready, void *arg)
{
	struct cold_pull *it = xcalloc(1, sizeof(*it));

	it->ready = ready;
	it->arg = arg;
	return ask_all(c, it, l);
}

enum rc
cold_wait(struct cold *c, int64_t at, int64_t len, cold_ready *ready, void *arg)
{
	struct cold_list one = {.count = 1, .range = {{.at = at, .len = len}}};

	return cold_wait_list(c, &one, ready, arg);
}

void
cold_prefetch(struct cold *c, const struct cold_list *l)
{
	for (unsigned i = 0; i < l->count; i++)
		if (send_range(c, &l->range[i], NOBODY) != RC_OK)
			return;
}

/* Everything that it waited for is back, or was given up. That a file has gone is for the pull to find out. */
static void
go_on(struct cold *c, struct cold_pull *it)
{
	if (it->ready != NULL)
		return tell_ready(it, it->error == ENOENT ? 0 : it->error);
	if (it->conn->closed)
		;
	else if (it->error != 0 && it->error != ENOENT)
		conn_answer(it->conn, &it->id, RES_SYSTEM_ERROR, "the messages from offset %lld of %.*s, queue %d could not be read: %s",
		    (long long)it->pull.offset, (int)it->pull.topic.n, it->pull.topic.p, it->pull.queue_id, strerror(it->error));
	else
		pull_run(c->b, it->conn, &it->id, &it->pull);
	free_pull(it);
}

void
cold_done(struct cold *c, int64_t id, int32_t error)
{
	unsigned slot = (unsigned)(id & (COLD_MAX - 1));
	struct cold_pull *it;

	if (id < 0 || c->slot[slot] == NULL || id_of(c, slot) != id)
		return; /* asked again in the meantime, or its connection has gone */
	if (c->slot[slot]->error == 0)
		c->slot[slot]->error = error;
	if (take(c, slot, &it))
		go_on(c, it);
}

void
cold_second(struct cold *c)
{
	int64_t now = clock_mono_ms();

	for (unsigned i = 0; c->free_count < COLD_MAX && i < COLD_MAX; i++) {
		struct cold_pull *it = c->slot[i];

		if (it == NULL || ((it->conn == NULL || !it->conn->closed) && now - it->asked_ms < ASK_AGAIN_MS))
			continue;
		if (take(c, i, &it))
			go_on(c, it);
	}
}

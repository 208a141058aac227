/*
 * pop_hold: pops and notifications that found nothing and wait (long polling).
 *
 * Runs in:    the broker process.
 * Owns:       the waiting requests: each is on the list of its key (group, topic, queue or any), of its connection, and
 * in the heap of deadlines. Must not:   keep one beyond its time; wake all for one message: one message wakes one of
 * each group, and who finds more than it takes wakes the next.
 */
#include <sys/queue.h>

#include "common/clock.h"
#include "workers/broker/pop_int.h"
#include "workers/broker/table.h"

#define RUN_STEP    1000 /* requests of one turn */
#define MAKE_TOPICS 3    /* names under which a key is looked for: its topic, its retry topics */

struct pop_held {
	TAILQ_ENTRY(pop_held) by_key;
	LIST_ENTRY(pop_held) by_conn;
	STAILQ_ENTRY(pop_held) woken;
	struct heap_node until; /* clock_mono_ms */
	struct wait_key *key;   /* NULL once it was taken off */
	struct conn *conn;      /* a reference */
	struct request_id id;
	struct tag_filter filter; /* its codes stand behind the struct */
	struct pop_ask ask;       /* its texts too */
};

struct wait_key {
	char *name;         /* "queueId group topic" */
	struct slice group; /* in it */
	int32_t queue_id;   /* -1: any */
	unsigned count;
	TAILQ_HEAD(held_list, pop_held) waiting;
	struct topic_key {
		LIST_ENTRY(topic_key) of_topic;
		struct wait_topic *topic;
		struct wait_key *key;
	} in[MAKE_TOPICS];
	UT_hash_handle hh;
};

struct wait_topic { /* keys that want to know of messages in this topic */
	char *name;
	LIST_HEAD(, topic_key) keys;
	UT_hash_handle hh;
};

struct pop_hold {
	struct pop *pop;
	size_t count;
	struct wait_key *keys;
	struct wait_topic *topics;
	struct heap until;
	STAILQ_HEAD(, pop_held) woken;
};

struct pop_hold *
pop_hold_new(struct pop *p)
{
	struct pop_hold *h = xcalloc(1, sizeof(*h));

	h->pop = p;
	STAILQ_INIT(&h->woken);
	return h;
}

/* ---- keys */

static char *
key_name(struct slice topic, struct slice group, int32_t queue_id)
{
	return xasprintf("%d %.*s %.*s", queue_id, (int)group.n, group.p, (int)topic.n, topic.p);
}

static void
enter_topic(struct pop_hold *h, struct wait_key *k, int i, struct slice name)
{
	struct wait_topic *t;

	TABLE_FIND(h->topics, name, t);
	if (t == NULL) {
		t = xcalloc(1, sizeof(*t));
		t->name = xslicedup(name);
		TABLE_ADD(h->topics, name, t);
	}
	k->in[i].key = k;
	k->in[i].topic = t;
	LIST_INSERT_HEAD(&t->keys, &k->in[i], of_topic);
}

static void
enter_retry(struct pop_hold *h, struct wait_key *k, int i, struct slice topic, enum pop_flag flag)
{
	struct pop_name name;

	if (pop_retry_name(k->group, topic, flag, &name))
		enter_topic(h, k, i, slice_of(name.text));
}

static struct wait_key *
find_key(const struct pop_hold *h, struct slice topic, struct slice group, int32_t queue_id)
{
	char *name = key_name(topic, group, queue_id);
	struct wait_key *k;

	HASH_FIND_STR(h->keys, name, k);
	free(name);
	return k;
}

static struct wait_key *
make_key(struct pop_hold *h, const struct pop_ask *ask)
{
	struct wait_key *k = find_key(h, ask->topic, ask->group, ask->queue_id);

	if (k != NULL)
		return k;
	k = xcalloc(1, sizeof(*k));
	k->name = key_name(ask->topic, ask->group, ask->queue_id);
	k->queue_id = ask->queue_id;
	k->group = (struct slice){strchr(k->name, ' ') + 1, ask->group.n};
	TAILQ_INIT(&k->waiting);
	TABLE_ADD(h->keys, name, k);
	enter_topic(h, k, 0, ask->topic);
	enter_retry(h, k, 1, ask->topic, POP_RETRY_V1);
	enter_retry(h, k, 2, ask->topic, POP_RETRY_V2);
	return k;
}

static void
leave_topic(struct pop_hold *h, struct topic_key *in)
{
	if (in->topic == NULL)
		return;
	LIST_REMOVE(in, of_topic);
	if (!LIST_EMPTY(&in->topic->keys))
		return;
	HASH_DEL(h->topics, in->topic);
	free(in->topic->name);
	free(in->topic);
}

static void
free_key(struct pop_hold *h, struct wait_key *k)
{
	for (int i = 0; i < MAKE_TOPICS; i++)
		leave_topic(h, &k->in[i]);
	HASH_DEL(h->keys, k);
	free(k->name);
	free(k);
}

/* ---- in */

/* Off its key, its connection and the heap; a key that nobody is left of goes. */
static void
take_off(struct pop_hold *h, struct pop_held *it)
{
	struct wait_key *k = it->key;

	TAILQ_REMOVE(&k->waiting, it, by_key);
	LIST_REMOVE(it, by_conn);
	heap_remove(&h->until, &it->until);
	it->key = NULL;
	if (--k->count == 0)
		free_key(h, k);
}

static void
free_held(struct pop_hold *h, struct pop_held *it)
{
	conn_unref(&it->conn);
	sql_filter_unref(&it->filter.sql);
	free(it);
	h->count--;
}

static struct pop_held *
copy_held(const struct pop_ask *ask, const struct tag_filter *f)
{
	static const struct tag_filter everything = {.all = true};
	const struct tag_filter *from = f != NULL ? f : &everything;
	size_t codes = from->all ? 0 : from->count * sizeof(from->codes[0]);
	struct pop_held *it = xcalloc(1, sizeof(*it) + codes + pop_ask_size(ask));
	int32_t *to = (int32_t *)(it + 1);

	it->filter = *from;
	it->filter.codes = to;
	sql_filter_ref(it->filter.sql);
	if (codes > 0)
		memcpy(to, from->codes, codes);
	pop_ask_copy(&it->ask, ask, (char *)to + codes);
	it->ask.again = true;
	it->ask.asked = 0;
	it->ask.asked = 0;
	return it;
}

enum rc
pop_hold_add(struct pop_hold *h, struct conn *c, const struct request_id *id, const struct pop_ask *ask,
	     const struct tag_filter *f)
{
	const struct broker_conf *conf = h->pop->b->conf;
	struct client_conn *cc = c->user;
	struct wait_key *k;
	struct pop_held *it;

	if (ask->deadline_ms <= clock_mono_ms() || h->pop->b->stopping)
		return RC_LIMIT;
	if ((int64_t)h->count >= conf->maxPopPollingSize)
		return RC_FULL;
	k = make_key(h, ask);
	if ((int64_t)k->count > conf->popPollingSize)
		return RC_FULL;
	it = copy_held(ask, f);
	it->conn = c;
	conn_ref(c);
	it->id = *id;
	it->key = k;
	k->count++;
	TAILQ_INSERT_TAIL(&k->waiting, it, by_key);
	LIST_INSERT_HEAD(&cc->pops, it, by_conn);
	heap_set(&h->until, &it->until, ask->deadline_ms);
	h->count++;
	h->pop->wanted = true; /* the timer follows */
	return RC_OK;
}

/* ---- what wakes them */

static void
wake(struct pop_hold *h, struct pop_held *it)
{
	take_off(h, it);
	STAILQ_INSERT_TAIL(&h->woken, it, woken);
	h->pop->wanted = true;
}

static void
wake_first(struct pop_hold *h, struct wait_key *k)
{
	if (k != NULL)
		wake(h, TAILQ_FIRST(&k->waiting));
}

void
pop_hold_wake(struct pop_hold *h, struct slice topic, struct slice group, int32_t queue_id)
{
	if (LIKELY(h->count == 0))
		return;
	wake_first(h, find_key(h, topic, group, queue_id));
	if (queue_id >= 0)
		wake_first(h, find_key(h, topic, group, -1));
}

/* The first of a key that the message is for. */
static void
wake_for(struct pop_hold *h, struct wait_key *k, int64_t tags_code, struct slice props)
{
	struct pop_held *it;

	TAILQ_FOREACH(it, &k->waiting, by_key)
	if (tag_filter_passes(&it->filter, tags_code) && tag_filter_passes_props(&it->filter, props)) {
		wake(h, it);
		return;
	}
}

void
pop_hold_arrival(struct pop_hold *h, struct store_queue *q, int64_t tags_code, struct slice props)
{
	struct slice name = queue_topic(q);
	struct topic_key *in, *next;
	struct wait_topic *t;

	if (LIKELY(h->count == 0))
		return;
	TABLE_FIND(h->topics, name, t);
	if (t == NULL)
		return;
	for (in = LIST_FIRST(&t->keys); in != NULL; in = next) {
		bool own = in == &in->key->in[0];

		next = LIST_NEXT(in, of_topic);
		if (!own || in->key->queue_id < 0 || in->key->queue_id == queue_id(q))
			wake_for(h, in->key, tags_code, props);
	}
}

void
pop_hold_conn_closed(struct pop_hold *h, struct conn *c)
{
	struct client_conn *cc = c->user;
	struct pop_held *it;

	while (cc != NULL && (it = LIST_FIRST(&cc->pops)) != NULL) {
		take_off(h, it);
		free_held(h, it);
	}
}

/* ---- out */

static void
run(struct pop_hold *h, struct pop_held *it)
{
	struct pop *p = h->pop;

	if (it->conn->closed)
		pop_hold_wake(h, it->ask.topic, it->ask.group, it->ask.queue_id); /* what woke it is for another then */
	else
		pop_ask_run(p, it->conn, &it->id, &it->ask);
	free_held(h, it);
}

/* Those whose time is over look once more, and are answered. True: there are more. */
static bool
end_late(struct pop_hold *h)
{
	struct pop_held *it;
	int64_t now = clock_mono_ms();

	for (int n = 0; n < RUN_STEP; n++) {
		it = HEAP_ENTRY(heap_first(&h->until), struct pop_held, until);
		if (it == NULL || it->until.key > now)
			return false;
		take_off(h, it);
		run(h, it);
	}
	return true;
}

bool
pop_hold_turn(struct pop_hold *h)
{
	struct pop_held *it;

	for (int n = 0; n < RUN_STEP && (it = STAILQ_FIRST(&h->woken)) != NULL; n++) {
		STAILQ_REMOVE_HEAD(&h->woken, woken);
		run(h, it);
	}
	return end_late(h) || !STAILQ_EMPTY(&h->woken);
}

void
pop_hold_answer_all(struct pop_hold *h)
{
	struct pop_held *it;

	while ((it = STAILQ_FIRST(&h->woken)) != NULL) {
		STAILQ_REMOVE_HEAD(&h->woken, woken);
		pop_ask_give_up(h->pop, it->conn, &it->id, &it->ask);
		free_held(h, it);
	}
	while ((it = HEAP_ENTRY(heap_first(&h->until), struct pop_held, until)) != NULL) {
		take_off(h, it);
		pop_ask_give_up(h->pop, it->conn, &it->id, &it->ask);
		free_held(h, it);
	}
}

size_t
pop_hold_count(const struct pop_hold *h)
{
	return h->count;
}

size_t
pop_hold_count_of(const struct pop_hold *h, struct slice topic, struct slice group, int32_t queue_id)
{
	const struct wait_key *k = find_key(h, topic, group, queue_id);

	return k != NULL ? k->count : 0;
}

int64_t
pop_hold_next(const struct pop_hold *h)
{
	const struct heap_node *first = heap_first(&h->until);

	return first != NULL ? first->key : -1;
}

void
pop_hold_free(struct pop_hold **hp)
{
	struct pop_hold *h = *hp;
	struct pop_held *it;

	if (h == NULL)
		return;
	while ((it = HEAP_ENTRY(heap_first(&h->until), struct pop_held, until)) != NULL) {
		take_off(h, it);
		STAILQ_INSERT_TAIL(&h->woken, it, woken);
	}
	while ((it = STAILQ_FIRST(&h->woken)) != NULL) {
		STAILQ_REMOVE_HEAD(&h->woken, woken);
		free_held(h, it);
	}
	heap_free(&h->until);
	free(h);
	*hp = NULL;
}

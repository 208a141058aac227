/*
 * orderly: which client holds which queue of a group.
 *
 * Runs in:    the broker process.
 * Owns:       the lock table (in memory).
 * If it dies: clients renew their locks every 20 s and take them anew; none stops consuming before 30 s are over.
 */
#include "workers/broker/orderly.h"

#include "common/clock.h"
#include "workers/broker/table.h"

#define LOCK_LIVE_MS	60000	/* a holder that did not renew for so long has lost it */

struct lock {
	char		*mq;		/* "queueId topic brokerName" */
	char		*client_id;
	int64_t		 renewed_ms;	/* monotonic */
	UT_hash_handle	 hh;
};

struct lock_group {
	char		*name;
	struct lock	*locks;
	UT_hash_handle	 hh;
};

struct orderly {
	struct lock_group *groups;
	int64_t		 version;
};

static bool
live(const struct lock *l)
{
	return clock_mono_ms() - l->renewed_ms <= LOCK_LIVE_MS;
}

static void
lock_remove(struct lock_group *g, struct lock *l)
{
	HASH_DEL(g->locks, l);
	free(l->mq);
	free(l->client_id);
	free(l);
}

static void
group_remove_all(struct orderly *o, struct lock_group *g)
{
	struct lock *l, *tmp;

	HASH_ITER(hh, g->locks, l, tmp)
		lock_remove(g, l);
	HASH_DEL(o->groups, g);
	free(g->name);
	free(g);
}

static struct lock_group *
find_group(struct orderly *o, struct slice name)
{
	struct lock_group *g = NULL;

	if (name.n > 0)
		TABLE_FIND(o->groups, name, g);
	return g;
}

static struct lock_group *
find_or_make_group(struct orderly *o, struct slice name)
{
	struct lock_group *g = find_group(o, name);

	if (g == NULL) {
		g = xcalloc(1, sizeof *g);
		g->name = xslicedup(name);
		TABLE_ADD(o->groups, name, g);
	}
	return g;
}

static char *
lock_key(const struct mq_name *mq)
{
	return xasprintf("%d %.*s %.*s", mq->queue_id, (int)mq->topic.n, mq->topic.p, (int)mq->broker_name.n, mq->broker_name.p);
}

struct orderly *
orderly_new(struct broker *b)
{
	(void)b;
	return xcalloc(1, sizeof(struct orderly));
}

void
orderly_free(struct orderly **op)
{
	struct lock_group *g, *tmp;

	if (*op == NULL)
		return;
	HASH_ITER(hh, (*op)->groups, g, tmp)
		group_remove_all(*op, g);
	free(*op);
	*op = NULL;
}

bool
orderly_lock(struct orderly *o, struct slice group, const struct mq_name *mq, struct slice client_id)
{
	struct lock_group *g = find_or_make_group(o, group);
	char *key = lock_key(mq);
	struct lock *l = NULL;

	HASH_FIND_STR(g->locks, key, l);
	if (l == NULL) {
		l = xcalloc(1, sizeof *l);
		l->mq = key;
		l->client_id = xslicedup(client_id);
		TABLE_ADD(g->locks, mq, l);
		o->version++;
	} else {
		free(key);
		if (!slice_is(client_id, l->client_id)) {
			if (live(l))
				return false;
			log_info("group %s: the lock of queue %s goes from %s, which did not renew it, to %.*s", g->name, l->mq,
			    l->client_id, (int)client_id.n, client_id.p);
			free(l->client_id);
			l->client_id = xslicedup(client_id);
			o->version++;
		}
	}
	l->renewed_ms = clock_mono_ms();
	return true;
}

void
orderly_unlock(struct orderly *o, struct slice group, const struct mq_name *mq, struct slice client_id)
{
	struct lock_group *g = find_group(o, group);
	struct lock *l = NULL;
	char *key;

	if (g == NULL)
		return;
	key = lock_key(mq);
	HASH_FIND_STR(g->locks, key, l);
	free(key);
	if (l != NULL && slice_is(client_id, l->client_id)) {
		lock_remove(g, l);
		o->version++;
	}
	if (g->locks == NULL)
		group_remove_all(o, g);
}

bool
orderly_group_locked(struct orderly *o, struct slice group)
{
	struct lock_group *g = find_group(o, group);
	struct lock *l, *tmp;

	if (LIKELY(g == NULL))
		return false;
	HASH_ITER(hh, g->locks, l, tmp)
		if (live(l))
			return true;
	return false;
}

void
orderly_remove_group(struct orderly *o, struct slice group)
{
	struct lock_group *g = find_group(o, group);

	if (g == NULL)
		return;
	group_remove_all(o, g);
	o->version++;
}

/* ---- between master and slave */

int64_t
orderly_version(const struct orderly *o)
{
	return o->version;
}

static void
put_group(const struct lock_group *g, struct buf *out)
{
	bool first = true;

	buf_put_json(out, slice_of(g->name));
	buf_put_str(out, ":{");
	for (const struct lock *l = g->locks; l != NULL; l = l->hh.next) {
		if (!live(l))
			continue;
		if (!first)
			buf_put_char(out, ',');
		first = false;
		buf_put_json(out, slice_of(l->mq));
		buf_put_char(out, ':');
		buf_put_json(out, slice_of(l->client_id));
	}
	buf_put_char(out, '}');
}

void
orderly_put_json(struct orderly *o, struct buf *out)
{
	buf_put_char(out, '{');
	for (const struct lock_group *g = o->groups; g != NULL; g = g->hh.next) {
		if (g != o->groups)
			buf_put_char(out, ',');
		put_group(g, out);
	}
	buf_put_char(out, '}');
}

static void
take_lock(struct lock_group *g, const char *mq, const char *client_id)
{
	struct lock *l = xcalloc(1, sizeof *l);

	l->mq = xstrdup(mq);
	l->client_id = xstrdup(client_id);
	l->renewed_ms = clock_mono_ms();
	TABLE_ADD(g->locks, mq, l);
}

void
orderly_take(struct orderly *o, const json_t *locks)
{
	struct lock_group *g, *tmp;
	const char *name, *mq;
	json_t *of_group, *client;

	HASH_ITER(hh, o->groups, g, tmp)
		group_remove_all(o, g);
	json_object_foreach((json_t *)(uintptr_t)locks, name, of_group) {
		if (*name == '\0' || json_object_size(of_group) == 0)
			continue;
		g = find_or_make_group(o, slice_of(name));
		json_object_foreach(of_group, mq, client)
			if (json_is_string(client))
				take_lock(g, mq, json_string_value(client));
	}
	o->version++;
}

void
orderly_renew_all(struct orderly *o)
{
	for (struct lock_group *g = o->groups; g != NULL; g = g->hh.next)
		for (struct lock *l = g->locks; l != NULL; l = l->hh.next)
			l->renewed_ms = clock_mono_ms();
}

void
orderly_expire(struct orderly *o)
{
	struct lock_group *g, *gtmp;
	struct lock *l, *ltmp;

	HASH_ITER(hh, o->groups, g, gtmp)
	{
		HASH_ITER(hh, g->locks, l, ltmp)
			if (!live(l)) {
				lock_remove(g, l);
				o->version++;
			}
		if (g->locks == NULL)
			group_remove_all(o, g);
	}
}

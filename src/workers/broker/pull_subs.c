/*
 * pull_subs: the subscriptions that pulls bring along, of groups that send no heartbeat. For an operator who asks (345, 321);
 * they are no connections.
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/pull_subs.h"

#include "common/clock.h"
#include "workers/broker/table.h"

#define SUBS_MAX	20000	/* groups that never send a heartbeat, times their topics */
#define NAME_MAX_BYTES	255
#define EXPIRED_MS	600000

struct pull_sub {
	char		*key;		/* "group topic" */
	struct subscription *sub;	/* NULL: it could not be copied */
	int64_t		 used_ms;	/* monotonic */
	UT_hash_handle	 hh;
};

struct pull_subs {
	struct pull_sub	*table;
};

static void
remove_sub(struct pull_subs *s, struct pull_sub *p)
{
	HASH_DEL(s->table, p);
	subscription_free(&p->sub);
	free(p->key);
	free(p);
}

static struct pull_sub *
find(struct pull_subs *s, struct slice group, struct slice topic)
{
	char key[2 * NAME_MAX_BYTES + 1];
	struct pull_sub *p = NULL;

	if (group.n == 0 || group.n > NAME_MAX_BYTES || topic.n == 0 || topic.n > NAME_MAX_BYTES)
		return NULL;
	memcpy(key, group.p, group.n);
	key[group.n] = ' ';
	memcpy(key + group.n + 1, topic.p, topic.n);
	HASH_FIND(hh, s->table, key, group.n + 1 + topic.n, p);
	return p;
}

static struct subscription *
copy_sub(const struct subscription *s)
{
	struct subscription *copy;

	return subscription_make(s->topic, slice_of(s->text), slice_of(s->expression_type), s->version, &copy) == RC_OK ? copy : NULL;
}

struct pull_subs *
pull_subs_new(void)
{
	return xcalloc(1, sizeof(struct pull_subs));
}

void
pull_subs_free(struct pull_subs **sp)
{
	struct pull_sub *p, *tmp;

	if (*sp == NULL)
		return;
	HASH_ITER(hh, (*sp)->table, p, tmp)
		remove_sub(*sp, p);
	free(*sp);
	*sp = NULL;
}

static struct pull_sub *
make(struct pull_subs *s, struct slice group, const struct subscription *sub)
{
	struct pull_sub *p;

	if (group.n == 0 || group.n > NAME_MAX_BYTES || sub->topic.n == 0 || sub->topic.n > NAME_MAX_BYTES ||
	    HASH_COUNT(s->table) >= SUBS_MAX)
		return NULL;
	p = xcalloc(1, sizeof *p);
	p->key = xasprintf("%.*s %.*s", (int)group.n, group.p, (int)sub->topic.n, sub->topic.p);
	p->sub = copy_sub(sub);
	TABLE_ADD(s->table, key, p);
	return p;
}

void
pull_subs_note(struct pull_subs *s, struct slice group, const struct subscription *sub)
{
	struct pull_sub *p = find(s, group, sub->topic);

	if (p == NULL)
		p = make(s, group, sub);
	if (p == NULL)
		return;
	p->used_ms = clock_mono_ms();
	if (p->sub == NULL || p->sub->version != sub->version || strcmp(p->sub->text, sub->text) != 0) {
		subscription_free(&p->sub);
		p->sub = copy_sub(sub);
	}
}

const struct subscription *
pull_subs_find(struct pull_subs *s, struct slice group, struct slice topic)
{
	const struct pull_sub *p = find(s, group, topic);

	return p != NULL ? p->sub : NULL;
}

void
pull_subs_expire(struct pull_subs *s)
{
	int64_t now = clock_mono_ms();
	struct pull_sub *p, *tmp;

	HASH_ITER(hh, s->table, p, tmp)
		if (now - p->used_ms > EXPIRED_MS)
			remove_sub(s, p);
}

/*
 * quorum: counting copies; see quorum.h.
 */
#include "workers/ha/quorum.h"

struct quorum_rule
quorum_rule_of(const struct broker_conf *c, enum broker_role role)
{
	return (struct quorum_rule){
	    .role = role,
	    .need = MAX_OF(c->inSyncReplicas, 1),
	    .least = MAX_OF(c->minInSyncReplicas, 1),
	    .shrinks = c->enableAutoInSyncReplicas,
	    .all = c->allAckInSyncStateSet,
	    .max_gap = MAX_OF(c->haMaxGapNotInSync, 1),
	};
}

/* Two connections of one node are one copy: the one that is further on counts. */
static bool
is_counted(const struct quorum_slave *s, size_t n, size_t i)
{
	if (s[i].acked < 0)
		return false;
	for (size_t k = 0; k < n; k++)
		if (k != i && s[i].id >= 0 && s[k].id == s[i].id &&
		    (s[k].acked > s[i].acked || (s[k].acked == s[i].acked && k < i)))
			return false;
	return true;
}

static bool
is_in_sync(const struct quorum_rule *r, int64_t appended, const struct quorum_slave *s)
{
	int64_t gap = appended - s->acked;

	if (s->silent || s->empty)
		return false;
	return gap < (s->in_sync ? r->max_gap : MIN_OF(r->max_gap, (int64_t)QUORUM_JOIN_BYTES));
}

/* The position that at least `slaves` of them have confirmed. */
static int64_t
confirmed_by(const struct quorum_slave *s, size_t n, int32_t slaves)
{
	int64_t best = 0;

	for (size_t i = 0; i < n; i++) {
		int32_t have = 0;

		if (!is_counted(s, n, i) || s[i].acked <= best)
			continue;
		for (size_t k = 0; k < n; k++)
			have += is_counted(s, n, k) && s[k].acked >= s[i].acked;
		if (have >= slaves)
			best = s[i].acked;
	}
	return best;
}

static int64_t
least_in_sync(const struct quorum_slave *s, size_t n, int64_t position)
{
	for (size_t i = 0; i < n; i++)
		if (s[i].in_sync && is_counted(s, n, i))
			position = MIN_OF(position, s[i].acked);
	return position;
}

struct quorum
quorum_count(const struct quorum_rule *r, int64_t appended, struct quorum_slave *s, size_t n)
{
	struct quorum q = {.needed = 1, .replicated = appended};

	for (size_t i = 0; i < n; i++) {
		bool counted = is_counted(s, n, i);

		s[i].in_sync = s[i].acked >= 0 && is_in_sync(r, appended, &s[i]);
		q.slaves += counted;
		q.in_sync += counted && s[i].in_sync;
	}
	if (r->role != ROLE_SYNC_MASTER)
		return q;
	q.needed = r->need;
	if (r->shrinks)
		q.needed = MAX_OF(MIN_OF(r->need, q.in_sync + 1), r->least);
	if (q.needed > 1)
		q.replicated = MIN_OF(confirmed_by(s, n, q.needed - 1), appended);
	if (r->all)
		q.replicated = least_in_sync(s, n, q.replicated);
	return q;
}

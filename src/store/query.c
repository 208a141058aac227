/*
 * query: records by key, through the index.
 */
#include "common/str.h"
#include "store/store_int.h"

struct search {
	struct store		*s;
	struct query_result	*r;
	unsigned		 max;
};

static bool
add_hit(void *arg, int64_t physical)
{
	struct search *q = arg;

	const struct query_result *r = q->r;

	if (physical < q->s->log.min || physical >= q->s->log.end)
		return true; /* removed since */
	if (r->count > 0 && r->physical[r->count - 1] == physical)
		return true; /* the original indexes a record twice at times, when it recovers */
	q->r->physical[q->r->count++] = physical;
	return q->r->count < q->max;
}

void
store_query(struct store *s, struct slice topic, struct slice key, int32_t max, int64_t begin_ms, int64_t end_ms,
    struct query_result *r)
{
	uint32_t topic_hash = (uint32_t)str_java_hash(topic) * 31 + '#';
	struct search q = {s, r, 0};

	*r = (struct query_result){0};
	index_last(&s->index, &r->last_update_ms, &r->last_update_offset);
	if (max <= 0)
		return;
	q.max = (unsigned)MIN_OF(max, QUERY_MAX);
	index_walk(&s->index, index_hash(topic_hash, key), begin_ms, end_ms, add_hit, &q);
}

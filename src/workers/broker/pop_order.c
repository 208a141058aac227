/*
 * pop_order: ordered pops. See pop_order.h.
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/pop_order.h"

#include "common/mem.h"
#include "common/str.h"
#include "workers/broker/table.h"

struct queue {
	struct heap_node free_at; /* ms since 1970; in the heap while it is blocked and somebody has not been told */
	struct queue *next;
	struct entry *entry;
	int32_t id;
	struct pop_order_batch batch;
};

struct entry {     /* a group's way through a topic */
	char *key; /* "topic@group": no topic's name has an @ */
	struct queue *queues;
	UT_hash_handle hh;
};

struct pop_order {
	struct entry *entries;
	struct heap blocked;
	size_t count;
};

struct pop_order *
pop_order_new(void)
{
	return xcalloc(1, sizeof(struct pop_order));
}

/* ---- the table */

static struct slice
topic_of(const struct entry *e)
{
	return (struct slice){e->key, strcspn(e->key, "@")};
}

static struct slice
group_of(const struct entry *e)
{
	const char *at = strchr(e->key, '@');

	return slice_of(at != NULL ? at + 1 : "");
}

static char *
key_of(struct slice topic, struct slice group)
{
	return xasprintf("%.*s@%.*s", (int)topic.n, topic.p, (int)group.n, group.p);
}

static struct entry *
find_entry(const struct pop_order *o, const char *key)
{
	struct entry *e = NULL;

	HASH_FIND_STR(o->entries, key, e);
	return e;
}

static struct queue *
find(const struct pop_order *o, struct slice topic, struct slice group, int32_t id)
{
	char *key = key_of(topic, group);
	struct entry *e = find_entry(o, key);
	struct queue *q = e != NULL ? e->queues : NULL;

	free(key);
	while (q != NULL && q->id != id)
		q = q->next;
	return q;
}

static struct queue *
find_or_make(struct pop_order *o, const char *key, int32_t id)
{
	struct entry *e = find_entry(o, key);
	struct queue *q;

	if (e == NULL) {
		e = xcalloc(1, sizeof(*e));
		e->key = xstrdup(key);
		TABLE_ADD(o->entries, key, e);
	}
	for (q = e->queues; q != NULL; q = q->next)
		if (q->id == id)
			return q;
	q = xcalloc(1, sizeof(*q));
	q->entry = e;
	q->id = id;
	q->next = e->queues;
	e->queues = q;
	o->count++;
	return q;
}

static void
remove_queue(struct pop_order *o, struct queue *q)
{
	struct queue **at = &q->entry->queues;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	heap_remove(&o->blocked, &q->free_at);
	free(q);
	o->count--;
}

static void
remove_entry(struct pop_order *o, struct entry *e)
{
	while (e->queues != NULL)
		remove_queue(o, e->queues);
	HASH_DEL(o->entries, e);
	free(e->key);
	free(e);
}

/* ---- a batch */

static bool
is_acked(const struct pop_order_batch *b, unsigned i)
{
	return b->acked >> i & 1;
}

static int64_t
visible_at(const struct pop_order_batch *b, unsigned i)
{
	int64_t at;

	if (b->visible_ms[i] >= 0)
		return b->visible_ms[i];
	return __builtin_add_overflow(b->pop_ms, b->invisible_ms, &at) ? INT64_MAX : at;
}

/* Until then something of it is invisible; 0: all is acked. */
static int64_t
blocked_until(const struct pop_order_batch *b)
{
	int64_t last = 0;

	for (unsigned i = 0; i < b->count; i++)
		if (!is_acked(b, i))
			last = MAX_OF(last, visible_at(b, i));
	return last;
}

static int
index_of(const struct pop_order_batch *b, int64_t offset)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->offset[i] == offset)
			return (int)i;
	return -1;
}

static int64_t
next_offset(const struct pop_order_batch *b)
{
	for (unsigned i = 0; i < b->count; i++)
		if (!is_acked(b, i))
			return b->offset[i];
	return b->offset[b->count - 1] + 1;
}

static void
follow_block(struct pop_order *o, struct queue *q)
{
	int64_t until = blocked_until(&q->batch);

	if (until > 0)
		heap_set(&o->blocked, &q->free_at, until);
	else
		heap_remove(&o->blocked, &q->free_at);
}

/* ---- what consumers do */

bool
pop_order_blocked(struct pop_order *o, struct slice topic, struct slice group, int32_t id, struct slice attempt,
		  int64_t invisible_ms, int64_t now)
{
	struct queue *q = find(o, topic, group, id);

	if (q == NULL || q->batch.count == 0)
		return false;
	if (q->batch.attempt[0] != '\0' && slice_is(attempt, q->batch.attempt))
		return false;
	if (q->batch.invisible_ms <= 0) {
		q->batch.invisible_ms = invisible_ms;
		follow_block(o, q);
	}
	return now < blocked_until(&q->batch);
}

/* How often each was delivered before; the same attempt is no new delivery. */
static void
count_times(struct pop_order_batch *b, const struct pop_order_batch *old)
{
	bool same = old->attempt[0] != '\0' && strcmp(old->attempt, b->attempt) == 0;

	for (unsigned i = 0; i < b->count; i++) {
		int at = index_of(old, b->offset[i]);

		if (at >= 0)
			b->times[i] = old->times[at] + !same;
	}
}

const struct pop_order_batch *
pop_order_popped(struct pop_order *o, struct slice topic, struct slice group, int32_t id, struct slice attempt,
		 int64_t pop_ms, int64_t invisible_ms, const int64_t *offset, unsigned count)
{
	char *key = key_of(topic, group);
	struct queue *q = find_or_make(o, key, id);
	struct pop_order_batch b = {.pop_ms = pop_ms, .invisible_ms = invisible_ms, .used_ms = pop_ms};

	free(key);
	b.count = MIN_OF(count, (unsigned)POP_ORDER_BATCH);
	memcpy(b.offset, offset, b.count * sizeof(b.offset[0]));
	memset(b.visible_ms, -1, sizeof(b.visible_ms));
	if (attempt.n > 0 && attempt.n <= POP_ORDER_ATTEMPT)
		memcpy(b.attempt, attempt.p, attempt.n);
	count_times(&b, &q->batch);
	q->batch = b;
	follow_block(o, q);
	return &q->batch;
}

static void
put_count(char flag, int32_t queue_id, int64_t offset, int32_t times, struct buf *out)
{
	if (out->len > 0)
		buf_put_char(out, ';');
	if (offset >= 0)
		buf_printf(out, "%c qo%d%%%lld %d", flag, queue_id, (long long)offset, times);
	else
		buf_printf(out, "%c %d %d", flag, queue_id, times);
}

void
pop_order_put_counts(const struct pop_order_batch *b, char flag, int32_t queue_id, struct buf *out)
{
	int32_t least = b->count > 0 ? b->times[0] : 0;

	for (unsigned i = 0; i < b->count; i++) {
		least = MIN_OF(least, b->times[i]);
		if (b->times[i] > 0)
			put_count(flag, queue_id, b->offset[i], b->times[i], out);
	}
	put_count(flag, queue_id, -1, least, out); /* for clients that know no count of single messages */
}

enum pop_order_ack
pop_order_ack(struct pop_order *o, struct slice topic, struct slice group, int32_t id, int64_t offset, int64_t pop_ms,
	      int64_t *next)
{
	struct queue *q = find(o, topic, group, id);
	int i;

	*next = offset + 1;
	if (q == NULL)
		return POP_ORDER_MOVE;
	if (q->batch.count == 0)
		return POP_ORDER_UNKNOWN;
	if (q->batch.pop_ms != pop_ms)
		return POP_ORDER_STALE;
	if ((i = index_of(&q->batch, offset)) < 0)
		return POP_ORDER_UNKNOWN;
	q->batch.acked |= UINT64_C(1) << i;
	follow_block(o, q);
	*next = next_offset(&q->batch);
	return POP_ORDER_MOVE;
}

int64_t
pop_order_next(const struct pop_order *o, struct slice topic, struct slice group, int32_t id)
{
	const struct queue *q = find(o, topic, group, id);

	return q != NULL && q->batch.count > 0 ? next_offset(&q->batch) : -1;
}

bool
pop_order_put_off(struct pop_order *o, struct slice topic, struct slice group, int32_t id, int64_t offset,
		  int64_t pop_ms, int64_t visible_ms)
{
	struct queue *q = find(o, topic, group, id);
	int i = q != NULL && q->batch.pop_ms == pop_ms ? index_of(&q->batch, offset) : -1;

	if (i < 0)
		return false;
	q->batch.visible_ms[i] = visible_ms;
	follow_block(o, q);
	return true;
}

/* ---- removal and time */

void
pop_order_clear(struct pop_order *o, struct slice topic, struct slice group, int32_t id)
{
	struct queue *q = find(o, topic, group, id);

	if (q != NULL)
		remove_queue(o, q);
}

void
pop_order_remove(struct pop_order *o, struct slice topic, struct slice group)
{
	struct entry *e, *tmp;

	HASH_ITER (hh, o->entries, e, tmp)
		if ((topic.n == 0 || slice_eq(topic, topic_of(e))) && (group.n == 0 || slice_eq(group, group_of(e))))
			remove_entry(o, e);
}

bool
pop_order_expire(struct pop_order *o, int64_t now)
{
	struct entry *e, *tmp;
	size_t before = o->count;

	HASH_ITER (hh, o->entries, e, tmp) {
		for (struct queue *q = e->queues, *next; q != NULL; q = next) {
			next = q->next;
			if (now - q->batch.used_ms > POP_ORDER_KEEP_MS)
				remove_queue(o, q);
		}
		if (e->queues == NULL)
			remove_entry(o, e);
	}
	return o->count != before;
}

int64_t
pop_order_next_free(const struct pop_order *o)
{
	const struct heap_node *first = heap_first(&o->blocked);

	return first != NULL ? first->key : -1;
}

void
pop_order_each_free(struct pop_order *o, int64_t now,
		    void (*free_now)(void *arg, struct slice topic, struct slice group, int32_t queue_id), void *arg)
{
	struct queue *q;

	while ((q = HEAP_ENTRY(heap_first(&o->blocked), struct queue, free_at)) != NULL && q->free_at.key <= now) {
		heap_remove(&o->blocked, &q->free_at);
		free_now(arg, topic_of(q->entry), group_of(q->entry), q->id);
	}
}

size_t
pop_order_count(const struct pop_order *o)
{
	return o->count;
}

void
pop_order_free(struct pop_order **op)
{
	struct entry *e, *tmp;

	if (*op == NULL)
		return;
	HASH_ITER (hh, (*op)->entries, e, tmp)
		remove_entry(*op, e);
	heap_free(&(*op)->blocked);
	free(*op);
	*op = NULL;
}

/* ---- as text */

static void
put_batch(const struct pop_order_batch *b, struct buf *out)
{
	const char *comma = "";

	buf_printf(out, "{\"cm\":%lld,\"i\":%lld,\"l\":%lld,\"o\":[", (long long)(int64_t)b->acked,
		   (long long)b->invisible_ms, (long long)b->used_ms);
	for (unsigned i = 0; i < b->count; i++) {
		buf_printf(out, i > 0 ? ",%lld" : "%lld", (long long)(b->offset[i] - (i > 0 ? b->offset[0] : 0)));
	}
	buf_put_str(out, "],\"oc\":{");
	for (unsigned i = 0; i < b->count; i++) {
		if (b->times[i] == 0)
			continue;
		buf_printf(out, "%s\"%lld\":%d", comma, (long long)b->offset[i], b->times[i]);
		comma = ",";
	}
	buf_put_str(out, "},\"ot\":{");
	comma = "";
	for (unsigned i = 0; i < b->count; i++) {
		if (b->visible_ms[i] < 0)
			continue;
		buf_printf(out, "%s\"%lld\":%lld", comma, (long long)b->offset[i], (long long)b->visible_ms[i]);
		comma = ",";
	}
	buf_printf(out, "},\"popTime\":%lld", (long long)b->pop_ms);
	if (b->attempt[0] != '\0') {
		buf_put_str(out, ",\"a\":");
		buf_put_json(out, slice_of(b->attempt));
	}
	buf_put_char(out, '}');
}

void
pop_order_put_json(const struct pop_order *o, struct buf *out)
{
	const struct entry *e;
	bool first = true;

	buf_put_str(out, "{\"table\":{");
	for (e = o->entries; e != NULL; e = e->hh.next) {
		if (!first)
			buf_put_char(out, ',');
		first = false;
		buf_put_json(out, slice_of(e->key));
		buf_put_str(out, ":{");
		for (const struct queue *q = e->queues; q != NULL; q = q->next) {
			buf_printf(out, "%s\"%d\":", q != e->queues ? "," : "", q->id);
			put_batch(&q->batch, out);
		}
		buf_put_char(out, '}');
	}
	buf_put_str(out, "}}");
}

/* The value of an offset in {"offset":value}; dflt if it is not there. */
static int64_t
by_offset(const json_t *o, int64_t offset, int64_t dflt)
{
	char key[24];

	snprintf(key, sizeof(key), "%lld", (long long)offset);
	return json_get_i64(o, key, dflt);
}

static bool
read_offsets(const json_t *list, struct pop_order_batch *b)
{
	size_t n = json_array_size(list);

	if (n == 0 || n > POP_ORDER_BATCH)
		return false;
	for (size_t i = 0; i < n; i++) {
		int64_t v = json_integer_value(json_array_get(list, i));

		if (v < 0 || v > INT64_MAX / 4)
			return false;
		b->offset[i] = v + (i > 0 ? b->offset[0] : 0);
	}
	b->count = (unsigned)n;
	return true;
}

static bool
read_batch(const json_t *v, struct pop_order_batch *b)
{
	const char *attempt = json_get_str(v, "a", "");

	*b = (struct pop_order_batch){.pop_ms = json_get_i64(v, "popTime", 0),
				      .invisible_ms = json_get_i64(v, "i", 0),
				      .used_ms = json_get_i64(v, "l", 0),
				      .acked = (uint64_t)json_get_i64(v, "cm", 0)};
	if (!read_offsets(json_object_get(v, "o"), b))
		return false;
	for (unsigned i = 0; i < b->count; i++) {
		b->times[i] = (int32_t)MIN_OF(by_offset(json_object_get(v, "oc"), b->offset[i], 0), (int64_t)INT32_MAX);
		b->visible_ms[i] = by_offset(json_object_get(v, "ot"), b->offset[i], -1);
	}
	if (strlen(attempt) <= POP_ORDER_ATTEMPT)
		memcpy(b->attempt, attempt, strlen(attempt));
	return true;
}

static void
read_queue(struct pop_order *o, const char *key, int32_t id, const json_t *v)
{
	struct pop_order_batch b;
	struct queue *q;

	if (id < 0 || strchr(key, '@') == NULL || !read_batch(v, &b))
		return;
	q = find_or_make(o, key, id);
	q->batch = b;
	follow_block(o, q);
}

void
pop_order_read_json(struct pop_order *o, const json_t *root)
{
	const char *key, *number;
	json_t *queues, *v;
	int32_t id;

	json_object_foreach (json_object_get(root, "table"), key, queues)
		json_object_foreach (queues, number, v)
			if (str_i32(slice_of(number), &id) == RC_OK)
				read_queue(o, key, id, v);
}

void
pop_order_put_entry(struct pop_order *o, struct slice topic, struct slice group, int32_t id, struct buf *out)
{
	const struct queue *q = find(o, topic, group, id);

	buf_put_str(out, "{\"t\":");
	buf_put_json(out, topic);
	buf_put_str(out, ",\"c\":");
	buf_put_json(out, group);
	buf_printf(out, ",\"q\":%d", id);
	if (q != NULL) {
		buf_put_str(out, ",\"v\":");
		put_batch(&q->batch, out);
	}
	buf_put_char(out, '}');
}

enum rc
pop_order_read_entry(struct pop_order *o, const json_t *entry)
{
	struct slice topic = slice_of(json_get_str(entry, "t", "")), group = slice_of(json_get_str(entry, "c", ""));
	int64_t id = json_get_i64(entry, "q", -1);
	const json_t *v = json_object_get(entry, "v");
	char *key;

	if (topic.n == 0 || group.n == 0 || memchr(topic.p, '@', topic.n) != NULL || id < 0 || id > INT32_MAX)
		return RC_BADDATA;
	key = key_of(topic, group);
	if (v != NULL)
		read_queue(o, key, (int32_t)id, v);
	else
		pop_order_clear(o, topic, group, (int32_t)id);
	free(key);
	return RC_OK;
}

/*
 * pop_state: which messages are popped and not acked. See pop_state.h.
 *
 * Runs in:    the broker process.
 * Must not:   know of files, connections or a clock: it is tested by itself, against a model, through crashes.
 */
#include "workers/broker/pop_state.h"

#include "common/mem.h"

#define BUCKETS_FIRST  1024
#define QUEUE_ID_LIMIT 65536 /* as in offsets.c: what is beyond has no stored offset either */
#define HASH_FACTOR    UINT64_C(0x9E3779B97F4A7C15)

TAILQ_HEAD(ck_list, pop_ck);

struct pop_state {
	struct pop_sub **subs; /* buckets; a power of two */
	size_t sub_buckets, sub_count;
	struct pop_ck **cks;
	size_t ck_buckets, ck_count;
	size_t messages;
	struct heap due;
	struct ck_list *by_offset; /* of each revive queue, ascending */
	int32_t revive_queues;
};

struct pop_state *
pop_state_new(int32_t revive_queues)
{
	struct pop_state *s = xcalloc(1, sizeof(*s));

	s->sub_buckets = s->ck_buckets = BUCKETS_FIRST;
	s->subs = xcalloc(s->sub_buckets, sizeof(s->subs[0]));
	s->cks = xcalloc(s->ck_buckets, sizeof(s->cks[0]));
	s->revive_queues = revive_queues;
	s->by_offset = xcalloc((size_t)revive_queues, sizeof(s->by_offset[0]));
	for (int32_t i = 0; i < revive_queues; i++)
		TAILQ_INIT(&s->by_offset[i]);
	return s;
}

/* ---- groups, topics and their queues */

static uint64_t
mix(uint64_t h, struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		h = (h ^ (unsigned char)text.p[i]) * UINT64_C(0x100000001B3);
	return h ^ h >> 29;
}

static uint64_t
sub_hash(struct slice topic, struct slice group)
{
	return mix(mix(UINT64_C(0xCBF29CE484222325), topic) + 1, group);
}

static struct pop_sub *
find_sub(const struct pop_state *s, struct slice topic, struct slice group)
{
	uint64_t hash = sub_hash(topic, group);
	struct pop_sub *it = s->subs[hash & (s->sub_buckets - 1)];

	while (it != NULL && (it->hash != hash || !slice_eq(it->topic, topic) || !slice_eq(it->group, group)))
		it = it->next;
	return it;
}

static void
grow_subs(struct pop_state *s)
{
	size_t count = s->sub_buckets * 2;
	struct pop_sub **to = xcalloc(count, sizeof(to[0]));

	for (size_t i = 0; i < s->sub_buckets; i++)
		for (struct pop_sub *it = s->subs[i], *next; it != NULL; it = next) {
			next = it->next;
			it->next = to[it->hash & (count - 1)];
			to[it->hash & (count - 1)] = it;
		}
	free(s->subs);
	s->subs = to;
	s->sub_buckets = count;
}

static struct slice
copy_text(struct slice text, char **room)
{
	char *to = *room;

	if (text.n > 0)
		memcpy(to, text.p, text.n);
	to[text.n] = '\0';
	*room += text.n + 1;
	return (struct slice){to, text.n};
}

static struct pop_sub *
make_sub(struct pop_state *s, struct slice topic, struct slice group)
{
	struct pop_sub *it = xcalloc(1, sizeof(*it) + topic.n + group.n + 2);
	char *room = (char *)(it + 1);
	struct pop_sub **at;

	if (s->sub_count >= s->sub_buckets)
		grow_subs(s);
	it->hash = sub_hash(topic, group);
	it->topic = copy_text(topic, &room);
	it->group = copy_text(group, &room);
	at = &s->subs[it->hash & (s->sub_buckets - 1)];
	it->next = *at;
	*at = it;
	s->sub_count++;
	return it;
}

static void
make_slots(struct pop_sub *sub, int32_t id)
{
	int32_t slots = sub->slots > 0 ? sub->slots : 8;

	while (slots <= id)
		slots *= 2;
	if (slots == sub->slots)
		return;
	sub->queues = xrealloc(sub->queues, (size_t)slots * sizeof(sub->queues[0]));
	for (int32_t i = sub->slots; i < slots; i++)
		sub->queues[i] = NULL;
	sub->slots = slots;
}

struct pop_queue *
pop_state_find_queue(const struct pop_state *s, struct slice topic, struct slice group, int32_t id)
{
	const struct pop_sub *sub = find_sub(s, topic, group);

	return sub != NULL && id >= 0 && id < sub->slots ? sub->queues[id] : NULL;
}

struct pop_queue *
pop_state_queue(struct pop_state *s, struct slice topic, struct slice group, int32_t id)
{
	struct pop_sub *sub = find_sub(s, topic, group);
	struct pop_queue *q;

	if (id < 0 || id >= QUEUE_ID_LIMIT)
		return NULL;
	if (sub == NULL)
		sub = make_sub(s, topic, group);
	make_slots(sub, id);
	if (sub->queues[id] != NULL)
		return sub->queues[id];
	q = xcalloc(1, sizeof(*q));
	*q = (struct pop_queue){.sub = sub, .id = id, .next = -1, .committed = -1};
	return sub->queues[id] = q;
}

static void
free_sub(struct pop_sub *sub)
{
	for (int32_t i = 0; i < sub->slots; i++)
		free(sub->queues[i]);
	free(sub->queues);
	free(sub);
}

/* ---- checkpoints */

static size_t
ck_bucket(const struct pop_state *s, const struct pop_queue *q, int64_t start, int64_t pop_ms)
{
	uint64_t h = (uint64_t)(uintptr_t)q * HASH_FACTOR;

	h = ((h ^ (uint64_t)start) + h / 65536) * HASH_FACTOR;
	h = (h ^ (uint64_t)pop_ms) * HASH_FACTOR;
	return (size_t)(h >> 20) & (s->ck_buckets - 1);
}

static void
link_ck(struct pop_state *s, struct pop_ck *ck)
{
	struct pop_ck **at = &s->cks[ck_bucket(s, ck->q, ck->start, ck->pop_ms)];

	ck->next = *at;
	*at = ck;
}

static void
grow_cks(struct pop_state *s)
{
	struct pop_ck **old = s->cks;
	size_t count = s->ck_buckets;

	s->ck_buckets *= 2;
	s->cks = xcalloc(s->ck_buckets, sizeof(s->cks[0]));
	for (size_t i = 0; i < count; i++)
		for (struct pop_ck *ck = old[i], *next; ck != NULL; ck = next) {
			next = ck->next;
			link_ck(s, ck);
		}
	free(old);
}

static void
unlink_ck(struct pop_state *s, struct pop_ck *ck)
{
	struct pop_ck **at = &s->cks[ck_bucket(s, ck->q, ck->start, ck->pop_ms)];

	while (*at != ck)
		at = &(*at)->next;
	*at = ck->next;
}

struct pop_ck *
pop_state_find(const struct pop_state *s, const struct pop_queue *q, int64_t start, int64_t pop_ms)
{
	struct pop_ck *ck = s->cks[ck_bucket(s, q, start, pop_ms)];

	while (ck != NULL && (ck->q != q || ck->start != start || ck->pop_ms != pop_ms))
		ck = ck->next;
	return ck;
}

uint32_t
pop_ck_all(const struct pop_ck *ck)
{
	return UINT32_MAX >> (POP_BATCH_MAX - ck->count);
}

/* Those that are in flight by this checkpoint. */
static unsigned
open_messages(const struct pop_ck *ck)
{
	return ck->count - (unsigned)__builtin_popcount(ck->acked);
}

static void
count_open(struct pop_state *s, struct pop_ck *ck, int sign)
{
	int64_t n = sign * (int64_t)open_messages(ck);

	ck->q->in_flight += n;
	s->messages = (size_t)((int64_t)s->messages + n);
}

/* New ones mostly come to the end. */
static void
link_by_offset(struct pop_state *s, struct pop_ck *ck)
{
	struct ck_list *list = &s->by_offset[ck->revive_queue];
	struct pop_ck *before = TAILQ_LAST(list, ck_list);

	while (before != NULL && before->revive_offset > ck->revive_offset)
		before = TAILQ_PREV(before, ck_list, by_offset);
	if (before != NULL)
		TAILQ_INSERT_AFTER(list, before, ck, by_offset);
	else
		TAILQ_INSERT_HEAD(list, ck, by_offset);
}

static struct pop_ck *
make_ck(struct pop_state *s, struct pop_queue *q, int64_t start, int64_t pop_ms, unsigned count)
{
	struct pop_ck *ck = xcalloc(1, sizeof(*ck) + count * sizeof(ck->diff[0]));

	if (s->ck_count >= s->ck_buckets)
		grow_cks(s);
	ck->q = q;
	ck->start = start;
	ck->pop_ms = pop_ms;
	ck->count = (uint8_t)count;
	link_ck(s, ck);
	s->ck_count++;
	return ck;
}

static void
end_ck(struct pop_state *s, struct pop_ck *ck)
{
	count_open(s, ck, -1);
	unlink_ck(s, ck);
	heap_remove(&s->due, &ck->due);
	if (ck->state != POP_CK_STAGED)
		TAILQ_REMOVE(&s->by_offset[ck->revive_queue], ck, by_offset);
	s->ck_count--;
	free(ck);
}

static int64_t
due_ms(const struct pop_ck *ck)
{
	int64_t at;

	if (__builtin_add_overflow(ck->pop_ms, ck->invisible_ms, &at) || at > POP_DUE_MAX)
		return POP_DUE_MAX;
	return at + (ck->foreign ? POP_FOREIGN_MS : 0);
}

static void
begin_waiting(struct pop_state *s, struct pop_ck *ck, int64_t revive_offset)
{
	ck->state = POP_CK_WAITS;
	ck->revive_offset = revive_offset;
	link_by_offset(s, ck);
	heap_set(&s->due, &ck->due, due_ms(ck));
}

/* ---- pop, ack, time */

struct pop_ck *
pop_state_stage(struct pop_state *s, const struct pop_batch *b, int64_t taken_to)
{
	struct pop_ck *ck;

	ensure(b->count >= 1 && b->count <= POP_BATCH_MAX && b->revive_queue >= 0 &&
	       b->revive_queue < s->revive_queues);
	ck = make_ck(s, b->q, b->start, b->pop_ms, b->count);
	ck->invisible_ms = b->invisible_ms;
	ck->revive_queue = b->revive_queue;
	ck->state = POP_CK_STAGED;
	for (unsigned i = 0; i < b->count; i++)
		ck->diff[i] = (int32_t)(b->offset[i] - b->start);
	ck->taken = taken_to >= 0;
	if (ck->taken)
		b->q->next = taken_to;
	count_open(s, ck, 1);
	return ck;
}

void
pop_state_stored(struct pop_state *s, struct pop_ck *ck, int64_t revive_offset)
{
	begin_waiting(s, ck, revive_offset);
}

void
pop_state_refused(struct pop_state *s, struct pop_ck *ck)
{
	if (ck->taken && ck->q->next > ck->start)
		ck->q->next = ck->start;
	end_ck(s, ck);
}

int
pop_ck_index(const struct pop_ck *ck, int64_t offset)
{
	for (int i = 0; i < ck->count; i++)
		if (ck->start + ck->diff[i] == offset)
			return i;
	return -1;
}

bool
pop_state_done(struct pop_state *s, struct pop_ck *ck, uint32_t bits)
{
	count_open(s, ck, -1);
	ck->acked |= bits & pop_ck_all(ck);
	count_open(s, ck, 1);
	if (ck->acked != pop_ck_all(ck) || ck->state == POP_CK_REVIVING)
		return false;
	end_ck(s, ck);
	return true;
}

struct pop_ck *
pop_state_take_due(struct pop_state *s, int64_t now)
{
	struct pop_ck *ck = HEAP_ENTRY(heap_first(&s->due), struct pop_ck, due);

	if (ck == NULL || ck->due.key > now)
		return NULL;
	heap_remove(&s->due, &ck->due);
	ck->state = POP_CK_REVIVING;
	return ck;
}

void
pop_state_revived(struct pop_state *s, struct pop_ck *ck, uint32_t bits, int64_t again_ms)
{
	ck->state = POP_CK_WAITS;
	if (!pop_state_done(s, ck, bits))
		heap_set(&s->due, &ck->due, again_ms);
}

int64_t
pop_state_next_due(const struct pop_state *s)
{
	const struct heap_node *first = heap_first(&s->due);

	return first != NULL ? first->key : -1;
}

/* ---- the log */

static bool
is_sound(const struct pop_state *s, const struct pop_record_ck *r)
{
	if (r->count < 1 || r->count > POP_BATCH_MAX || r->revive_queue < 0 || r->revive_queue >= s->revive_queues)
		return false;
	if (r->start < 0 || r->start > INT64_MAX / 2 || r->topic.n == 0 || r->group.n == 0)
		return false;
	for (unsigned i = 0; i < r->count; i++)
		if (r->diff[i] < (i == 0 ? 0 : r->diff[i - 1] + 1))
			return false;
	return true;
}

static void
read_move(struct pop_state *s, struct pop_queue *q, const struct pop_record_ck *r)
{
	if (r->from_start >= 0)
		pop_state_read_ack(s, q, r->from_start, r->from_ms, r->start + r->diff[0]);
}

static struct pop_ck *
ck_of_record(struct pop_state *s, struct pop_queue *q, const struct pop_record_ck *r)
{
	struct pop_ck *ck = make_ck(s, q, r->start, r->pop_ms, r->count);

	ck->invisible_ms = r->invisible_ms;
	ck->revive_queue = r->revive_queue;
	ck->foreign = r->foreign;
	ck->from_log = true;
	memcpy(ck->diff, r->diff, r->count * sizeof(r->diff[0]));
	count_open(s, ck, 1);
	begin_waiting(s, ck, r->revive_offset);
	return ck;
}

enum rc
pop_state_read_ck(struct pop_state *s, const struct pop_record_ck *r)
{
	struct pop_queue *q = is_sound(s, r) ? pop_state_queue(s, r->topic, r->group, r->queue_id) : NULL;
	struct pop_ck *ck;

	if (q == NULL)
		return RC_INVAL;
	if (r->raises && r->from_start < 0)
		q->next = MAX_OF(q->next, r->start + r->diff[r->count - 1] + 1);
	read_move(s, q, r);
	ck = pop_state_find(s, q, r->start, r->pop_ms);
	if (ck == NULL)
		ck = ck_of_record(s, q, r);
	else if (ck->state == POP_CK_STAGED)
		return RC_INVAL;
	else if (ck->count == r->count && ck->revive_queue == r->revive_queue)
		pop_state_moved(s, ck, r->revive_offset);
	(void)pop_state_done(s, ck, r->acked); /* of one that was written anew */
	return RC_OK;
}

void
pop_state_read_ack(struct pop_state *s, const struct pop_queue *q, int64_t start, int64_t pop_ms, int64_t offset)
{
	struct pop_ck *ck = pop_state_find(s, q, start, pop_ms);
	int i = ck != NULL ? pop_ck_index(ck, offset) : -1;

	if (i >= 0)
		(void)pop_state_done(s, ck, UINT32_C(1) << i);
}

void
pop_state_moved(struct pop_state *s, struct pop_ck *ck, int64_t revive_offset)
{
	TAILQ_REMOVE(&s->by_offset[ck->revive_queue], ck, by_offset);
	ck->revive_offset = revive_offset;
	link_by_offset(s, ck);
}

struct pop_ck *
pop_state_oldest(const struct pop_state *s, int32_t revive_queue)
{
	return TAILQ_FIRST(&s->by_offset[revive_queue]);
}

int64_t
pop_state_low(const struct pop_state *s, int32_t revive_queue, int64_t read_to)
{
	const struct pop_ck *ck = pop_state_oldest(s, revive_queue);

	return ck != NULL ? MIN_OF(ck->revive_offset, read_to) : read_to;
}

/* ---- facts */

void
pop_state_facts(const struct pop_state *s, struct pop_facts *f)
{
	*f = (struct pop_facts){.checkpoints = s->ck_count, .messages = s->messages, .subs = s->sub_count};
}

void
pop_state_free(struct pop_state **sp)
{
	struct pop_state *s = *sp;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->ck_buckets; i++)
		for (struct pop_ck *ck = s->cks[i], *next; ck != NULL; ck = next) {
			next = ck->next;
			free(ck);
		}
	for (size_t i = 0; i < s->sub_buckets; i++)
		for (struct pop_sub *it = s->subs[i], *next; it != NULL; it = next) {
			next = it->next;
			free_sub(it);
		}
	heap_free(&s->due);
	free(s->subs);
	free(s->cks);
	free(s->by_offset);
	free(s);
	*sp = NULL;
}

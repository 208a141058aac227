/*
 * offsets: how far each group has consumed each queue.
 *
 * Runs in:    the broker process.
 * Owns:       config/consumerOffset.json.
 * If it dies: what was committed since the last write (flushConsumerOffsetInterval) is consumed again.
 *
 * A pull commits an offset each time, so the way to an entry builds no text: the hash runs over group and topic as they
 * stand in the request, and the entry has its queues in an array.
 */
#include "workers/broker/offsets.h"

#include "common/clock.h"
#include "workers/broker/offsets_int.h"

#define QUEUE_ID_LIMIT	65536	/* beyond it nothing is kept: the array would grow at a peer's will */
#define BUCKETS_FIRST	256

/* ---- the table */

static uint64_t
mix(uint64_t h, struct slice s)
{
	uint64_t word;

	while (s.n >= 8) {
		memcpy(&word, s.p, 8);
		h = (h ^ word) * 0x9E3779B97F4A7C15u;
		h ^= h >> 32;
		s.p += 8;
		s.n -= 8;
	}
	word = (uint64_t)s.n << 56;
	memcpy(&word, s.p, s.n);
	h = (h ^ word) * 0x9E3779B97F4A7C15u;
	return h ^ h >> 29;
}

static uint64_t
hash_of(struct slice group, struct slice topic)
{
	return mix(mix(0x243F6A8885A308D3u, group), topic);
}

static bool
is_entry(const struct offset_entry *e, uint64_t hash, struct slice group, struct slice topic)
{
	return e->hash == hash && e->group_len == group.n && e->topic_len == topic.n && memcmp(e->group, group.p, group.n) == 0 &&
	    memcmp(e->topic, topic.p, topic.n) == 0;
}

struct offset_entry *
offsets_find(const struct offsets *o, struct slice group, struct slice topic)
{
	uint64_t hash;
	struct offset_entry *e;

	if (group.n == 0 || topic.n == 0)
		return NULL;
	hash = hash_of(group, topic);
	for (e = o->buckets[hash & (o->bucket_count - 1)]; e != NULL; e = e->next)
		if (is_entry(e, hash, group, topic))
			return e;
	return NULL;
}

static void
grow_table(struct offsets *o)
{
	size_t count = o->bucket_count * 2;
	struct offset_entry **buckets = xcalloc(count, sizeof *buckets);

	for (size_t i = 0; i < o->bucket_count; i++) {
		for (struct offset_entry *e = o->buckets[i], *next; e != NULL; e = next) {
			struct offset_entry **at = &buckets[e->hash & (count - 1)];

			next = e->next;
			e->next = *at;
			*at = e;
		}
	}
	free(o->buckets);
	o->buckets = buckets;
	o->bucket_count = count;
}

static struct offset_entry *
find_or_make(struct offsets *o, struct slice group, struct slice topic)
{
	struct offset_entry *e = offsets_find(o, group, topic);
	struct offset_entry **at;

	if (LIKELY(e != NULL) || group.n == 0 || topic.n == 0)
		return e;
	if (o->entries >= o->bucket_count)
		grow_table(o);
	e = xcalloc(1, sizeof *e);
	e->hash = hash_of(group, topic);
	e->group = xslicedup(group);
	e->topic = xslicedup(topic);
	e->group_len = group.n;
	e->topic_len = topic.n;
	at = &o->buckets[e->hash & (o->bucket_count - 1)];
	e->next = *at;
	*at = e;
	o->entries++;
	e->changed = o->clock;
	e->older = o->newest;
	if (o->newest != NULL)
		o->newest->newer = e;
	else
		o->oldest = e;
	o->newest = e;
	return e;
}

static void
unlink_entry(struct offsets *o, struct offset_entry *e)
{
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		o->newest = e->older;
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		o->oldest = e->newer;
	e->newer = e->older = NULL;
}

/* It goes to the front of the list: what a slave is to be told stands together there. */
static void
note_change(struct offsets *o, struct offset_entry *e)
{
	e->changed = ++o->clock;
	if (LIKELY(o->newest == e))
		return;
	unlink_entry(o, e);
	e->older = o->newest;
	o->newest->newer = e;
	o->newest = e;
}

static void
entry_free(struct offset_entry *e)
{
	free(e->group);
	free(e->topic);
	free(e->offset);
	free(e->pulled);
	free(e->reset);
	free(e->back);
	free(e->own);
	free(e);
}

int64_t *
offsets_grow_array(int64_t *a, int32_t from, int32_t to)
{
	a = xrealloc(a, (size_t)to * sizeof *a);
	for (int32_t i = from; i < to; i++)
		a[i] = -1;
	return a;
}

/* True: the entry has a place for that queue. */
static bool
make_room(struct offset_entry *e, int32_t id)
{
	int32_t slots = e->slots > 0 ? e->slots : 8;

	if (id < 0 || id >= QUEUE_ID_LIMIT)
		return false;
	if (LIKELY(id < e->slots))
		return true;
	while (slots <= id)
		slots *= 2;
	e->offset = offsets_grow_array(e->offset, e->slots, slots);
	e->pulled = offsets_grow_array(e->pulled, e->slots, slots);
	if (e->reset != NULL)
		e->reset = offsets_grow_array(e->reset, e->slots, slots);
	if (e->back != NULL)
		e->back = offsets_grow_array(e->back, e->slots, slots);
	if (e->own != NULL)
		e->own = offsets_grow_array(e->own, e->slots, slots);
	e->slots = slots;
	return true;
}

void
offsets_store(struct offsets *o, struct offset_entry *e, int32_t id, int64_t offset)
{
	if (e->offset[id] == offset)
		return;
	e->stored += (offset >= 0) - (e->offset[id] >= 0);
	note_change(o, e);
	if (UNLIKELY(offset < e->offset[id])) {
		if (e->back == NULL)
			e->back = offsets_grow_array(NULL, 0, e->slots);
		e->back[id] = (int64_t)e->changed;
	}
	e->offset[id] = offset;
	cfgfile_changed(o->file);
}

/* ---- file */

void
offsets_put_entry(const struct offset_entry *e, const int64_t *of, int64_t above, struct buf *out)
{
	bool first = true;

	buf_put_char(out, '"');
	buf_put(out, e->topic, e->topic_len);
	buf_put_char(out, '@');
	buf_put(out, e->group, e->group_len);
	buf_put_str(out, "\":{");
	for (int32_t i = 0; i < e->slots; i++) {
		if (of[i] <= above)
			continue;
		buf_put_str(out, first ? "\"" : ",\"");
		buf_put_i64(out, i);
		buf_put_str(out, "\":");
		buf_put_i64(out, e->offset[i]);
		first = false;
	}
	buf_put_char(out, '}');
}

void
offsets_put_json(struct offsets *o, struct buf *out)
{
	bool first = true;

	buf_put_str(out, "{\"dataVersion\":");
	data_version_put_json(&o->version, out);
	buf_put_str(out, ",\"offsetTable\":{");
	for (size_t i = 0; i < o->bucket_count; i++) {
		for (const struct offset_entry *e = o->buckets[i]; e != NULL; e = e->next) {
			if (e->stored == 0)
				continue;
			if (!first)
				buf_put_char(out, ',');
			first = false;
			offsets_put_entry(e, e->offset, -1, out);
		}
	}
	buf_put_char(out, '}');
	offsets_put_log_mark(o, out);
	buf_put_char(out, '}');
}

/* A slave has none of its own: it keeps its master's. */
void
offsets_put_log_mark(const struct offsets *o, struct buf *out)
{
	int64_t mark = o->mark != NULL ? o->mark(o->mark_arg) : o->loaded_mark;

	if (o->mark != NULL || mark > 0)
		buf_printf(out, ",\"popLogOffset\":%lld", (long long)mark);
}

void
offsets_set_log_mark(struct offsets *o, int64_t (*mark)(void *arg), void *arg)
{
	o->mark = mark;
	o->mark_arg = arg;
}

int64_t
offsets_log_mark(const struct offsets *o)
{
	return o->loaded_mark;
}

static void
put_file(void *arg, struct buf *out)
{
	struct offsets *o = arg;

	data_version_next(&o->version);
	offsets_put_json(o, out);
	buf_put_char(out, '\n');
}

/* Names of an entry go into JSON as they are: none that would need escapes gets in. */
bool
offsets_plain_names(struct slice group, struct slice topic)
{
	return group.n <= 255 && topic.n <= 255 && topic_name_alphabet(group) && topic_name_alphabet(topic);
}

/*
 * A power cut may take the log's end and leave offsets that lie in it. New messages get these places again: a group that went on from
 * its old offset would pass over them. A slave's offsets are its master's, whose messages come yet.
 */
static int64_t
kept_offset(struct offsets *o, struct slice topic, int32_t id, int64_t offset)
{
	struct store *s = o->b->store;
	struct store_queue *q;
	int64_t max;

	if (s == NULL || !store_may_have_lost_tail(s) || !broker_is_master(o->b))
		return offset;
	q = store_queue_find(s, topic, id);
	max = q != NULL ? queue_max(q) : INT64_MAX; /* nothing was ever sent there: an operator's */
	if (offset <= max)
		return offset;
	log_warn("an offset of topic %.*s queue %d is %lld, but the queue ends at %lld since the machine went down: it is taken back",
		 (int)topic.n, topic.p, id, (long long)offset, (long long)max);
	return max;
}

static void
read_queues(struct offsets *o, struct slice group, struct slice topic, json_t *queues)
{
	struct offset_entry *e = find_or_make(o, group, topic);
	const char *key;
	json_t *v;

	json_object_foreach(queues, key, v) {
		int32_t id;

		if (e == NULL || str_i32(slice_of(key), &id) != RC_OK || !json_is_integer(v) || json_integer_value(v) < 0)
			continue;
		if (!make_room(e, id))
			continue;
		e->stored += e->offset[id] < 0;
		e->offset[id] = kept_offset(o, topic, id, json_integer_value(v));
	}
}

bool
offsets_read_key(const char *key, struct slice *group, struct slice *topic)
{
	const char *at = strchr(key, '@');

	if (at == NULL)
		return false;
	*topic = (struct slice){key, (size_t)(at - key)};
	*group = slice_of(at + 1);
	return offsets_plain_names(*group, *topic);
}

static void
read_table(struct offsets *o, json_t *table)
{
	struct slice topic, group;
	const char *key;
	json_t *queues;

	json_object_foreach(table, key, queues) {
		if (offsets_read_key(key, &group, &topic))
			read_queues(o, group, topic, queues);
		else
			log_warn("%s: the offsets of %s are left out: no such name can be", cfgfile_path(o->file), key);
	}
}

/* ---- life */

struct offsets *
offsets_new(struct broker *b)
{
	struct offsets *o = xcalloc(1, sizeof *o);

	o->b = b;
	o->file = cfgfile_new(b, "consumerOffset.json", &b->conf->flushConsumerOffsetInterval, put_file, o);
	o->bucket_count = BUCKETS_FIRST;
	o->buckets = xcalloc(o->bucket_count, sizeof(struct offset_entry *));
	o->version.timestamp = clock_wall_ms();
	o->clock = 1; /* 0 is a slave that knows nothing */
	return o;
}

enum rc
offsets_load(struct offsets *o, struct err *e)
{
	json_t *root = NULL;
	enum rc rc = json_load_config(cfgfile_path(o->file), &root, e);

	if (rc == RC_NOTFOUND)
		return RC_OK;
	if (rc != RC_OK)
		return rc;
	data_version_read(&o->version, json_object_get(root, "dataVersion"));
	read_table(o, json_object_get(root, "offsetTable"));
	o->loaded_mark = json_get_i64(root, "popLogOffset", -1);
	json_decref(root);
	return RC_OK;
}

enum rc
offsets_save(struct offsets *o, struct err *e)
{
	return cfgfile_save_changes(o->file, e);
}

void
offsets_free(struct offsets **op)
{
	struct offsets *o = *op;

	if (o == NULL)
		return;
	cfgfile_free(&o->file);
	offsets_forget_gone(o);
	for (size_t i = 0; i < o->bucket_count; i++) {
		for (struct offset_entry *e = o->buckets[i], *next; e != NULL; e = next) {
			next = e->next;
			entry_free(e);
		}
	}
	free(o->buckets);
	free(o);
	*op = NULL;
}

/* ---- offsets */

int64_t
offset_get(struct offsets *o, struct slice group, struct slice topic, int32_t id)
{
	const struct offset_entry *e = offsets_find(o, group, topic);

	return e != NULL && id >= 0 && id < e->slots ? e->offset[id] : -1;
}

/* The entry with a place for that queue; NULL: nothing is kept for such names or numbers. */
struct offset_entry *
offsets_place(struct offsets *o, struct slice group, struct slice topic, int32_t id)
{
	struct offset_entry *e = offsets_find(o, group, topic);

	if (UNLIKELY(e == NULL) && offsets_plain_names(group, topic) && id >= 0 && id < QUEUE_ID_LIMIT)
		e = find_or_make(o, group, topic);
	return e != NULL && make_room(e, id) ? e : NULL;
}

bool
offset_commit(struct offsets *o, const char *who, struct slice group, struct slice topic, int32_t id, int64_t offset)
{
	struct offset_entry *e = offsets_place(o, group, topic, id);

	if (e == NULL || offset < 0)
		return true;
	if (UNLIKELY(e->reset != NULL && e->reset[id] >= 0))
		return false;
	if (UNLIKELY(offset < e->offset[id]))
		log_debug("%s moves %s of topic %s queue %d back from %lld to %lld", who, e->group, e->topic, id,
		    (long long)e->offset[id], (long long)offset);
	offsets_store(o, e, id, offset);
	if (UNLIKELY(!broker_is_master(o->b)))
		offsets_note_own(o, e, id);
	return true;
}

void
offset_reset(struct offsets *o, struct slice group, struct slice topic, int32_t id, int64_t offset)
{
	struct offset_entry *e = offsets_place(o, group, topic, id);

	if (e == NULL || offset < 0)
		return;
	if (e->reset == NULL)
		e->reset = offsets_grow_array(NULL, 0, e->slots);
	o->resets += e->reset[id] < 0;
	o->resets_at = ++o->clock;
	e->reset[id] = offset;
	offsets_store(o, e, id, offset);
	log_info("group %s: topic %s queue %d is reset to offset %lld", e->group, e->topic, id, (long long)offset);
}

int64_t
offset_take_reset(struct offsets *o, struct slice group, struct slice topic, int32_t id)
{
	struct offset_entry *e;
	int64_t offset;

	if (LIKELY(o->resets == 0))
		return -1;
	e = offsets_find(o, group, topic);
	if (e == NULL || e->reset == NULL || id < 0 || id >= e->slots || e->reset[id] < 0)
		return -1;
	offset = e->reset[id];
	e->reset[id] = -1;
	o->resets--;
	o->resets_at = ++o->clock;
	return offset;
}

void
offset_note_pull(struct offsets *o, struct slice group, struct slice topic, int32_t id, int64_t offset)
{
	struct offset_entry *e = offsets_place(o, group, topic, id);

	if (e != NULL)
		e->pulled[id] = offset;
}

int64_t
offset_last_pull(struct offsets *o, struct slice group, struct slice topic, int32_t id)
{
	const struct offset_entry *e = offsets_find(o, group, topic);

	return e != NULL && id >= 0 && id < e->slots ? e->pulled[id] : -1;
}

/* ---- all of a kind */

static bool
next_entry(const struct offsets *o, size_t *bucket, const struct offset_entry **e)
{
	if (*e != NULL)
		*e = (*e)->next;
	while (*e == NULL && *bucket < o->bucket_count)
		*e = o->buckets[(*bucket)++];
	return *e != NULL;
}

static struct slice
group_of(const struct offset_entry *e)
{
	return (struct slice){e->group, e->group_len};
}

static struct slice
topic_of(const struct offset_entry *e)
{
	return (struct slice){e->topic, e->topic_len};
}

void
offsets_each_topic_of(struct offsets *o, struct slice group, void (*each)(void *arg, struct slice topic), void *arg)
{
	const struct offset_entry *e = NULL;
	size_t bucket = 0;

	while (next_entry(o, &bucket, &e))
		if (e->stored > 0 && slice_eq(group_of(e), group))
			each(arg, topic_of(e));
}

void
offsets_each_group_of(struct offsets *o, struct slice topic, void (*each)(void *arg, struct slice group), void *arg)
{
	const struct offset_entry *e = NULL;
	size_t bucket = 0;

	while (next_entry(o, &bucket, &e))
		if (e->stored > 0 && slice_eq(topic_of(e), topic))
			each(arg, group_of(e));
}

void
offsets_each_group(struct offsets *o, void (*each)(void *arg, struct slice group), void *arg)
{
	json_t *seen = json_object();
	const struct offset_entry *e = NULL;
	size_t bucket = 0;

	while (next_entry(o, &bucket, &e)) {
		if (e->stored == 0 || json_object_get(seen, e->group) != NULL)
			continue;
		json_object_set_new(seen, e->group, json_true());
		each(arg, group_of(e));
	}
	json_decref(seen);
}

void
offsets_clone(struct offsets *o, struct slice src, struct slice dest, struct slice topic)
{
	const struct offset_entry *from = offsets_find(o, src, topic);
	struct offset_entry *to;

	if (from == NULL || from->stored == 0 || slice_eq(src, dest) || !offsets_plain_names(dest, topic))
		return;
	to = find_or_make(o, dest, topic);
	if (to == NULL || !make_room(to, from->slots - 1))
		return;
	for (int32_t i = 0; i < to->slots; i++)
		offsets_store(o, to, i, i < from->slots ? from->offset[i] : -1);
}

static void
remove_matching(struct offsets *o, struct slice group, struct slice topic)
{
	for (size_t i = 0; i < o->bucket_count; i++) {
		for (struct offset_entry **at = &o->buckets[i], *e; (e = *at) != NULL;) {
			if ((group.n > 0 && !slice_eq(group_of(e), group)) || (topic.n > 0 && !slice_eq(topic_of(e), topic))) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			for (int32_t q = 0; e->reset != NULL && q < e->slots; q++)
				o->resets -= e->reset[q] >= 0;
			if (e->stored > 0)
				cfgfile_changed(o->file);
			o->entries--;
			unlink_entry(o, e);
			entry_free(e);
		}
	}
}

void
offsets_remove_topic(struct offsets *o, struct slice topic)
{
	if (topic.n == 0)
		return;
	remove_matching(o, SLICE_NONE, topic);
	offsets_note_gone(o, SLICE_NONE, topic);
}

void
offsets_remove_group(struct offsets *o, struct slice group)
{
	if (group.n == 0)
		return;
	remove_matching(o, group, SLICE_NONE);
	offsets_note_gone(o, group, SLICE_NONE);
}

/*
 * dispatch: from the log to consume queues and index.
 *
 * Runs in:    the broker, in the turn that appends and when flush or ha have moved.
 * Owns:       dispatched. Queues and index hold everything below it.
 * Must not:   skip a record: with no space it stands still and is tried again.
 * If it dies: units and entries beyond `dispatched` may be in the files; doing the same records again changes nothing.
 *
 * A step: read up to DISPATCH_STEP records, collect their units by queue, write one range per queue, put the keys, publish,
 * tell who waits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "store/store_int.h"

#define NO_LINK UINT32_MAX

void
dispatch_init(struct dispatch *d)
{
	*d = (struct dispatch){.last_record = -1};
	d->records = xcalloc(DISPATCH_STEP, sizeof(*d->records));
	d->queues = xcalloc(DISPATCH_STEP, sizeof(struct store_queue *));
	d->units = xcalloc(DISPATCH_STEP, sizeof(*d->units));
	d->links = xcalloc(DISPATCH_STEP, sizeof(*d->links));
	d->keys = xcalloc(DISPATCH_KEYS, sizeof(*d->keys));
}

void
dispatch_free(struct dispatch *d)
{
	free(d->records);
	free(d->queues);
	free(d->units);
	free(d->links);
	free(d->keys);
	*d = (struct dispatch){0};
}

/* ---- delayed messages: the code of their units is the time of delivery */

static int64_t
delay_unit_ms(char c)
{
	switch (c) {
	case 's':
		return 1000;
	case 'm':
		return 60 * 1000;
	case 'h':
		return 3600 * 1000;
	case 'd':
		return 24 * 3600 * 1000;
	default:
		return 0;
	}
}

void
dispatch_read_delays(struct store *s)
{
	struct slice rest = slice_of(s->conf->messageDelayLevel), word;

	s->delay_levels = 0;
	while (s->delay_levels < DELAY_LEVELS_MAX && str_next(&rest, ' ', &word)) {
		int64_t unit, n;

		if (word.n < 2)
			continue;
		unit = delay_unit_ms(word.p[word.n - 1]);
		word.n--;
		if (unit != 0 && str_i64(word, &n) == RC_OK && n >= 0 && n < INT64_C(1) << 32)
			s->delay_ms[++s->delay_levels] = n * unit;
	}
}

int
store_delay_levels(const struct store *s)
{
	return s->delay_levels;
}

int64_t
store_delay_ms(const struct store *s, int level)
{
	return level >= 1 && level <= s->delay_levels ? s->delay_ms[level] : 0;
}

static int64_t
tags_code_of(const struct store *s, const struct record *r, const struct cq_topic *topic)
{
	int32_t level;

	if (UNLIKELY(topic->delayed) && str_i32(r->delay, &level) == RC_OK && level > 0) {
		level = MIN_OF(level, s->delay_levels);
		return r->store_ms + (level > 0 ? s->delay_ms[level] : 1000);
	}
	return message_tags_code(r->tags);
}

/* ---- reading a step */

static bool
has_unit(const struct record *r)
{
	int32_t kind = r->sysflag & MSG_SYS_TRAN_MASK;

	return kind == 0 || kind == MSG_SYS_TRAN_COMMIT;
}

static void
add_key(struct dispatch *d, const struct record *r, uint32_t topic_hash, struct slice key)
{
	if (key.n == 0)
		return;
	ensure(d->key_count < DISPATCH_KEYS);
	d->keys[d->key_count++] = (struct index_key){index_hash(topic_hash, key), r->physical, r->store_ms};
}

/* Keys of one record: the unique one, then each word of KEYS. */
static void
collect_keys(struct store *s, const struct record *r, uint32_t topic_hash)
{
	struct dispatch *d = &s->dispatch;
	struct slice rest = r->keys, word;
	unsigned from = d->key_count;

	if ((r->sysflag & MSG_SYS_TRAN_MASK) == MSG_SYS_TRAN_ROLLBACK)
		return;
	add_key(d, r, topic_hash, r->uniq_key);
	while (str_next(&rest, ' ', &word))
		add_key(d, r, topic_hash, word);
	for (; from < d->key_count; from++)
		index_prefetch(&s->index, d->keys[from].hash);
}

static void
collect(struct store *s, unsigned i)
{
	struct dispatch *d = &s->dispatch;
	const struct record *r = &d->records[i];
	struct store_queue *q = NULL;
	uint32_t topic_hash;

	if (has_unit(r) && r->queue_offset >= 0 && cqtable_name_ok(r->topic))
		q = cqtable_get(&s->queues, r->topic, r->queue_id);
	d->queues[i] = q;
	if (q != NULL) {
		d->units[i] = (struct cq_unit){r->queue_offset, r->physical, tags_code_of(s, r, q->topic), (int32_t)r->size};
		d->links[i] = NO_LINK;
	}
	if (!s->conf->messageIndexEnable)
		return;
	topic_hash = q != NULL ? q->topic->index_hash : (uint32_t)str_java_hash(r->topic) * 31 + '#';
	collect_keys(s, r, topic_hash);
}

/* A record has at most so many keys as words, and half of its properties' bytes are spaces between them. */
static bool
keys_fit(const struct dispatch *d, const struct record *r)
{
	return d->key_count + 2 + (r->keys.n + 1) / 2 <= DISPATCH_KEYS;
}

/* Reads records from d->at on. *end: where the last one ends. RC_BADDATA: no record there although there should be one. */
static enum rc
read_step(struct store *s, int64_t limit, unsigned max, int64_t *end, struct err *e)
{
	struct dispatch *d = &s->dispatch;
	int64_t at = d->at;

	d->count = d->key_count = 0;
	while (at < limit && d->count < MIN_OF(max, (unsigned)DISPATCH_STEP)) {
		struct record *r = &d->records[d->count];
		size_t n;
		const char *p = commitlog_read(&s->log, at, &n);
		enum rc rc = p != NULL ? record_view(r, p, n, at, false) : RC_BADDATA;

		if (rc == RC_NOTFOUND) { /* filler */
			at = segs_start(&s->log.segs, at) + s->log.segs.file_bytes;
			continue;
		}
		if (rc == RC_OK && at + (int64_t)r->size <= limit) {
			if (d->count > 0 && !keys_fit(d, r))
				break;
			collect(s, d->count++);
			at += r->size;
			continue;
		}
		if (rc == RC_OK || d->count > 0)
			break;
		err_set(e, "no record at %" PRId64 " of the log in %s, which ends at %" PRId64
		    ": damaged; restart the broker to recover it", at, s->log.segs.dir, limit);
		return RC_BADDATA;
	}
	*end = at;
	return RC_OK;
}

/* ---- writing a step */

/* Queues of the step, each with its records in order. */
static struct store_queue *
group_by_queue(struct dispatch *d)
{
	struct store_queue *first = NULL, **tail = &first;

	for (uint32_t i = 0; i < d->count; i++) {
		struct store_queue *q = d->queues[i];

		if (q == NULL)
			continue;
		if (q->pend_count++ == 0) {
			q->pend_first = i;
			q->pend_link = NULL;
			*tail = q;
			tail = &q->pend_link;
		} else {
			d->links[q->pend_last] = i;
		}
		q->pend_last = i;
	}
	return first;
}

static enum rc
write_queue(struct store *s, struct store_queue *q, struct err *e)
{
	struct dispatch *d = &s->dispatch;
	struct cq_unit units[DISPATCH_STEP];
	bool was_clean = q->dirty_from == CQ_NONE;
	size_t n = 0;
	enum rc rc;

	for (uint32_t i = q->pend_first; n < q->pend_count; i = d->links[i])
		units[n++] = d->units[i];
	rc = cqueue_append(&s->files, q, units, n, e);
	if (was_clean && q->dirty_from != CQ_NONE)
		dirty_note(s, q);
	if (q->next < q->max)
		q->next = q->max; /* a slave, or recovery: nobody staged these */
	return rc;
}

static enum rc
write_queues(struct store *s, struct err *e)
{
	struct store_queue *q = group_by_queue(&s->dispatch);
	int err = fault_hit(FAULT_DISPATCH_QUEUE);
	enum rc rc = RC_OK;

	if (err != 0) {
		err_set(e, "dispatch: %s", strerror(err));
		rc = RC_FULL;
	}
	for (; q != NULL; q = q->pend_link) {
		if (rc == RC_OK)
			rc = write_queue(s, q, e);
		q->pend_count = 0;
	}
	return rc;
}

static void
tell_arrivals(struct store *s)
{
	struct dispatch *d = &s->dispatch;

	if (s->ops.on_arrival == NULL || !s->opened)
		return;
	for (unsigned i = 0; i < d->count; i++)
		if (d->queues[i] != NULL)
			s->ops.on_arrival(s->ops.arg, d->queues[i], d->units[i].tags_code, d->records[i].props);
}

static void
publish(struct store *s, int64_t end)
{
	struct dispatch *d = &s->dispatch;

	d->at = end;
	if (d->count > 0) {
		d->at_store_ms = d->records[d->count - 1].store_ms;
		d->last_record = d->records[d->count - 1].at;
	}
	pos_publish(&s->shm->broker.dispatched_store_ms, d->at_store_ms);
	pos_publish(&s->shm->broker.dispatched, end);
}

static enum rc
run_step(struct store *s, int64_t limit, unsigned max, struct err *e)
{
	struct dispatch *d = &s->dispatch;
	int64_t end = d->at;
	enum rc rc = read_step(s, limit, max, &end, e);

	if (rc != RC_OK)
		return rc;
	rc = write_queues(s, e);
	if (rc != RC_OK)
		return rc;
	fault_hit(FAULT_DISPATCH_INDEX);
	rc = index_put(&s->index, d->keys, d->key_count, e);
	if (rc != RC_OK)
		return rc;
	fault_hit(FAULT_DISPATCH_PUBLISH);
	publish(s, end);
	tell_arrivals(s);
	return RC_OK;
}

enum rc
dispatch_run(struct store *s, int64_t limit, unsigned max, struct err *e)
{
	struct dispatch *d = &s->dispatch;

	if (d->at < s->log.min) {
		log_warn("the log begins at %" PRId64 " now: what stood from %" PRId64 " on was removed before it was dispatched",
		    s->log.min, d->at);
		d->at = s->log.min;
	}
	while (d->at < limit && max > 0) {
		int64_t before = d->at;
		enum rc rc = run_step(s, limit, max, e);

		if (rc != RC_OK)
			return rc;
		if (d->at == before)
			break; /* the record at hand goes beyond the limit */
		max -= MIN_OF(max, MAX_OF(d->count, 1u));
	}
	return RC_OK;
}

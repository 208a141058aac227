/*
 * stage: a turn's messages: limits, queue offsets, encoding, and the write of all at once.
 *
 * Queue offsets are given when a message is staged, from the queue's own counter. If the write fails they are given back, so
 * a refused message leaves no gap. Prepared and rolled back messages of transactions have none: they say 0.
 */
#include <inttypes.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "store/store_int.h"

#define RECORD_EXTRA  (64 << 10) /* a record may be larger than maxMessageSize by this */
#define DISPATCH_MORE 1024	 /* records beyond the turn's own, when dispatch is behind */
#define RETRY_PREFIX  "%RETRY%"

const char *
store_refusal(const struct store *s)
{
	if (store_is_slave(s))
		return "the node is a slave: only its master takes messages";
	if (s->log.broken)
		return "a failed write to the log could not be taken back: restart the broker";
	if (atomic_load(&s->shm->flush.failed_errno) != 0)
		return "a sync of the log has failed: what was not synced may be lost, restart the broker when the disk is sound";
	if (atomic_load(&s->shm->clean.disk_full) != 0)
		return "the disk is full: free some space, or lower fileReservedTime or diskMaxUsedSpaceRatio";
	if (s->dispatch.damaged || UNLIKELY(s->dispatch.at < s->dispatch.owed))
		return s->dispatch.why;
	return NULL;
}

static bool
topic_fits(struct slice topic)
{
	return topic.n > 0 && topic.n <= (slice_starts(topic, RETRY_PREFIX) ? MSG_TOPIC_MAX_V2 : MSG_TOPIC_MAX);
}

static bool
message_fits(const struct store *s, const struct message *m)
{
	size_t most = (size_t)MAX_OF(s->conf->maxMessageSize, 0);

	return topic_fits(m->topic) && m->props[0].n + m->props[1].n + m->props[2].n <= MSG_PROPS_MAX && m->body.n <= most &&
	       message_size(m) <= most + RECORD_EXTRA;
}

static bool
takes_queue_offset(const struct message *m)
{
	int32_t kind = m->sysflag & MSG_SYS_TRAN_MASK;

	return kind == 0 || kind == MSG_SYS_TRAN_COMMIT;
}

/* The queue of this turn: its counter is noted before its first message. */
static struct store_queue *
turn_queue(struct store *s, const struct message *m)
{
	struct store_queue *q = cqtable_get(&s->queues, m->topic, m->queue_id);

	if (q->turn != s->turn) {
		q->turn = s->turn;
		q->turn_next = q->next;
		q->turn_link = s->turn_queues;
		s->turn_queues = q;
	}
	return q;
}

static void
begin_turn(struct store *s)
{
	if (s->turn_messages == 0)
		s->turn_ms = clock_wall_ms();
}

/* Puts m at `at` of the log, where `out` is. */
static void
put_message(struct store *s, struct message *m, struct store_queue *q, char *out, int64_t at, struct store_put_result *r)
{
	m->queue_offset = q != NULL ? q->next++ : 0;
	m->physical = at;
	m->store_ms = s->turn_ms;
	message_encode(m, out);
	*r = (struct store_put_result){at, m->queue_offset, at + (int64_t)message_size(m)};
	s->turn_messages++;
}

enum rc
store_stage(struct store *s, struct message *m, struct store_put_result *r)
{
	int64_t at;
	char *out;
	enum rc rc;

	if (UNLIKELY(store_refusal(s) != NULL))
		return RC_BUSY;
	if (UNLIKELY(!message_fits(s, m)))
		return RC_LIMIT;
	rc = commitlog_stage(&s->log, message_size(m), &out, &at);
	if (UNLIKELY(rc != RC_OK))
		return rc;
	begin_turn(s);
	put_message(s, m, takes_queue_offset(m) ? turn_queue(s, m) : NULL, out, at, r);
	return RC_OK;
}

static enum rc
batch_bytes(const struct store *s, const struct message *m, size_t n, size_t *all)
{
	*all = 0;
	for (size_t i = 0; i < n; i++) {
		if (!message_fits(s, &m[i]))
			return RC_LIMIT;
		*all += message_size(&m[i]);
	}
	return n > 0 ? RC_OK : RC_LIMIT;
}

enum rc
store_stage_batch(struct store *s, struct message *m, size_t n, struct store_put_result *r)
{
	struct store_queue *q;
	size_t all, size;
	int64_t at;
	char *out;
	enum rc rc;

	if (store_refusal(s) != NULL)
		return RC_BUSY;
	rc = batch_bytes(s, m, n, &all);
	if (rc == RC_OK)
		rc = commitlog_stage(&s->log, all, &out, &at);
	if (rc != RC_OK)
		return rc;
	begin_turn(s);
	q = takes_queue_offset(&m[0]) ? turn_queue(s, &m[0]) : NULL;
	for (size_t i = 0; i < n; i++) {
		size = message_size(&m[i]);
		put_message(s, &m[i], q, out, at, &r[i]);
		out += size;
		at += (int64_t)size;
	}
	return RC_OK;
}

bool
store_staged(const struct store *s)
{
	return s->turn_messages > 0;
}

bool
store_has_room(const struct store *s, size_t n)
{
	return commitlog_has_room(&s->log, n);
}

static void
give_back_offsets(struct store *s)
{
	for (struct store_queue *q = s->turn_queues; q != NULL; q = q->turn_link)
		q->next = q->turn_next;
}

static void
tell_roll(struct store *s)
{
	int64_t from = s->log.rolled_to;

	s->log.rolled_to = -1;
	if (from >= 0 && s->ops.on_roll != NULL)
		s->ops.on_roll(s->ops.arg, from);
}

static void
end_turn(struct store *s)
{
	commitlog_unstage(&s->log);
	s->turn_queues = NULL;
	s->turn_messages = 0;
	s->turn++;
}

enum rc
store_commit(struct store *s, struct err *e)
{
	unsigned messages = s->turn_messages;
	enum rc rc;

	if (messages == 0)
		return RC_OK;
	rc = commitlog_write(&s->log, e);
	if (rc == RC_OK) {
		/* In this order: flush reads the time first, so the time never runs ahead of what it syncs. */
		pos_publish(&s->shm->broker.appended, s->log.end);
		pos_publish(&s->shm->broker.appended_store_ms, s->turn_ms);
		fault_hit(FAULT_APPEND_AFTER_PUBLISH);
	} else {
		give_back_offsets(s);
	}
	end_turn(s);
	tell_roll(s);
	if (rc == RC_OK)
		(void)store_progress(s, messages + DISPATCH_MORE);
	return rc;
}

/* ---- positions */

int64_t
store_flushed_position(const struct store *s)
{
	return pos_read(&s->shm->flush.flushed);
}

enum broker_role
store_role(const struct store *s)
{
	return (enum broker_role)atomic_load_explicit(&s->shm->master.role, memory_order_relaxed);
}

bool
store_lacks_copies(const struct store *s)
{
	const struct shm_line_ha *ha = &s->shm->ha;

	return store_role(s) == ROLE_SYNC_MASTER &&
	    atomic_load_explicit(&ha->slaves_in_sync, memory_order_relaxed) + 1 <
	    atomic_load_explicit(&ha->needed, memory_order_relaxed);
}

static int64_t
flushed_if_needed(const struct store *s)
{
	if (s->conf->flushDiskType == FLUSH_SYNC && !store_is_slave(s))
		return MIN_OF(s->log.end, store_flushed_position(s));
	return s->log.end;
}

int64_t
store_safe_position(const struct store *s)
{
	int64_t safe = flushed_if_needed(s);

	return store_role(s) == ROLE_SYNC_MASTER ? MIN_OF(safe, pos_read(&s->shm->ha.replicated)) : safe;
}

/* Up to where consumers may see: what a producer was told, also that it is without a copy. */
static int64_t
visible_position(const struct store *s)
{
	return store_lacks_copies(s) ? flushed_if_needed(s) : store_safe_position(s);
}

/* Says once why dispatch stands still. */
static void
note_stuck(struct store *s, enum rc rc, const struct err *e)
{
	struct dispatch *d = &s->dispatch;

	if (!d->stuck)
		log_error("dispatch stands still at %" PRId64 ": %s", d->at, e->text);
	d->stuck = true;
	d->damaged = rc == RC_BADDATA && !store_is_slave(s);
	memcpy(d->why, e->text, sizeof(d->why) - 1);
}

static void
note_moving(struct store *s)
{
	if (s->dispatch.stuck)
		log_info("dispatch goes on at %" PRId64, s->dispatch.at);
	s->dispatch.stuck = s->dispatch.damaged = false;
}

bool
store_progress(struct store *s, unsigned max)
{
	struct err e;
	int64_t safe;
	enum rc rc;

	if (store_is_slave(s)) {
		slave_follow(s);
		tell_roll(s);
	}
	safe = visible_position(s);
	if (s->dispatch.at >= safe || s->dispatch.stuck)
		return false;
	rc = dispatch_run(s, safe, max, &e);
	store_note_positions(s, false);
	if (rc != RC_OK) {
		note_stuck(s, rc, &e);
		return false;
	}
	return s->dispatch.at < safe;
}

void
dispatch_retry(struct store *s)
{
	struct err e;
	enum rc rc;

	if (!s->dispatch.stuck)
		return;
	rc = dispatch_run(s, visible_position(s), DISPATCH_STEP, &e);
	if (rc == RC_OK)
		note_moving(s);
	else
		note_stuck(s, rc, &e);
}

/*
 * recover: what is done once before a store is used: where does the log end, and do queues and index agree with it?
 *
 * Four cases:
 *   only the broker died   the shared memory still knows the positions: records below `appended` are whole, only what lies
 *                          above is looked at, queues and index are built again from `dispatched` on.
 *   all was killed         the page cache outlived it: the positions file says up to where queues and index are in step; from
 *                          there on the log is walked and dispatched again. See positions.h for when it is believed.
 *   clean stop             everything below the newest unit's record is dispatched; the end is looked for from there.
 *   anything else          `abort` stands and nobody knows more than the checkpoint: records from the first segment on that
 *                          may not have been synced are checked with their bodies and dispatched again.
 * In each case the log is cut behind the last whole record and what lies there is zeroed, so that no stale record is ever
 * taken for one; units of queues behind the start of dispatch are not trusted but made again.
 *
 * If it dies: it is done again, from the checkpoint.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "store/store_int.h"

#define SHOW_BYTES   (64 << 20)
#define RECORD_EXTRA (64 << 10) /* a record may be larger than maxMessageSize by this */

struct recovery {
	struct store	*s;
	bool		 crashed;	/* and nobody knows more than the checkpoint */
	bool		 known;		/* only the broker died */
	bool		 noted;		/* everything was killed, the machine runs on */
	struct positions at;		/* if known or noted */
	struct checkpoint checkpoint;
	int64_t		 scan_from, dispatch_from;
	int64_t		 end, end_store_ms;
	int64_t		 shown;		/* progress */
	bool		 check_crc, changed;
};

/* ---- the end of the log */

static enum rc
say_gap(const struct recovery *r, int64_t at, struct err *e)
{
	err_set(e, "the log in %s has no readable file for offset %" PRId64 ", but later ones: bring it back, or move the "
	    "later ones away to give them up", r->s->log.segs.dir, at);
	return RC_BADDATA;
}

/*
 * Properties have no checksum. Where a write was torn in them the rest reads as zeros, which no writer ends properties with;
 * asked only of the last record, so that a strange one in the middle does not cut the log.
 */
static bool
looks_torn(const struct record *r)
{
	return r->props.n > 0 && r->props.p[r->props.n - 1] == '\0';
}

/* The master takes a recovery that gets on for alive, however long it takes. Nobody trusts positions of a recovering node. */
static void
show_progress(struct recovery *r, int64_t at)
{
	shm_i64 *appended = &r->s->shm->broker.appended;

	if (at - r->shown < SHOW_BYTES)
		return;
	r->shown = at;
	if (at > pos_read(appended))
		pos_publish(appended, at);
}

/* May recovery begin at this segment: are its first record and so all before it older than what the checkpoint covers? */
static bool
begins_before(struct commitlog *log, int64_t from, int64_t ms)
{
	size_t n;
	const char *p = commitlog_read(log, from, &n);
	int64_t t;

	if (p == NULL || !record_stands(p, n, from, 0))
		return false;
	t = record_store_ms(p);
	return t != 0 && t <= ms;
}

/*
 * A power cut may take a segment and leave a later one, neither of them synced: the log ends at the gap then. Had the later one been
 * synced, so had the one that is missing; then somebody has removed it.
 */
static bool
ends_at_gap(const struct recovery *r, int64_t at)
{
	struct commitlog *log = &r->s->log;

	if (!r->crashed || r->checkpoint.physic_ms == 0)
		return false;
	for (size_t i = 0; i < log->segs.count; i++)
		if (log->segs.from[i] > at && begins_before(log, log->segs.from[i], r->checkpoint.physic_ms))
			return false;
	log_warn("the log in %s ends at %" PRId64 ": the file for it is missing, and what lies behind was never synced",
	    log->segs.dir, at);
	return true;
}

/* Walks whole records from scan_from on. */
static enum rc
find_end(struct recovery *r, struct err *e)
{
	struct commitlog *log = &r->s->log;
	int64_t at = r->scan_from;
	struct record record, last = {0};

	while (at < log->end) {
		size_t n;
		const char *p;
		enum rc rc;

		if (segs_index(&log->segs, at) < 0 && ends_at_gap(r, at))
			break;
		p = commitlog_read(log, at, &n);
		if (p == NULL || segs_index(&log->segs, at) < 0)
			return say_gap(r, at, e);
		rc = record_view(&record, p, n, at, r->check_crc);
		if (rc == RC_NOTFOUND) {
			at = segs_start(&log->segs, at) + log->segs.file_bytes;
			continue;
		}
		if (rc != RC_OK)
			break;
		show_progress(r, at);
		last = record;
		r->end_store_ms = record.store_ms;
		at += record.size;
	}
	r->end = looks_torn(&last) ? last.at : at;
	return RC_OK;
}

static int64_t
segment_by_checkpoint(struct recovery *r)
{
	struct commitlog *log = &r->s->log;
	int64_t ms = checkpoint_recover_ms(&r->checkpoint, r->s->conf->messageIndexEnable && r->s->conf->messageIndexSafe);

	for (size_t i = log->segs.count; i-- > 0;)
		if (begins_before(log, log->segs.from[i], ms))
			return log->segs.from[i];
	return log->min;
}

/* The queue whose last unit stands for the latest record, or NULL. */
static struct store_queue *
newest_queue(struct store *s)
{
	struct store_queue *q, *newest = NULL;

	cqtable_each(&s->queues, q)
		if (q->max_physical > 0 && (newest == NULL || q->max_physical > newest->max_physical))
			newest = q;
	return newest;
}

/* Is that unit's record really there? Then the log is walked from its end on. */
static bool
unit_stands(struct store *s, struct store_queue *q)
{
	struct cq_unit u;
	const char *p;

	if (!cqueue_unit(&s->files, q, q->max - 1, &u) || u.size <= 0)
		return false;
	p = commitlog_bytes(&s->log, u.physical, (size_t)u.size);
	return p != NULL && record_stands(p, (size_t)u.size, u.physical, (uint32_t)u.size);
}

static void
plan_clean(struct recovery *r)
{
	struct store *s = r->s;
	struct store_queue *q = newest_queue(s);
	int64_t covered = q != NULL ? q->max_physical : 0;
	long segment;

	r->dispatch_from = MAX_OF(covered, s->log.min);
	r->scan_from = r->dispatch_from;
	r->check_crc = s->conf->checkCRCOnRecover;
	if (q == NULL || covered <= s->log.min || unit_stands(s, q))
		return;
	/* Queues that run ahead of the log: from the start of the newest segment that they know. */
	segment = segs_index(&s->log.segs, covered - 1);
	r->scan_from = segment >= 0 ? s->log.segs.from[segment] : segs_min(&s->log.segs);
	if (segment < 0 && covered > s->log.end)
		r->scan_from = s->log.segs.from[s->log.segs.count - 1];
}

static void
plan_crashed(struct recovery *r)
{
	/* without any queue they are all to be made again, whatever was synced */
	r->scan_from = r->dispatch_from = r->s->queues.count > 0 ? segment_by_checkpoint(r) : r->s->log.min;
	r->check_crc = r->s->conf->checkCRCOnRecover;
}

/* Up to where the dead worker had certainly dispatched. */
static struct positions
known_positions(const struct store *s)
{
	const struct shm_line_broker *b = &s->shm->broker;

	return (struct positions){
	    .dispatched = MAX_OF(MIN_OF(pos_read(&b->dispatched), pos_read(&b->appended)), s->log.min),
	    .dispatched_store_ms = pos_read(&b->dispatched_store_ms),
	    .last_record = -1,
	    .flushed = pos_read(&s->shm->flush.flushed),
	};
}

static void
plan_known(struct recovery *r)
{
	const struct shm_line_broker *b = &r->s->shm->broker;

	r->scan_from = pos_read(&b->appended);
	r->dispatch_from = r->at.dispatched;
	r->end_store_ms = pos_read(&b->appended_store_ms);
	r->check_crc = true;
}

static void
plan_noted(struct recovery *r)
{
	r->scan_from = r->dispatch_from = r->at.dispatched;
	r->end_store_ms = r->at.dispatched_store_ms;
	r->check_crc = true;
}

/* The record that was dispatched last is where it was, and no queue has gone. Anything else: the checkpoint serves. */
static bool
positions_stand(struct store *s, const struct positions *p)
{
	const char *record;
	size_t n;

	if (p->dispatched < s->log.min || p->dispatched > segs_end(&s->log.segs) || s->files.filled < p->queues)
		return false;
	if (p->last_record < s->log.min)
		return p->last_record == -1;
	record = commitlog_read(&s->log, p->last_record, &n);
	return record != NULL && record_stands(record, n, p->last_record, 0) &&
	    p->last_record + (int64_t)be32_get(record + MSG_OFF_SIZE) <= p->dispatched &&
	    record_store_ms(record) == p->dispatched_store_ms;
}

static void
doubt_positions(struct recovery *r)
{
	struct store *s = r->s;

	if (!r->noted || (s->log.segs.count > 0 && positions_stand(s, &r->at)))
		return;
	log_warn("store %s is not what %s/" POSITIONS_NAME " says of it: recovered from the checkpoint instead", s->root, s->root);
	r->noted = false;
	r->crashed = true;
	if (!positions_remove(s->root))
		log_warn("cannot remove it: %m");
	positions_close(&s->positions);
}

static void
plan(struct recovery *r)
{
	r->end_store_ms = r->checkpoint.physic_ms;
	if (r->known)
		plan_known(r);
	else if (r->noted)
		plan_noted(r);
	else if (r->crashed)
		plan_crashed(r);
	else
		plan_clean(r);
}

/* ---- bringing the parts in step */

/* Without a log there is nothing that queues and index could stand for. */
static enum rc
drop_all_derived(struct store *s, struct err *e)
{
	struct store_queue *q;

	if (s->queues.count > 0)
		log_warn("%s holds no log: the queues of the old one are removed", s->log.segs.dir);
	cqtable_each(&s->queues, q)
		cqueue_remove(&s->files, q);
	cqtable_free(&s->queues);
	cqtable_init(&s->queues, &s->files);
	return index_cut(&s->index, 0, e);
}

static enum rc
cut_queues(struct recovery *r, struct err *e)
{
	struct store *s = r->s;
	int64_t keep = r->crashed || r->known || r->noted ? MIN_OF(r->dispatch_from, r->end) : r->end;
	struct store_queue *q;

	cqtable_each(&s->queues, q) {
		enum rc rc = r->crashed ? cqueue_distrust(&s->files, q, keep, e) : cqueue_cut(&s->files, q, keep, e);

		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static enum rc
cut_index(struct recovery *r, struct err *e)
{
	struct index *ix = &r->s->index;
	int64_t ms, physical;

	if (r->crashed)
		return index_cut(ix, MIN_OF(r->dispatch_from, r->end), e);
	index_last(ix, &ms, &physical);
	if (physical > 0 && physical >= r->end)
		return index_cut(ix, r->end, e);
	return r->known || r->noted ? index_mend(ix, e) : RC_OK;
}

/* Reading goes on, and store_second tries again; messages are taken when all is dispatched. */
static void
put_off(struct recovery *r, const struct err *e)
{
	struct dispatch *d = &r->s->dispatch;

	log_error("%s. What the log has from %" PRId64 " to %" PRId64 " comes into the queues, and messages are taken, when there is "
	    "space; no restart is needed", e->text, d->at, r->end);
	d->owed = r->end;
	d->stuck = true;
	snprintf(d->why, sizeof(d->why), "%.255s", e->text);
}

static enum rc
dispatch_all(struct recovery *r, struct err *e)
{
	struct store *s = r->s;

	s->dispatch.at = MIN_OF(r->dispatch_from, r->end);
	s->dispatch.at_store_ms = r->known || r->noted ? r->at.dispatched_store_ms : r->checkpoint.logics_ms;
	while (s->dispatch.at < r->end) {
		int64_t before = s->dispatch.at;
		enum rc rc = dispatch_run(s, r->end, UINT_MAX, e);

		if (rc == RC_FULL) {
			put_off(r, e);
			break;
		}
		if (rc != RC_OK)
			return rc;
		ensure(s->dispatch.at > before);
	}
	return RC_OK;
}

static enum rc
clear_queues(struct store *s, struct err *e)
{
	struct store_queue *q;

	cqtable_each(&s->queues, q) {
		bool was_clean = q->dirty_from == CQ_NONE;
		enum rc rc = q->stale_to > 0 ? cqueue_clear(&s->files, q, e) : RC_OK;

		if (rc != RC_OK)
			return rc;
		if (was_clean && q->dirty_from != CQ_NONE)
			dirty_note(s, q);
	}
	return RC_OK;
}

/*
 * With SYNC_FLUSH what was found only in the page cache must not be shown to consumers before it is safe. Otherwise nothing was
 * promised, and flush does it in its own time.
 */
static enum rc
sync_log(struct recovery *r, struct err *e)
{
	struct commitlog *log = &r->s->log;
	int64_t at = r->known || r->noted ? r->at.flushed : r->scan_from;

	if (r->s->conf->flushDiskType != FLUSH_SYNC || !(r->changed || r->crashed || r->noted))
		return RC_OK;
	for (at = segs_start(&log->segs, at); at < r->end; at += log->segs.file_bytes) {
		enum rc rc = commitlog_sync(log, at, e);

		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

/*
 * How many zero bytes in a row say that nothing stale comes behind them: what a dead writer left are records without a gap, but
 * a body may itself be zeros. After a crash of the host pages may be missing anywhere: 0, everything is looked at.
 */
static int64_t
quiet_bytes(const struct recovery *r)
{
	if (r->crashed)
		return 0;
	return 2 * (MAX_OF((int64_t)r->s->conf->maxMessageSize, 0) + RECORD_EXTRA);
}

static enum rc
bring_in_step(struct recovery *r, struct err *e)
{
	struct store *s = r->s;
	enum rc rc = cut_queues(r, e);

	if (rc == RC_OK)
		rc = commitlog_cut(&s->log, r->end, quiet_bytes(r), &r->changed, e);
	if (rc == RC_OK)
		rc = cut_index(r, e);
	if (rc == RC_OK)
		rc = sync_log(r, e);
	if (rc == RC_OK)
		rc = dispatch_all(r, e);
	if (rc == RC_OK)
		rc = clear_queues(s, e);
	return rc;
}

static void
publish(const struct recovery *r)
{
	struct shm_line_broker *b = &r->s->shm->broker;

	pos_publish(&b->appended_store_ms, r->end_store_ms);
	pos_publish(&b->appended, r->end);
	pos_publish(&b->dispatched_store_ms, r->s->dispatch.at_store_ms);
	pos_publish(&b->dispatched, r->s->dispatch.at);
}

static enum rc
read_checkpoint(struct recovery *r, struct err *e)
{
	char path[PATH_MAX];
	enum rc rc;

	snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, r->s->root);
	rc = checkpoint_read(path, &r->checkpoint, e);
	if (rc == RC_BADDATA) {
		log_warn("%s: everything is recovered instead", e->text);
		r->checkpoint = (struct checkpoint){0};
	}
	return rc == RC_NOTFOUND || rc == RC_BADDATA ? RC_OK : rc;
}

static const char *
kind_text(const struct recovery *r)
{
	if (r->known)
		return "the broker worker died";
	if (r->noted)
		return "all was killed, the page cache was not";
	return r->crashed ? "the last run ended without a clean stop" : "clean";
}

enum rc
recover_run(struct store *s, const struct recover_from *from, struct err *e)
{
	struct recovery r = {.s = s, .known = from->known, .noted = from->noted && !from->known, .at = from->at};
	int64_t begun_us = clock_mono_us();
	enum rc rc = read_checkpoint(&r, e);

	r.crashed = from->abort_stands && !r.known && !r.noted;
	if (r.known)
		r.at = known_positions(s);
	if (rc == RC_OK && r.known)
		cqtable_load_later(&s->queues, r.at.dispatched);
	else if (rc == RC_OK)
		rc = cqtable_load(&s->queues, e);
	if (rc == RC_OK && s->log.segs.count == 0)
		rc = drop_all_derived(s, e);
	if (rc != RC_OK)
		return rc;
	doubt_positions(&r);
	if (s->log.segs.count > 0) {
		plan(&r);
		rc = find_end(&r, e);
	}
	if (rc == RC_OK)
		rc = bring_in_step(&r, e);
	if (rc != RC_OK)
		return rc;
	s->lost_tail = r.crashed;
	s->queues.cut_at = INT64_MAX; /* what recovery did not touch has no units from there on */
	publish(&r);
	log_info("store %s: %s; log %" PRId64 "..%" PRId64 " in %zu files, checked from %" PRId64 ", dispatched again from %" PRId64
	    ", %" PRIu32 " queues%s; ready after %" PRId64 " ms", s->root, kind_text(&r), s->log.min, r.end, s->log.segs.count,
	    r.scan_from, r.dispatch_from, s->queues.count, s->queues.later ? " so far" : "", (clock_mono_us() - begun_us) / 1000);
	return RC_OK;
}

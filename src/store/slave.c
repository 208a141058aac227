/*
 * slave: the store of a slave, and how it becomes a master's without a restart.
 *
 * On a slave ha writes the log and moves `appended`, always to the end of a whole record; the broker dispatches up to
 * there. At a promotion ha lets go of the log first (shm ha.role_epoch), so that there is never more than one writer.
 *
 * If the broker dies during a promotion: shared memory says the new role already, so the next store_open finds the end
 * of the log and notes the epoch as a master's.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "store/cut.h"
#include "store/store_int.h"

/* ---- following ha */

/* The first bytes of an empty slave stand wherever its master began. */
static bool
find_first_segment(struct store *s)
{
	struct err e;

	if (segs_scan(&s->log.segs, &e) != RC_OK || s->log.segs.count == 0) {
		log_error("the log that ha has begun cannot be found in %s: %s", s->log.segs.dir,
			  s->log.segs.count == 0 ? "no file" : e.text);
		return false;
	}
	s->log.min = s->files.log_min = segs_min(&s->log.segs);
	s->dispatch.at = s->log.min;
	return true;
}

static bool
take_segments(struct store *s, int64_t end)
{
	if (s->log.segs.count == 0 && !find_first_segment(s))
		return false;
	while (segs_end(&s->log.segs) < end) {
		s->log.rolled_to = segs_end(&s->log.segs);
		segs_add(&s->log.segs, s->log.rolled_to);
	}
	return true;
}

void
slave_follow(struct store *s)
{
	int64_t end = pos_read(&s->shm->broker.appended);

	/* A lower one: what lies above will be cut at the restart that is about to come. */
	if (end > s->log.end && take_segments(s, end))
		commitlog_set_end(&s->log, end);
}

/* ---- cutting */

/* flush rests, for ha has set `appended` back; and from now on only what is synced below `from` counts. */
static void
set_positions_back(struct store *s, int64_t from)
{
	struct node_shm *shm = s->shm;

	pos_publish(&shm->broker.dispatched, MIN_OF(pos_read(&shm->broker.dispatched), from));
	pos_publish(&shm->broker.appended, MIN_OF(pos_read(&shm->broker.appended), from));
	pos_publish(&shm->flush.flushed, MIN_OF(pos_read(&shm->flush.flushed), from));
}

enum rc
slave_apply_cut(struct store *s, bool *done, struct err *e)
{
	char epochs_file[PATH_MAX];
	struct cut cut;
	enum rc rc = cut_read(s->root, &cut, e);

	if (rc == RC_NOTFOUND)
		return RC_OK;
	if (rc != RC_OK)
		return rc;
	epochs_path(s->conf, epochs_file, sizeof(epochs_file));
	if (!positions_remove(s->root)) {
		err_set(e, "cannot remove %s/" POSITIONS_NAME ", which would be wrong after a cut: %s", s->root,
			strerror(errno));
		return RC_IO;
	}
	set_positions_back(s, cut.from <= s->log.min ? 0 : cut.from);
	rc = cut_apply(s->root, &cut, &s->log, epochs_file, e);
	s->files.log_min = s->log.min;
	*done = rc == RC_OK;
	return rc;
}

/* ---- epochs */

static enum rc
note_epoch(struct store *s, int64_t epoch, struct err *e)
{
	char path[PATH_MAX];
	struct epochs l;
	bool changed;
	enum rc rc;

	epochs_path(s->conf, path, sizeof(path));
	rc = epochs_load(&l, path, e);
	if (rc != RC_OK)
		return rc;
	changed = epochs_cut(&l, s->log.end);
	if (epoch > epochs_last(&l)) {
		epochs_append(&l, (int32_t)epoch, s->log.end);
		changed = true;
	}
	return changed ? epochs_save(&l, path, e) : RC_OK;
}

enum rc
slave_note_epoch(struct store *s, struct err *e)
{
	return note_epoch(s, store_is_slave(s) ? 0 : pos_read(&s->shm->master.epoch), e);
}

/* ---- promotion */

static enum rc
take_over_log(struct store *s, struct err *e)
{
	int64_t written = pos_read(&s->shm->ha.written);

	slave_follow(s);
	if (s->log.end != pos_read(&s->shm->broker.appended)) {
		err_set(e,
			"the log in %s ends at %" PRId64 ", but %" PRId64
			" was published: restart the node to recover it",
			s->log.segs.dir, s->log.end, pos_read(&s->shm->broker.appended));
		return RC_BADDATA;
	}
	return commitlog_clear(&s->log, written, e);
}

static enum rc
dispatch_to_end(struct store *s, struct err *e)
{
	enum rc rc = RC_OK;

	while (s->dispatch.at < s->log.end && rc == RC_OK) {
		int64_t before = s->dispatch.at;

		rc = dispatch_run(s, s->log.end, UINT_MAX, e);
		if (rc == RC_OK && s->dispatch.at == before) {
			err_set(e, "no whole record at %" PRId64 " of the log in %s, which ends at %" PRId64, before,
				s->log.segs.dir, s->log.end);
			rc = RC_BADDATA;
		}
	}
	if (rc == RC_OK)
		s->dispatch.stuck = s->dispatch.damaged = false;
	return rc;
}

enum rc
store_become_master(struct store *s, int64_t epoch, struct err *e)
{
	int64_t begun_us = clock_mono_us(), behind;
	enum rc rc;

	if (store_is_slave(s) || pos_read(&s->shm->ha.role_epoch) < epoch) {
		err_set(e, "store %s: epoch %" PRId64 " cannot begin, replication still writes the log", s->root,
			epoch);
		return RC_BUSY;
	}
	rc = take_over_log(s, e);
	behind = s->log.end - s->dispatch.at;
	if (rc == RC_OK)
		rc = dispatch_to_end(s, e);
	(void)fault_hit(FAULT_PROMOTE_BEFORE_EPOCH);
	if (rc == RC_OK)
		rc = note_epoch(s, epoch, e);
	if (rc == RC_OK)
		log_info("store %s: epoch %" PRId64 " begins at %" PRId64 "; %" PRId64
			 " bytes were dispatched before; ready after %" PRId64 " us",
			 s->root, epoch, s->log.end, behind, clock_mono_us() - begun_us);
	return rc;
}

/*
 * store: opening and closing, what is done each second, and the plain questions.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/foreign.h"
#include "store/lockfile.h"
#include "store/store_int.h"

#define ABORT_NAME     "abort"
#define QUEUES_NAME    "consumequeue"
#define INDEX_NAME     "index"
#define LOG_NAME       "commitlog"
#define OPEN_FILES_MAX 4096 /* of queues */
#define LOAD_US	       5000 /* each second, for queues that were not loaded at the start */
#define LOAD_STEP      16
#define NOTE_BYTES     (4 << 20) /* of log, between two notes of the positions */

/* ---- abort: stands while the store is in use */

static bool
abort_stands(const struct store *s)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" ABORT_NAME, s->root);
	return access(path, F_OK) == 0;
}

static enum rc
put_abort(const struct store *s, bool stands, struct err *e)
{
	char path[PATH_MAX], pid[32];
	int n = snprintf(pid, sizeof(pid), "%ld", (long)getpid()), fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/" ABORT_NAME, s->root);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ok = fd >= 0 && write(fd, pid, (size_t)n) == n && (stands || fsync(fd) == 0);
	if (!ok)
		err_set(e, "cannot make %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (!ok && stands) /* on a full disk: that it is there is what counts */
		log_warn("%s", e->text);
	return stands ? RC_OK : ok ? dir_sync(s->root, e) : RC_IO;
}

static void
remove_abort(const struct store *s)
{
	char path[PATH_MAX];
	struct err e;

	snprintf(path, sizeof(path), "%s/" ABORT_NAME, s->root);
	if (!positions_remove(s->root))
		log_error("cannot remove %s/" POSITIONS_NAME ": %s", s->root, strerror(errno));
	if (unlink(path) != 0 && errno != ENOENT)
		log_error("cannot remove %s: %s", path, strerror(errno));
	if (dir_sync(s->root, &e) != RC_OK)
		log_error("%s", e.text);
}

/* ---- opening */

static unsigned
open_files_max(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur == RLIM_INFINITY)
		return OPEN_FILES_MAX;
	return (unsigned)MIN_OF(lim.rlim_cur / 4, (rlim_t)OPEN_FILES_MAX); /* the rest is for connections */
}

static enum rc
drop_empty_segments(const char *dir, int64_t segment_bytes, struct err *e)
{
	struct segs segs;
	enum rc rc;

	segs_init(&segs, dir, segment_bytes, "mappedFileSizeCommitLog");
	rc = segs_drop_empty(&segs, e);
	segs_free(&segs);
	return rc;
}

static enum rc
open_log(struct store *s, struct err *e)
{
	const struct broker_conf *c = s->conf;
	char *below_root = xasprintf("%s/" LOG_NAME, s->root);
	const char *dir = c->storePathCommitLog[0] != '\0' ? c->storePathCommitLog : below_root;
	enum rc rc = RC_INVAL;

	if (c->mappedFileSizeCommitLog < 4096)
		err_set(e, "mappedFileSizeCommitLog=%" PRId32 " is too small: at least 4096", c->mappedFileSizeCommitLog);
	else
		rc = abort_stands(s) ? drop_empty_segments(dir, c->mappedFileSizeCommitLog, e) : RC_OK;
	if (rc == RC_OK)
		rc = commitlog_open(&s->log, dir, c->mappedFileSizeCommitLog, e);
	s->log.fill_wanted = c->flushDiskType == FLUSH_SYNC;
	free(below_root);
	return rc;
}

static enum rc
open_index(struct store *s, struct err *e)
{
	char *dir = xasprintf("%s/" INDEX_NAME, s->root);
	enum rc rc = index_open(&s->index, dir, s->conf->maxHashSlotNum, s->conf->maxIndexNum, e);

	free(dir);
	return rc;
}

static void
open_queues(struct store *s)
{
	char *dir = xasprintf("%s/" QUEUES_NAME, s->root);

	cq_files_init(&s->files, dir, MAX_OF(s->conf->mappedFileSizeConsumeQueue, CQ_UNIT), open_files_max());
	s->files.log_min = s->log.min;
	cqtable_init(&s->queues, &s->files);
	free(dir);
}

/* Has the same memory seen this store running, so that only its broker worker can have died? */
static bool
positions_known(const struct store *s, int state, bool abort_found)
{
	int64_t appended = pos_read(&s->shm->broker.appended);

	return abort_found && (state == NODE_RUNNING || state == NODE_READONLY) && s->log.segs.count > 0 &&
	    appended >= s->log.min && appended <= segs_end(&s->log.segs);
}

static enum rc
open_parts(struct store *s, struct err *e)
{
	enum rc rc = dir_make(s->root, e);

	if (rc == RC_OK)
		rc = foreign_check(s->root, e);
	if (rc == RC_OK)
		rc = lockfile_take(s->root, &s->lock_fd, NULL, e);
	if (rc == RC_OK)
		rc = open_log(s, e);
	if (rc == RC_OK)
		rc = open_index(s, e);
	if (rc == RC_OK)
		open_queues(s);
	return rc;
}

/* ---- positions: how far everything is, for a start after everything was killed */

void
store_note_positions(struct store *s, bool now)
{
	const struct dispatch *d = &s->dispatch;

	if (LIKELY(!now && d->at - s->noted_at < NOTE_BYTES))
		return;
	if (d->at == s->noted_at || !s->opened || atomic_load(&s->shm->flush.failed_errno) != 0)
		return;
	positions_note(&s->positions, &(struct positions){.dispatched = d->at,
	    .dispatched_store_ms = d->at_store_ms,
	    .last_record = d->last_record,
	    .flushed = pos_read(&s->shm->flush.flushed),
	    .queues = s->files.filled});
	s->noted_at = d->at;
}

/* What is not believed now must not be believed later. */
static enum rc
read_positions(struct store *s, bool lock_was_ours, struct recover_from *from, struct err *e)
{
	positions_init(&s->positions, s->root, s->log.segs.dir);
	from->noted = lock_was_ours && from->abort_stands && positions_read(&s->positions, &from->at);
	if (from->noted || positions_remove(s->root))
		return RC_OK;
	err_set(e, "%s/" POSITIONS_NAME " is out of date and cannot be removed: %s", s->root, strerror(errno));
	return RC_IO;
}

static enum rc
open_and_recover(struct store *s, struct err *e)
{
	int state = atomic_load(&s->shm->broker.state);
	bool lock_was_ours = lockfile_was_ours(s->root);
	struct recover_from from = {0};
	bool cut = false;
	enum rc rc = open_parts(s, e);

	if (rc == RC_OK)
		rc = slave_apply_cut(s, &cut, e);
	if (rc != RC_OK)
		return rc;
	from.abort_stands = abort_stands(s);
	from.known = !cut && positions_known(s, state, from.abort_stands);
	atomic_store(&s->shm->broker.state, NODE_RECOVERING);
	rc = read_positions(s, lock_was_ours && !cut, &from, e);
	if (rc == RC_OK)
		rc = recover_run(s, &from, e);
	if (rc == RC_OK)
		rc = slave_note_epoch(s, e);
	if (rc == RC_OK)
		rc = put_abort(s, from.abort_stands, e);
	return rc;
}

enum rc
store_open(struct store **out, const struct store_opts *o, struct err *e)
{
	struct store *s = xcalloc(1, sizeof(*s));
	enum rc rc;

	s->conf = o->conf;
	s->shm = o->shm;
	s->ops = o->ops;
	s->root = xstrdup(o->conf->storePathRootDir);
	s->lock_fd = s->positions.fd = -1;
	s->noted_at = s->earliest_of = s->earliest_ms = -1;
	s->turn = 1;
	s->ram_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	s->scratch = xmalloc((size_t)SCRATCH_UNITS * CQ_UNIT);
	s->log.fd = -1;
	dispatch_init(&s->dispatch);
	dispatch_read_delays(s);
	rc = open_and_recover(s, e);
	if (rc != RC_OK) {
		store_close(&s, false);
		return rc;
	}
	s->opened = true;
	s->hot_from = s->log.end;
	s->files.gate = s->index.gate = &s->gate;
	store_note_positions(s, true);
	atomic_store(&s->shm->broker.state, NODE_RUNNING);
	*out = s;
	return RC_OK;
}

/* ---- closing */

static enum rc
sync_log_from(struct store *s, int64_t at, struct err *e)
{
	enum rc rc = RC_OK;

	at = MAX_OF(at, s->log.min);
	for (at = segs_start(&s->log.segs, at); at < s->log.end && rc == RC_OK; at += s->log.segs.file_bytes)
		rc = commitlog_sync(&s->log, at, e);
	return rc;
}

static enum rc
dispatch_rest(struct store *s, struct err *e)
{
	while (s->dispatch.at < s->log.end) {
		int64_t before = s->dispatch.at;
		enum rc rc = dispatch_run(s, s->log.end, UINT_MAX, e);

		if (rc != RC_OK)
			return rc;
		ensure(s->dispatch.at > before);
	}
	return RC_OK;
}

static enum rc
write_checkpoint(struct store *s, struct err *e)
{
	char path[PATH_MAX];
	struct checkpoint c;
	enum rc rc;

	snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, s->root);
	rc = checkpoint_read(path, &c, e);
	if (rc != RC_OK)
		c = (struct checkpoint){0};
	c.physic_ms = MAX_OF(c.physic_ms, pos_read(&s->shm->broker.appended_store_ms));
	c.logics_ms = MAX_OF(c.logics_ms, s->dispatch.at_store_ms);
	c.index_ms = MAX_OF(c.index_ms, index_full_ms(&s->index));
	return checkpoint_write(path, &c, e);
}

/* `abort` may go only when everything is complete and synced: the original trusts queues after a clean stop. */
static enum rc
finish(struct store *s, struct err *e)
{
	enum rc rc;

	if (atomic_load(&s->shm->flush.failed_errno) != 0 || s->log.broken) {
		err_set(e, "writing or syncing the log has failed before");
		return RC_IO;
	}
	store_see_min(s); /* what clean has removed since is not to be synced */
	rc = sync_log_from(s, store_flushed_position(s), e);
	if (rc == RC_OK)
		rc = segs_sync_dir(&s->log.segs, e);
	if (rc == RC_OK)
		rc = dispatch_rest(s, e);
	if (rc == RC_OK)
		rc = dirty_sync_all(s, e);
	if (rc == RC_OK)
		rc = index_sync(&s->index, e);
	return rc == RC_OK ? write_checkpoint(s, e) : rc;
}

static void
free_deleted(struct store *s)
{
	struct cq_topic *topic;

	while ((topic = s->deleted) != NULL) {
		s->deleted = topic->next;
		cq_topic_free(topic);
	}
}

void
store_close(struct store **sp, bool clean)
{
	struct store *s = *sp;
	struct err e;

	*sp = NULL;
	if (s == NULL)
		return;
	if (s->opened)
		atomic_store(&s->shm->broker.state, NODE_STOPPING);
	if (s->opened && clean) {
		if (finish(s, &e) == RC_OK)
			remove_abort(s);
		else
			log_error("store %s is not closed cleanly, the next start recovers it: %s", s->root, e.text);
	}
	free_deleted(s);
	if (s->queues.slots != NULL)
		cqtable_free(&s->queues);
	cq_files_free(&s->files);
	index_close(&s->index);
	commitlog_close(&s->log);
	positions_close(&s->positions);
	gate_forget(&s->gate);
	dispatch_free(&s->dispatch);
	lockfile_release(&s->lock_fd);
	free(s->scratch);
	free(s->root);
	free(s);
}

/* ---- each second */

void
store_see_min(struct store *s)
{
	int64_t min = pos_read(&s->shm->clean.min);

	if (LIKELY(min <= s->log.min))
		return;
	s->log.min = s->files.log_min = min;
}

static void
follow_min(struct store *s)
{
	store_see_min(s);
	if (s->log.min == s->forgotten)
		return;
	s->forgotten = s->log.min;
	commitlog_forget(&s->log, s->log.min);
	index_forget(&s->index, s->log.min);
}

static void
load_queues(struct store *s)
{
	int64_t until = clock_mono_us() + LOAD_US;

	while (cqtable_load_some(&s->queues, LOAD_STEP) && clock_mono_us() < until)
		;
}

static void
want_slots(struct store *s)
{
	int64_t bytes;
	const char *path = index_cold_slots(&s->index, &bytes);

	if (path != NULL && s->ops.on_wanted != NULL)
		s->ops.on_wanted(s->ops.arg, path, bytes);
}

void
store_second(struct store *s)
{
	free_deleted(s);
	follow_min(s);
	load_queues(s);
	dispatch_retry(s);
	dirty_second(s);
	want_slots(s);
	store_note_positions(s, true);
}

bool
store_may_have_lost_tail(const struct store *s)
{
	return s->lost_tail;
}

/* ---- queues */

struct store_queue *
store_queue_find(struct store *s, struct slice topic, int32_t id)
{
	return cqtable_find(&s->queues, topic, id);
}

struct store_queue *
store_queue_get(struct store *s, struct slice topic, int32_t id)
{
	return cqtable_get(&s->queues, topic, id);
}

int64_t
queue_min(const struct store_queue *q)
{
	struct store_queue *mine = (struct store_queue *)(uintptr_t)q; /* min is a remembered answer, found when asked for */

	cqueue_follow_min(q->topic->files, mine);
	return q->min;
}

int64_t
queue_max(const struct store_queue *q)
{
	return q->max;
}

struct slice
queue_topic(const struct store_queue *q)
{
	return (struct slice){q->topic->name, q->topic->len};
}

int32_t
queue_id(const struct store_queue *q)
{
	return q->id;
}

void **
queue_user(struct store_queue *q)
{
	return &q->user;
}

void
store_queues_each(struct store *s, void (*each)(void *arg, struct store_queue *q), void *arg)
{
	struct store_queue *q;

	while (cqtable_load_some(&s->queues, UINT_MAX))
		;
	cqtable_each(&s->queues, q)
		each(arg, q);
}

static void
forget_turn(struct store *s, const struct cq_topic *topic)
{
	struct store_queue **q = &s->turn_queues;

	while (*q != NULL)
		if ((*q)->topic == topic)
			*q = (*q)->turn_link;
		else
			q = &(*q)->turn_link;
}

void
store_topic_delete(struct store *s, struct slice name)
{
	struct cq_topic *topic = cqtable_take_topic(&s->queues, name);
	char path[PATH_MAX];

	if (topic == NULL)
		return;
	dirty_forget(s, topic);
	forget_turn(s, topic);
	for (struct store_queue *q = topic->queues; q != NULL; q = q->topic_next)
		cqueue_remove(&s->files, q);
	snprintf(path, sizeof(path), "%s/%s", s->files.root, topic->name);
	if (rmdir(path) != 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
	topic->next = s->deleted;
	s->deleted = topic;
	s->noted_at = -1; /* fewer queues than noted would look like a loss */
	store_note_positions(s, true);
}

/* ---- facts */

static int64_t
queue_file_count(struct store *s)
{
	struct store_queue *q;
	int64_t n = 0;

	cqtable_each(&s->queues, q)
		if (q->file_first != CQ_NONE)
			n += (q->file_last - q->file_first) / s->files.file_bytes + 1;
	return n;
}

/* Found once for each start of the log, which may be on the disk: while the gate is closed the old answer stands. */
static void
follow_earliest(struct store *s)
{
	unsigned noted = s->gate.noted;
	struct slice record;
	enum rc rc;

	if (s->earliest_of == s->log.min && s->earliest_ms >= 0)
		return;
	rc = store_record_at(s, s->log.min, &record);
	if (s->gate.noted != noted)
		return;
	s->earliest_ms = rc == RC_OK ? record_store_ms(record.p) : -1;
	s->earliest_of = s->log.min;
}

void
store_facts(struct store *s, struct store_facts *f)
{
	const struct shm_line_clean *c = &s->shm->clean;

	follow_earliest(s);
	*f = (struct store_facts){.log_min = s->log.min,
	    .log_max = s->log.end,
	    .flushed = store_flushed_position(s),
	    .dispatched = s->dispatch.at,
	    .replicated = pos_read(&s->shm->ha.replicated),
	    .earliest_store_ms = s->earliest_ms,
	    .log_disk_ratio = atomic_load((shm_i32 *)&c->log_disk_permille) / 1000.0,
	    .queue_disk_ratio = atomic_load((shm_i32 *)&c->queue_disk_permille) / 1000.0,
	    .disk_total = pos_read(&c->disk_total_bytes),
	    .disk_free = pos_read(&c->disk_free_bytes),
	    .queue_files = queue_file_count(s),
	    .segments = (int64_t)s->log.segs.count,
	    .index_files = (int64_t)s->index.count};
}

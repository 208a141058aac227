/*
 * clean: removes what has expired, watches the disk, and makes the next segment of the log ready ahead of the writer.
 *
 * Runs in:    the clean process, one per broker node, at idle I/O priority.
 * Owns:       shm clean.*, <log>/prepare/, and the right to unlink files of log, queues and index.
 *             Reads: broker.appended, broker.dispatched, broker.state.
 * Must not:   touch a file while the broker recovers, remove the segment in use or one that is not dispatched.
 * If it dies: started again alone; nothing is lost, the disk fills a little further meanwhile.
 *
 * `min` is published before the file goes, so nobody begins to read what is about to vanish; who has it mapped keeps it.
 */
#include "workers/clean/clean.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/paths.h"
#include "workers/clean/expire.h"
#include "workers/clean/prepare.h"
#include "workers/clean/sweep.h"

#define WATCH_SOON_S  1.0 /* until the broker runs, and while the disk is nearly full */
#define NEARLY_PCT    5	  /* so close to diskSpaceCleanForciblyRatio */
#define ASKED_ROUNDS  20  /* how long the original remembers an operator's wish */
#define NICE	      10
#define IOPRIO_IDLE   (3 << 13)
#define IOPRIO_PROCESS 1

struct clean {
	struct worker	*w;
	struct segs	 log;
	struct prepare	 prepare;
	struct sweep	 sweep;
	char		 queue_dir[PATH_MAX], index_dir[PATH_MAX], root[PATH_MAX];
	ev_timer	 watch;		/* disk and expiry */
	ev_timer	 remove;	/* the next file of this round */
	ev_timer	 fill;		/* the next chunk of the segment to come */
	struct disk	 log_disk, queue_disk;
	struct growth	 growth;	/* of what is used on the log's disk */
	struct expire_rule rule;
	bool		 running;	/* the broker has recovered: files may be touched */
	int64_t		 entered;	/* segment that the writer was in when we first looked; -1 not known */
	bool		 rolled;	/* it has entered a later one since: the next one will be needed */
	unsigned	 asked;		/* rounds left of an operator's wish */
	size_t		 to_remove, removed; /* files of the log in this round */
	int64_t		 swept_min;	/* queues and index have been cleaned up to here; -1 never */
};

/* ---- the disk */

/* A directory that is not there yet will be on its parent's disk. */
static struct disk
look_at(const struct clean *c, const char *dir)
{
	struct statvfs v;
	struct disk d = {.pct = DISK_UNKNOWN};

	if (statvfs(dir, &v) != 0 && statvfs(c->root, &v) != 0) {
		log_warn("cannot look at the disk of %s: %s", dir, strerror(errno));
		return d;
	}
	d.total = (int64_t)(v.f_blocks * v.f_frsize);
	d.usable = (int64_t)(v.f_bavail * v.f_frsize);
	d.pct = expire_used_pct(v.f_blocks, v.f_bfree, v.f_bavail);
	return d;
}

static void
say_full(struct clean *c, bool full)
{
	const struct disk *d = c->log_disk.pct >= c->queue_disk.pct ? &c->log_disk : &c->queue_disk;

	if (full)
		worker_event(c->w, "disk full: %d%% of the disk of %s is used, %" PRId64 " MB are free; above %d%%, or with less than %"
		    PRId64 " MB free, writes are refused. Make room there, lower fileReservedTime, or move the store; no restart is "
		    "needed", d->pct, c->root, d->usable >> 20, c->rule.warning_pct, c->rule.min_free >> 20);
	else
		worker_event(c->w, "there is room again: %d%% of the disk of %s is used; writes are taken", d->pct, c->root);
}

static void
publish_disk(struct clean *c, bool full)
{
	struct shm_line_clean *s = &c->w->shm->clean;

	atomic_store_explicit(&s->log_disk_permille, c->log_disk.pct * 10, memory_order_relaxed);
	atomic_store_explicit(&s->queue_disk_permille, c->queue_disk.pct * 10, memory_order_relaxed);
	atomic_store_explicit(&s->disk_free_bytes, c->log_disk.usable, memory_order_relaxed);
	atomic_store_explicit(&s->disk_total_bytes, c->log_disk.total, memory_order_relaxed);
	atomic_store_explicit(&s->disk_full_in_s, growth_full_in_s(&c->growth, expire_room(&c->rule, &c->log_disk)),
	    memory_order_relaxed);
	if ((atomic_load(&s->disk_full) != 0) == full)
		return;
	atomic_store(&s->disk_full, full);
	say_full(c, full);
	worker_wake(c->w, WORKER_BROKER);
}

static int
local_hour(void)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;

	return localtime_r(&now, &tm) != NULL ? tm.tm_hour : 0;
}

static struct expire_plan
judge(struct clean *c)
{
	struct expire_plan p;

	c->log_disk = look_at(c, c->log.dir);
	c->queue_disk = look_at(c, c->queue_dir);
	p = expire_decide(&c->rule, local_hour(), &c->log_disk, &c->queue_disk, c->asked > 0);
	if (c->log_disk.pct != DISK_UNKNOWN)
		growth_look(&c->growth, clock_mono_ms(), c->log_disk.usable);
	publish_disk(c, p.full);
	return p;
}

/* ---- the log */

static void
publish_min(struct clean *c, int64_t min)
{
	if (min > pos_read(&c->w->shm->clean.min))
		pos_publish(&c->w->shm->clean.min, min);
}

static bool
rescan(struct clean *c)
{
	struct err e;

	if (segs_scan(&c->log, &e) != RC_OK) {
		log_warn("%s", e.text);
		return false;
	}
	publish_min(c, segs_min(&c->log));
	return true;
}

/* Files that are neither in use nor ahead of dispatch, and not the last one. */
static size_t
candidates(const struct clean *c)
{
	const struct shm_line_broker *b = &c->w->shm->broker;
	int64_t limit = MIN_OF(prepare_active(&c->log, pos_read(&b->appended)), pos_read(&b->dispatched));
	size_t n = 0;

	while (n + 1 < c->log.count && c->log.from[n] + c->log.file_bytes <= limit)
		n++;
	return n;
}

static int64_t
mtime_ms(const struct clean *c, int64_t from)
{
	char path[PATH_MAX];
	struct stat st;

	segs_path(&c->log, from, path, sizeof(path));
	if (stat(path, &st) != 0)
		return INT64_MAX / 2; /* never due */
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

static size_t
count_due(const struct clean *c, const struct expire_plan *p)
{
	size_t n = MIN_OF(candidates(c), c->rule.batch_max), due;
	int64_t *mtimes;

	if (n == 0)
		return 0;
	mtimes = xmalloc(n * sizeof(*mtimes));
	for (size_t i = 0; i < n; i++)
		mtimes[i] = mtime_ms(c, c->log.from[i]);
	due = expire_count(&c->rule, p, mtimes, n, clock_wall_ms());
	free(mtimes);
	return due;
}

static bool
remove_oldest(struct clean *c)
{
	int64_t from = c->log.from[0];
	struct err e;

	publish_min(c, from + c->log.file_bytes);
	(void)fault_hit(FAULT_EXPIRE_BEFORE_UNLINK);
	if (segs_unlink(&c->log, from, &e) != RC_OK) {
		worker_event(c->w, "%s", e.text);
		return false;
	}
	(void)fault_hit(FAULT_EXPIRE_AFTER_UNLINK);
	log_info("removed %s/%020" PRId64, c->log.dir, from);
	segs_drop_first(&c->log, 1);
	count_add(&c->w->shm->clean.segments_removed, 1);
	c->removed++;
	return true;
}

static void
after_ms(struct clean *c, ev_timer *t, int64_t ms)
{
	ev_timer_stop(c->w->loop, t);
	ev_timer_set(t, (double)MAX_OF(ms, 0) / 1000, 0.0);
	ev_timer_start(c->w->loop, t);
}

/* ---- what follows the log */

static void
begin_sweep(struct clean *c)
{
	int64_t min = pos_read(&c->w->shm->clean.min);

	if (min == c->swept_min)
		return;
	c->swept_min = min;
	count_add(&c->w->shm->clean.index_removed, sweep_index(c->index_dir, min));
	sweep_begin(&c->sweep, min);
	after_ms(c, &c->remove, 0);
}

static void
continue_sweep(struct clean *c)
{
	switch (sweep_step(&c->sweep)) {
	case SWEEP_DONE:
		break;
	case SWEEP_MORE:
		after_ms(c, &c->remove, 0);
		break;
	case SWEEP_REMOVED:
		count_add(&c->w->shm->clean.queues_removed, 1);
		after_ms(c, &c->remove, c->w->node->conf.deleteConsumeQueueFilesInterval);
		break;
	}
}

static void
end_round(struct clean *c)
{
	struct err e;

	c->to_remove = 0;
	if (c->removed > 0) {
		if (segs_sync_dir(&c->log, &e) != RC_OK)
			log_warn("%s", e.text);
		worker_event(c->w, "removed %zu files of the log; it begins at %" PRId64 " now", c->removed,
		    pos_read(&c->w->shm->clean.min));
	}
	c->removed = 0;
	begin_sweep(c);
}

static void
remove_step(struct ev_loop *loop, ev_timer *t, int events)
{
	struct clean *c = t->data;

	(void)loop, (void)events;
	if (c->to_remove == 0) {
		continue_sweep(c);
		return;
	}
	if (remove_oldest(c) && --c->to_remove > 0)
		after_ms(c, &c->remove, c->w->node->conf.deleteCommitLogFilesInterval);
	else
		end_round(c);
}

/* ---- the segment to come */

static void
publish_prepared(struct clean *c)
{
	if (c->prepare.state == PREPARE_READY)
		pos_publish(&c->w->shm->clean.prepared, c->prepare.from + c->log.file_bytes);
}

/* Making it ready must not be what fills the disk. */
static bool
has_room(const struct clean *c)
{
	return c->log_disk.pct != DISK_UNKNOWN && c->log_disk.pct < c->rule.forcibly_pct &&
	    c->log_disk.usable > 2 * c->log.file_bytes + c->rule.clean_free;
}

static void
look_ahead(struct clean *c)
{
	int64_t from;
	struct err e;

	if (!c->running)
		return;
	from = prepare_wanted(&c->prepare, pos_read(&c->w->shm->broker.appended), c->rolled);
	if (from < 0 || !has_room(c))
		return;
	if (prepare_begin(&c->prepare, from, &e) == RC_OK)
		after_ms(c, &c->fill, 0);
	else
		log_warn("%s", e.text);
}

/* The writer has passed what we are filling: it made its own, ours is of no use. */
static bool
is_overtaken(const struct clean *c)
{
	return pos_read(&c->w->shm->broker.appended) > c->prepare.from;
}

static void
fill_step(struct ev_loop *loop, ev_timer *t, int events)
{
	struct clean *c = t->data;
	struct err e;
	enum rc rc;

	(void)loop, (void)events;
	if (c->prepare.state != PREPARE_FILLING)
		return;
	if (is_overtaken(c)) {
		prepare_drop(&c->prepare);
		look_ahead(c);
		return;
	}
	rc = prepare_step(&c->prepare, &e);
	if (rc == RC_AGAIN)
		after_ms(c, &c->fill, prepare_pause_ms(&c->prepare, pos_read(&c->w->shm->broker.appended)));
	else if (rc == RC_OK)
		publish_prepared(c);
	else
		log_warn("%s", e.text);
}

/* ---- rounds */

/* The broker has recovered; from now on the files are ours to look at. */
static void
begin_running(struct clean *c)
{
	int32_t state = atomic_load(&c->w->shm->broker.state);

	if (c->running || (state != NODE_RUNNING && state != NODE_READONLY))
		return;
	c->running = true;
	c->entered = prepare_active(&c->log, pos_read(&c->w->shm->broker.appended));
	prepare_adopt(&c->prepare, c->entered + c->log.file_bytes);
	publish_prepared(c);
}

static double
watch_interval(const struct clean *c)
{
	double usual = MAX_OF(c->w->node->conf.cleanResourceInterval, 10) / 1000.0;
	int pct = MAX_OF(c->log_disk.pct, c->queue_disk.pct);
	int64_t usable = MIN_OF(c->log_disk.usable, c->queue_disk.usable);

	if (!c->running || pct >= c->rule.forcibly_pct - NEARLY_PCT || usable < c->rule.clean_free + c->rule.clean_free / 8)
		return MIN_OF(usual, WATCH_SOON_S);
	return usual;
}

static void
one_round(struct clean *c, const struct expire_plan *p)
{
	if (!c->running || c->to_remove > 0 || c->sweep.active || !rescan(c))
		return;
	if (c->asked > 0)
		c->asked--;
	c->to_remove = count_due(c, p);
	if (c->to_remove > 0)
		after_ms(c, &c->remove, 0);
	else
		begin_sweep(c);
}

static void
watch_step(struct ev_loop *loop, ev_timer *t, int events)
{
	struct clean *c = t->data;
	struct expire_plan p;

	(void)loop, (void)events;
	p = judge(c);
	begin_running(c);
	one_round(c, &p);
	look_ahead(c);
	after_ms(c, &c->watch, (int64_t)(watch_interval(c) * 1000));
}

/* ---- the worker's life */

static void
on_param(struct worker *w, const struct param *p)
{
	struct clean *c = w->state;

	(void)p;
	expire_rule_of(&w->node->conf, &c->rule);
	after_ms(c, &c->watch, 0);
}

static void
on_peer(struct worker *w, enum role from, struct ipc_msg *m)
{
	struct clean *c = w->state;

	ensure(from == WORKER_BROKER && (m->type == IPC_BROKER_CLEAN_NOW || m->type == IPC_BROKER_CLEAN_PREPARE));
	if (m->type == IPC_BROKER_CLEAN_NOW) {
		c->asked = ASKED_ROUNDS;
		after_ms(c, &c->watch, 0);
	} else {
		/* The first write after a start is told as well: that is no roll. */
		c->rolled |= ipc_i64(m) > c->entered && c->entered >= 0;
		look_ahead(c);
	}
	ipc_end(m);
}

static void
on_stop(struct worker *w)
{
	struct clean *c = w->state;

	prepare_remove_all(&c->prepare);
	worker_exit(w, 0);
}

static void
be_idle(void)
{
	if (nice(NICE) == -1)
		log_debug("nice: %s", strerror(errno));
	if (syscall(SYS_ioprio_set, IOPRIO_PROCESS, 0, IOPRIO_IDLE) != 0)
		log_debug("ioprio_set: %s", strerror(errno));
}

static void
clean_init(struct clean *c, struct worker *w)
{
	const struct broker_conf *conf = &w->node->conf;
	char path[PATH_MAX];

	*c = (struct clean){.w = w, .swept_min = -1, .entered = -1};
	paths_log(conf, path, sizeof(path));
	segs_init(&c->log, path, conf->mappedFileSizeCommitLog, "mappedFileSizeCommitLog");
	prepare_init(&c->prepare, &c->log);
	c->prepare.reserve_only = conf->flushDiskType == FLUSH_ASYNC;
	paths_below(conf, "consumequeue", c->queue_dir, sizeof(c->queue_dir));
	paths_below(conf, "index", c->index_dir, sizeof(c->index_dir));
	snprintf(c->root, sizeof(c->root), "%s", conf->storePathRootDir);
	sweep_init(&c->sweep, c->queue_dir, paths_queue_file_bytes(conf));
	expire_rule_of(conf, &c->rule);
	ev_timer_init(&c->watch, watch_step, 0.0, 0.0);
	ev_timer_init(&c->remove, remove_step, 0.0, 0.0);
	ev_timer_init(&c->fill, fill_step, 0.0, 0.0);
	c->watch.data = c->remove.data = c->fill.data = c;
}

int
clean_run(struct worker *w)
{
	struct clean c;
	int status;

	worker_init(w);
	clean_init(&c, w);
	w->state = &c;
	w->on_param = on_param;
	w->on_peer = on_peer;
	w->on_stop = on_stop;
	be_idle();
	after_ms(&c, &c.watch, 0);
	worker_ready(w);
	status = worker_loop(w);
	sweep_end(&c.sweep);
	segs_free(&c.log);
	return status;
}

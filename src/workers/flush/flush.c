/*
 * flush: makes the commit log durable, and the queue and index files that the broker names.
 *
 * Runs in:    the flush process, one per broker node.
 * Owns:       shm flush.*, the checkpoint file while it runs.       Reads: broker.appended, broker.appended_store_ms.
 * Must not:   write log bytes, or hold anything the broker waits for.
 * If it dies: the supervisor starts it again; waiting producers are answered late, nothing is lost.
 *
 * SYNC_FLUSH is a group commit: while one sync runs, more records gather, and the next one takes them all. Between syncs
 * that come back to back our waiter stays unarmed, so the broker does not write the eventfd at all.
 *
 * A failed sync is final: the kernel has dropped what it could not write, a second one would answer "done" for lost bytes.
 * failed_errno is published, `flushed` stays, and this process rests until it is stopped, also when it is started again
 * on the same shared memory.
 */
#include "workers/flush/flush.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/paths.h"
#include "store/positions.h"

#define RETRY_S 0.1

struct flush {
	struct worker	*w;
	struct logsync	 log;
	struct marks	 marks;
	ev_idle		 busy;		/* active while there is work: the loop does not sleep then */
	ev_timer	 later;		/* ASYNC_FLUSH: the next look at what is unsynced */
	int64_t		 synced_us;	/* when all was synced last (monotonic) */
	int64_t		 looked_us;	/* when it was last decided to wait, or the sync if that is later */
	int64_t		 sync_end_us;	/* end of the last sync while a spin may follow; 0 none */
	struct group_spin spin;
	ev_timer	 retry;
	int64_t		 unanswered;	/* id of a mark whose answer the broker's channel did not take */
	bool		 failed;
};

static struct group_rule
rule_of(const struct flush *f)
{
	const struct broker_conf *c = &f->w->node->conf;

	return (struct group_rule){
	    .sync = c->flushDiskType == FLUSH_SYNC,
	    .interval_ms = MAX_OF(c->flushIntervalCommitLog, 1),
	    .least_pages = c->flushCommitLogLeastPages,
	    .thorough_ms = c->flushCommitLogThoroughInterval,
	};
}

/* ---- failure */

static void
fail(struct flush *f, int err, const char *what)
{
	struct worker *w = f->w;

	f->failed = true;
	ev_idle_stop(w->loop, &f->busy);
	ev_timer_stop(w->loop, &f->later);
	/* What was written may be gone from the page cache too: the next start must not take it as read. */
	if (!positions_remove(w->node->conf.storePathRootDir))
		log_error("cannot remove %s/" POSITIONS_NAME ": %m; remove it by hand before the next start",
		    w->node->conf.storePathRootDir);
	atomic_store(&w->shm->flush.failed_errno, err);
	worker_wake(w, WORKER_BROKER);
	worker_wake(w, WORKER_HA);
	worker_event(w, "%s; nothing more is acknowledged and no sync is tried again: this node has failed. Bytes up to %lld "
	    "of the log are safe. Look at the disk, then restart the node", what, (long long)pos_read(&w->shm->flush.flushed));
}

/* ---- the log */

static void
count_sync(struct shm_line_flush *s, int64_t bytes, int64_t us)
{
	count_add(&s->syncs, 1);
	count_add(&s->sync_bytes, (uint64_t)bytes);
	count_add(&s->sync_us, (uint64_t)us);
	if ((uint64_t)us > atomic_load_explicit(&s->sync_max_us, memory_order_relaxed))
		atomic_store_explicit(&s->sync_max_us, (uint64_t)us, memory_order_relaxed);
}

/*
 * Syncs all that is appended now. The store time is read before the position: the broker publishes it after, so it is never
 * newer than what the sync covers.
 */
static void
sync_log(struct flush *f)
{
	struct node_shm *shm = f->w->shm;
	int64_t store_ms = pos_read(&shm->broker.appended_store_ms);
	int64_t to = pos_read(&shm->broker.appended), from = pos_read(&shm->flush.flushed);
	int64_t begin = clock_mono_us(), end;
	struct err e;
	int err;

	if (to <= from)
		return;
	err = logsync_range(&f->log, from, to, &e);
	if (err != 0) {
		fail(f, err, e.text);
		return;
	}
	(void)fault_hit(FAULT_FLUSH_BEFORE_PUBLISH);
	end = clock_mono_us();
	count_sync(&shm->flush, to - from, end - begin);
	atomic_store_explicit(&shm->flush.flushed_store_ms, store_ms, memory_order_release);
	pos_publish(&shm->flush.flushed, to);
	worker_wake(f->w, WORKER_BROKER);
	worker_wake(f->w, WORKER_HA);
	f->synced_us = f->looked_us = f->sync_end_us = end;
}

static bool
is_appended(const struct flush *f)
{
	return pos_read(&f->w->shm->broker.appended) > pos_read(&f->w->shm->flush.flushed);
}

/*
 * True: a record came within the time that it pays to wait awake. Two wake-ups through the kernel are saved: measured with
 * one sender and one message in flight, 5,000/s became 6,300/s. Whoever else wants this processor has it meanwhile.
 */
static bool
spin_for_more(struct flush *f)
{
	int64_t until = f->sync_end_us + group_spin_us(&f->spin);

	while (clock_mono_us() < until) {
		if (is_appended(f))
			return true;
		sched_yield();
	}
	return false;
}

static void
note_gap(struct flush *f)
{
	if (f->sync_end_us != 0)
		group_spin_learn(&f->spin, clock_mono_us() - f->sync_end_us);
	f->sync_end_us = 0;
}

/* ---- queue and index files */

/* The broker's channel may be full: only the newest mark counts, tried again a little later. */
static void
answer_mark(struct flush *f, int64_t id)
{
	enum rc rc = ipc_send(f->w->peer_fds[WORKER_BROKER], IPC_FLUSH_BROKER_MARKED, id);

	if (rc == RC_AGAIN) {
		f->unanswered = id;
		ev_timer_set(&f->retry, RETRY_S, 0.0);
		ev_timer_start(f->w->loop, &f->retry);
	} else if (rc != RC_OK) {
		log_debug("the broker is not there to hear of mark %lld", (long long)id);
	}
}

static void
answer_again(struct ev_loop *loop, ev_timer *t, int events)
{
	struct flush *f = t->data;

	(void)loop, (void)events;
	answer_mark(f, f->unanswered);
}

static void
do_mark_step(struct flush *f)
{
	int64_t done, flushed_ms = pos_read(&f->w->shm->flush.flushed_store_ms);
	struct err e;
	int err = marks_step(&f->marks, flushed_ms, &done, &e);

	if (err != 0)
		fail(f, err, e.text);
	else if (done != 0)
		answer_mark(f, done);
}

/* ---- when */

static void
disarm(struct flush *f)
{
	atomic_store_explicit(&f->w->shm->waiters[WORKER_FLUSH].w.armed, 0, memory_order_relaxed);
}

static enum group_verdict
decide(const struct flush *f, int64_t *wait_ms)
{
	const struct node_shm *shm = f->w->shm;
	struct group_rule r = rule_of(f);
	int64_t now = clock_mono_us();
	struct group_since since = {(now - f->synced_us) / 1000, (now - f->looked_us) / 1000};

	return group_decide(&r, pos_read(&shm->broker.appended), pos_read(&shm->flush.flushed), since, wait_ms);
}

static void
begin_work(struct flush *f)
{
	disarm(f);
	ev_timer_stop(f->w->loop, &f->later);
	ev_idle_start(f->w->loop, &f->busy);
}

/* Something is unsynced, but its time has not come: no wake-ups by the broker until then. */
static void
begin_wait(struct flush *f, int64_t wait_ms)
{
	disarm(f);
	ev_idle_stop(f->w->loop, &f->busy);
	ev_timer_stop(f->w->loop, &f->later);
	ev_timer_set(&f->later, (double)wait_ms / 1000, 0.0);
	ev_timer_start(f->w->loop, &f->later);
}

/* Nothing to do: sleep until the broker moves `appended`. Looks once more after arming, as wake_arm asks. */
static void
begin_rest(struct flush *f)
{
	ev_idle_stop(f->w->loop, &f->busy);
	ev_timer_stop(f->w->loop, &f->later);
	wake_arm(&f->w->shm->waiters[WORKER_FLUSH].w);
	if (is_appended(f))
		begin_work(f);
}

/* The interval of ASYNC_FLUSH begins now. */
static void
begin_interval(struct flush *f)
{
	f->looked_us = clock_mono_us();
	begin_wait(f, rule_of(f).interval_ms);
}

/* One sync of the log, if it is due, and one step with files; then what comes next. */
static void
work(struct flush *f)
{
	int64_t wait_ms = 0;

	if (decide(f, &wait_ms) == GROUP_SYNC) {
		note_gap(f);
		sync_log(f);
	}
	if (!f->failed && marks_pending(&f->marks))
		do_mark_step(f);
	if (f->failed || marks_pending(&f->marks) || (rule_of(f).sync && spin_for_more(f)))
		return;
	switch (decide(f, &wait_ms)) {
	case GROUP_SYNC:
		break; /* the idle watcher is active: again next turn */
	case GROUP_WAIT:
		begin_wait(f, wait_ms);
		break;
	case GROUP_REST:
		begin_rest(f);
		break;
	}
}

static void
work_again(struct ev_loop *loop, ev_idle *idle, int events)
{
	(void)loop, (void)events;
	work(idle->data);
}

/* Something has moved. What is appended after a rest waits one interval with ASYNC_FLUSH, so that more comes along. */
static void
look(struct flush *f)
{
	if (f->failed) {
		disarm(f);
	} else if (marks_pending(&f->marks) || (rule_of(f).sync && is_appended(f))) {
		begin_work(f);
		work(f);
	} else if (is_appended(f)) {
		if (!ev_is_active(&f->later) && !ev_is_active(&f->busy))
			begin_interval(f);
	} else if (!ev_is_active(&f->busy)) {
		begin_rest(f);
	}
}

static void
waited(struct ev_loop *loop, ev_timer *t, int events)
{
	struct flush *f = t->data;

	(void)loop, (void)events;
	begin_work(f);
	work(f);
}

/* ---- the worker's life */

static void
on_wake(struct worker *w)
{
	look(w->state);
}

static void
on_param(struct worker *w, const struct param *p)
{
	(void)p;
	look(w->state);
}

/* Of a mark that was for the process before this one some files were told to that: it would call them safe. */
static void
add_mark(struct flush *f, const struct mark *mark)
{
	if (mark->life == atomic_load(&f->w->shm->flush.life))
		marks_add_mark(&f->marks, mark);
}

static void
on_peer(struct worker *w, enum role from, struct ipc_msg *m)
{
	struct flush *f = w->state;
	struct mark mark;

	ensure(from == WORKER_BROKER && (m->type == IPC_BROKER_FLUSH_FILE || m->type == IPC_BROKER_FLUSH_MARK));
	if (m->type == IPC_BROKER_FLUSH_FILE) {
		marks_add_file(&f->marks, ipc_str(m));
	} else {
		mark.id = ipc_i64(m);
		mark.store_ms = ipc_i64(m);
		mark.log_offset = ipc_i64(m);
		mark.index_ms = ipc_i64(m);
		mark.life = ipc_i64(m);
		add_mark(f, &mark);
	}
	ipc_end(m);
	look(f);
}

/* All that was appended and named, then the checkpoint: the next start has little to recover. */
static void
on_stop(struct worker *w)
{
	struct flush *f = w->state;
	struct err e;
	int err;

	if (!f->failed)
		sync_log(f);
	while (!f->failed && marks_pending(&f->marks))
		do_mark_step(f);
	if (!f->failed) {
		err = marks_write_checkpoint(&f->marks, pos_read(&w->shm->flush.flushed_store_ms), &e);
		if (err != 0)
			log_error("%s", e.text);
	}
	worker_exit(w, 0);
}

static void
flush_init(struct flush *f, struct worker *w)
{
	const struct broker_conf *c = &w->node->conf;
	char path[PATH_MAX];
	struct err e;

	*f = (struct flush){.w = w, .synced_us = clock_mono_us()};
	paths_log(c, path, sizeof(path));
	logsync_init(&f->log, path, c->mappedFileSizeCommitLog);
	paths_below(c, CHECKPOINT_NAME, path, sizeof(path));
	if (marks_init(&f->marks, path, &e) != RC_OK)
		worker_die(w, "%s", e.text);
	ev_idle_init(&f->busy, work_again);
	ev_timer_init(&f->later, waited, 0.0, 0.0);
	ev_timer_init(&f->retry, answer_again, 0.0, 0.0);
	f->busy.data = f->later.data = f->retry.data = f;
}

static void
check_old_failure(struct flush *f)
{
	int err = atomic_load(&f->w->shm->flush.failed_errno);

	if (err == 0)
		return;
	f->failed = true;
	log_error("an earlier sync of this node failed: %s (errno %d); none is tried again until the node is restarted",
	    strerror(err), err);
}

int
flush_run(struct worker *w)
{
	struct flush f;
	int status;

	worker_init(w);
	flush_init(&f, w);
	atomic_fetch_add(&w->shm->flush.life, 1);
	w->state = &f;
	w->on_wake = on_wake;
	w->on_param = on_param;
	w->on_peer = on_peer;
	w->on_stop = on_stop;
	check_old_failure(&f);
	worker_ready(w);
	status = worker_loop(w);
	marks_free(&f.marks);
	logsync_free(&f.log);
	return status;
}

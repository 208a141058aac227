/*
 * dirty: what flush has to sync of queues and index, and up to where the log is covered once it has.
 *
 * A mark is a generation: at its begin the dispatched position and store time are noted and all dirty queues become its own;
 * their files are told to flush, a bounded number each second; then the mark itself. Files that become dirty meanwhile belong
 * to the next. Without an answer, or when flush has died (its life in shared memory), the files count as dirty again, and flush passes
 * over a mark that was for the process before it: so no mark ever says too much.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "store/store_int.h"

void
dirty_note(struct store *s, struct store_queue *q)
{
	q->dirty_next = s->dirty.waiting;
	s->dirty.waiting = q;
}

static void
each_dirty_file(struct store *s, struct store_queue *q, int64_t from, void (*tell)(void *arg, const char *path), void *arg)
{
	char path[PATH_MAX];

	for (from = MAX_OF(from, q->file_first); from <= q->file_last; from += s->files.file_bytes)
		if (cqueue_path(&s->files, q, from, path, sizeof(path)))
			tell(arg, path);
}

static void
tell_flush(void *arg, const char *path)
{
	struct store *s = arg;

	if (s->ops.on_dirty_file != NULL)
		s->ops.on_dirty_file(s->ops.arg, path);
}

static void
begin(struct store *s, int64_t now_ms)
{
	struct dirty *m = &s->dirty;

	m->telling = m->waiting;
	m->waiting = NULL;
	m->mark.id++;
	m->mark.store_ms = s->dispatch.at_store_ms;
	m->mark.log_offset = s->dispatch.at;
	m->mark.index_ms = index_full_ms(&s->index);
	m->mark.life = atomic_load(&s->shm->flush.life);
	m->begun_ms = now_ms;
	m->index_told = false;
	m->state = MARK_TELLING;
}

static void
tell_some(struct store *s)
{
	struct dirty *m = &s->dirty;

	if (!m->index_told)
		index_tell_dirty(&s->index, tell_flush, s);
	m->index_told = true;
	for (int n = 0; n < MARK_FILES_STEP && m->telling != NULL; n++) {
		struct store_queue *q = m->telling;

		m->telling = q->dirty_next;
		each_dirty_file(s, q, q->dirty_from, tell_flush, s);
		q->told_from = q->dirty_from;
		q->dirty_from = CQ_NONE;
		q->told_next = m->told;
		m->told = q;
	}
	if (m->telling == NULL)
		m->state = MARK_DUE;
}

/* What was told becomes clean, or dirty again. */
static void
end_told(struct store *s, bool synced)
{
	struct store_queue *q;

	while ((q = s->dirty.told) != NULL) {
		s->dirty.told = q->told_next;
		if (!synced && q->dirty_from == CQ_NONE)
			dirty_note(s, q);
		if (!synced)
			q->dirty_from = q->told_from;
		q->told_from = CQ_NONE;
	}
	if (!synced)
		index_tell_again(&s->index);
	s->dirty.state = MARK_NONE;
}

/* The flush process that was told some of the files has died: all of them are told to the new one. */
static void
begin_again(struct store *s)
{
	struct store_queue *q;

	while ((q = s->dirty.telling) != NULL) {
		s->dirty.telling = q->dirty_next;
		dirty_note(s, q);
	}
	end_told(s, false);
}

void
dirty_second(struct store *s)
{
	struct dirty *m = &s->dirty;
	int64_t now = clock_mono_ms();

	if (m->state != MARK_NONE && m->mark.life != atomic_load(&s->shm->flush.life))
		begin_again(s);
	if (m->state == MARK_ASKED && now - m->asked_ms > MARK_PATIENCE_MS) {
		log_warn("flush has not answered mark %" PRId64 " for %d s: its files are told again", m->mark.id, MARK_PATIENCE_MS / 1000);
		end_told(s, false);
	}
	if (m->state == MARK_NONE && (m->waiting != NULL || m->mark.log_offset != s->dispatch.at) &&
	    now - m->begun_ms >= s->conf->flushIntervalConsumeQueue)
		begin(s, now);
	if (m->state == MARK_TELLING)
		tell_some(s);
}

bool
store_next_mark(struct store *s, struct store_mark *mark)
{
	struct dirty *m = &s->dirty;

	if (m->state != MARK_DUE)
		return false;
	*mark = m->mark;
	m->asked_ms = clock_mono_ms();
	m->state = MARK_ASKED;
	return true;
}

void
store_marked(struct store *s, int64_t id)
{
	if (s->dirty.state == MARK_ASKED && id == s->dirty.mark.id)
		end_told(s, true);
}

static void
drop_from(struct store_queue **list, const struct cq_topic *topic, bool told)
{
	while (*list != NULL) {
		struct store_queue *q = *list, **next = told ? &q->told_next : &q->dirty_next;

		if (q->topic == topic)
			*list = *next;
		else
			list = next;
	}
}

void
dirty_forget(struct store *s, const struct cq_topic *topic)
{
	drop_from(&s->dirty.waiting, topic, false);
	drop_from(&s->dirty.telling, topic, false);
	drop_from(&s->dirty.told, topic, true);
}

struct syncing {
	enum rc	    rc; /* the first failure; nothing is synced after it */
	struct err *e;
};

static void
sync_file(void *arg, const char *path)
{
	struct syncing *to = arg;
	int fd;

	if (to->rc != RC_OK)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return; /* clean has removed it since */
	if (fd < 0 || fdatasync(fd) != 0) {
		to->rc = RC_IO;
		err_set(to->e, "cannot sync %s: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
}

static void
sync_list(struct store *s, struct store_queue *q, struct syncing *to)
{
	for (; q != NULL; q = q->dirty_next) {
		each_dirty_file(s, q, q->dirty_from, sync_file, to);
		q->dirty_from = CQ_NONE;
	}
}

enum rc
dirty_sync_all(struct store *s, struct err *e)
{
	struct syncing to = {RC_OK, e};

	end_told(s, false);
	sync_list(s, s->dirty.telling, &to);
	sync_list(s, s->dirty.waiting, &to);
	s->dirty.telling = s->dirty.waiting = NULL;
	return to.rc;
}

/*
 * timer_log: writes units of timer messages as the original has them. See timer_log.h.
 */
#include "workers/broker/timer_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "store/segs.h"
#include "workers/broker/topics.h"

/* A unit, big-endian. */
#define UNIT_BYTES     52
#define OFF_PREV       4
#define OFF_MAGIC      12
#define OFF_WRITTEN    16
#define OFF_DELAY      24
#define OFF_PHYSICAL   28
#define OFF_SIZE       36
#define OFF_TOPIC_HASH 40
#define MAGIC_UNIT     1
#define MAGIC_ROLL     2
#define MAGIC_DELETE   4
#define BLANK_BYTES    16 /* left at the end of each file */
#define BLANK_MAGIC    0xCBD43194u
#define NO_POSITION    (-1)

#define ROLL_STEPS     172800 /* the original puts off what is further away, by so many steps */
#define FILE_BYTES_MIN 4096
#define BUFFER_BYTES   (1 << 20)
#define LOG_NAME       "timerlog"
#define NEW_NAME       "timerlog.new" /* not all digits, and no file: the original does not look into it */
#define WHEEL_NAME     "timerwheel"

struct writer {
	struct timer *t;
	struct segs segs;
	int fd;
	int64_t at;                 /* of the next unit */
	int64_t last_slot, last_at; /* the newest unit, whose slot the next may be of */
	int64_t step, now_ms;       /* precision; whole steps */
	struct buf out;
};

/* ---- times */

/* The original's TIMER_OUT_MS of an entry. */
static int64_t
slot_of(const struct timer_entry *e, int64_t step)
{
	if (e->topic == 0)
		return (e->due_ms - TIMER_OUT_SPREAD_MS - 1) / step * step;
	return e->due_ms % step == 0 ? e->due_ms - step : e->due_ms / step * step;
}

static int64_t sort_step; /* of by_slot: qsort hands nothing on */

static int
by_slot(const void *x, const void *y)
{
	const struct timer_entry *a = x, *b = y;
	int64_t p = slot_of(a, sort_step), q = slot_of(b, sort_step);

	if (p != q)
		return p < q ? -1 : 1;
	return (a->at > b->at) - (a->at < b->at);
}

/* ---- files */

static void
path_of(const struct broker *b, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", b->conf->storePathRootDir, name);
}

/* Files of a directory without sub-directories, and itself. */
static void
remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *ent;

	if (d == NULL)
		return;
	while ((ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.' && unlinkat(dirfd(d), ent->d_name, 0) != 0)
			log_warn("cannot remove %s/%s: %s", dir, ent->d_name, strerror(errno));
	closedir(d);
	if (rmdir(dir) != 0)
		log_warn("cannot remove %s: %s", dir, strerror(errno));
}

void
timer_log_remove(const struct broker *b)
{
	char path[PATH_MAX];

	path_of(b, NEW_NAME, path);
	remove_dir(path);
	path_of(b, LOG_NAME, path);
	remove_dir(path);
	path_of(b, WHEEL_NAME, path);
	if (unlink(path) != 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

static enum rc
write_out(struct writer *w, struct err *e)
{
	size_t done = 0;

	while (done < w->out.len) {
		ssize_t n = pwrite(w->fd, w->out.p + done, w->out.len - done,
				   (off_t)((w->at - (int64_t)(w->out.len - done)) % w->segs.file_bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err_set(e, "cannot write to %s: %s", w->segs.dir, strerror(errno));
			return errno == ENOSPC || errno == EDQUOT ? RC_FULL : RC_IO;
		}
		done += (size_t)n;
	}
	w->out.len = 0;
	return RC_OK;
}

static enum rc
end_file(struct writer *w, struct err *e)
{
	enum rc rc = write_out(w, e);

	if (rc == RC_OK && fdatasync(w->fd) != 0) {
		err_set(e, "cannot sync %s: %s", w->segs.dir, strerror(errno));
		rc = RC_IO;
	}
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	return rc;
}

static void
put_blank(struct writer *w, int64_t left)
{
	char blank[BLANK_BYTES] = {0};

	be32_put(blank, (uint32_t)left);
	be32_put(blank + OFF_MAGIC, BLANK_MAGIC);
	buf_put(&w->out, blank, sizeof(blank));
	w->at += BLANK_BYTES;
}

/* A file is open that has room for one more unit. */
static enum rc
make_room(struct writer *w, struct err *e)
{
	int64_t left = w->segs.file_bytes - w->at % w->segs.file_bytes;
	enum rc rc = RC_OK;

	if (w->fd >= 0 && left >= UNIT_BYTES + BLANK_BYTES)
		return w->out.len < BUFFER_BYTES ? RC_OK : write_out(w, e);
	if (w->fd >= 0) {
		put_blank(w, left);
		rc = end_file(w, e);
		w->at += left - BLANK_BYTES;
	}
	return rc == RC_OK ? segs_create(&w->segs, w->at, SEG_SPARSE, &w->fd, e) : rc;
}

/* ---- units */

struct unit {
	int64_t slot, physical;
	int32_t size, topic_hash, magic;
};

static enum rc
put_unit(struct writer *w, struct unit u, struct err *e)
{
	char p[UNIT_BYTES] = {0};
	enum rc rc = make_room(w, e);

	if (rc != RC_OK)
		return rc;
	if (u.slot - w->now_ms >= ROLL_STEPS * w->step) {
		u.magic |= MAGIC_ROLL;
		u.slot = w->now_ms + ROLL_STEPS * w->step;
	}
	be32_put(p, UNIT_BYTES);
	be64_put(p + OFF_PREV, (uint64_t)(u.slot == w->last_slot ? w->last_at : NO_POSITION));
	be32_put(p + OFF_MAGIC, (uint32_t)u.magic);
	/* What was due long ago does not fit as a difference to now. */
	be64_put(p + OFF_WRITTEN, (uint64_t)MIN_OF(w->now_ms, u.slot));
	be32_put(p + OFF_DELAY, (uint32_t)(u.slot - MIN_OF(w->now_ms, u.slot)));
	be64_put(p + OFF_PHYSICAL, (uint64_t)u.physical);
	be32_put(p + OFF_SIZE, (uint32_t)u.size);
	be32_put(p + OFF_TOPIC_HASH, (uint32_t)u.topic_hash);
	buf_put(&w->out, p, sizeof(p));
	w->last_slot = u.slot;
	w->last_at = w->at;
	w->at += UNIT_BYTES;
	return RC_OK;
}

static bool
unit_at(const struct timer *t, int64_t at, struct unit *u)
{
	struct store_queue *q = store_queue_find(t->b->store, SLICE_LIT(TIMER_TOPIC), 0);
	int64_t tags_code;

	return q != NULL && store_unit_at(t->b->store, q, at, &u->physical, &u->size, &tags_code) == RC_OK;
}

static enum rc
put_entry(struct writer *w, const struct timer_entry *x, struct err *e)
{
	struct unit u = {.slot = slot_of(x, w->step), .physical = x->physical, .size = x->size, .magic = MAGIC_UNIT};

	if (x->topic > 0) {
		u.topic_hash = str_java_hash(slice_of(w->t->topic[x->topic - 1].name));
		return put_unit(w, u, e);
	}
	u.magic |= MAGIC_DELETE;
	return unit_at(w->t, x->at, &u) ? put_unit(w, u, e) : RC_OK;
}

/*
 * A recall works in the slot that its message is in: its own or, when the exact time lies a little behind, the next. It
 * goes into both: entries are written slot by slot, those of a slot behind the recalls of the slot before.
 */
static enum rc
put_recalls_again(struct writer *w, const struct timer_entry *v, size_t from, size_t to, struct err *e)
{
	enum rc rc = RC_OK;

	for (size_t i = from; i < to && rc == RC_OK; i++) {
		struct timer_entry next = v[i];

		next.due_ms += w->step;
		if (next.topic == 0)
			rc = put_entry(w, &next, e);
	}
	return rc;
}

static enum rc
put_all(struct writer *w, const struct timer_entry *v, size_t count, struct err *e)
{
	enum rc rc = RC_OK;
	size_t begin = 0; /* of this slot */

	for (size_t i = 0; i < count && rc == RC_OK; i++) {
		if (slot_of(&v[i], w->step) != slot_of(&v[begin], w->step)) {
			rc = put_recalls_again(w, v, begin, i, e);
			begin = i;
		}
		if (rc == RC_OK)
			rc = put_entry(w, &v[i], e);
	}
	return rc;
}

/* The original goes on reading the queue behind the message of the last unit: that is the last one that was read. */
static enum rc
put_end(struct writer *w, int64_t read_to, int64_t read_ms, struct err *e)
{
	struct unit u = {.slot = read_ms - 2 * w->step, .magic = MAGIC_UNIT};

	return w->at > 0 && unit_at(w->t, read_to - 1, &u) ? put_unit(w, u, e) : RC_OK;
}

/* ---- the whole */

static enum rc
swap_in(struct writer *w, struct err *e)
{
	const struct broker *b = w->t->b;
	char old[PATH_MAX], path[PATH_MAX];

	path_of(b, LOG_NAME, old);
	path_of(b, WHEEL_NAME, path);
	remove_dir(old);
	if (unlink(path) != 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
	if (w->segs.count > 0 && rename(w->segs.dir, old) != 0) {
		err_set(e, "cannot rename %s to %s: %s", w->segs.dir, old, strerror(errno));
		return RC_IO;
	}
	return dir_sync(b->conf->storePathRootDir, e);
}

enum rc
timer_log_leave(struct timer *t, struct timer_entry *v, size_t count, int64_t read_to, int64_t *read_ms, struct err *e)
{
	struct writer w = {.t = t, .fd = -1, .step = timer_precision_ms(t->b), .last_slot = INT64_MIN};
	char dir[PATH_MAX];
	enum rc rc;

	w.now_ms = clock_wall_ms() / w.step * w.step;
	sort_step = w.step;
	if (count > 0)
		qsort(v, count, sizeof(v[0]), by_slot);
	*read_ms = count > 0 ? MIN_OF(slot_of(&v[0], w.step), w.now_ms) : w.now_ms;
	path_of(t->b, NEW_NAME, dir);
	remove_dir(dir);
	segs_init(&w.segs, dir, MAX_OF(t->b->conf->mappedFileSizeTimerLog, FILE_BYTES_MIN), "mappedFileSizeTimerLog");
	rc = put_all(&w, v, count, e);
	if (rc == RC_OK)
		rc = put_end(&w, read_to, *read_ms, e);
	if (rc == RC_OK && w.fd >= 0)
		rc = end_file(&w, e);
	if (rc == RC_OK)
		rc = swap_in(&w, e);
	if (w.fd >= 0)
		close(w.fd);
	if (rc != RC_OK)
		remove_dir(dir);
	segs_free(&w.segs);
	buf_free(&w.out);
	return rc;
}

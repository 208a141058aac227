/*
 * cqueue: the files of one consume queue: open ones shared by all queues, loading, appending, cutting.
 */
#include "store/cqueue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/segs.h"

#define FILE_MODE 0644
#define HEAD_UNITS 204 /* read at once when a file is looked at: about one page */
#define PAGE	   4096

void
cqueue_init(struct store_queue *q)
{
	*q = (struct store_queue){.min_for = CQ_NONE,
	    .file_first = CQ_NONE,
	    .file_last = CQ_NONE,
	    .dirty_from = CQ_NONE,
	    .told_from = CQ_NONE};
}

/* ---- open files, the least recently used is closed first */

void
cq_files_init(struct cq_files *f, const char *root, int64_t file_bytes, unsigned open_max)
{
	file_bytes = (file_bytes + CQ_UNIT - 1) / CQ_UNIT * CQ_UNIT;
	*f = (struct cq_files){.root = xstrdup(root), .file_bytes = file_bytes, .open_max = MAX_OF(open_max, 2u)};
}

static void
lru_unlink(struct cq_files *f, struct cq_open *o)
{
	*(o->newer != NULL ? &o->newer->older : &f->newest) = o->older;
	*(o->older != NULL ? &o->older->newer : &f->oldest) = o->newer;
}

static void
lru_put_first(struct cq_files *f, struct cq_open *o)
{
	o->newer = NULL;
	o->older = f->newest;
	*(f->newest != NULL ? &f->newest->newer : &f->oldest) = o;
	f->newest = o;
}

static void
close_file(struct cq_files *f, struct cq_open *o)
{
	o->q->opened[o->q->opened[0] == o ? 0 : 1] = NULL;
	lru_unlink(f, o);
	close(o->fd);
	free(o);
	f->open--;
}

void
cq_files_prune(struct cq_files *f, unsigned keep)
{
	while (f->open > keep)
		close_file(f, f->oldest);
}

void
cq_files_free(struct cq_files *f)
{
	cq_files_prune(f, 0);
	free(f->root);
	*f = (struct cq_files){0};
}

void
cqueue_release(struct cq_files *f, struct store_queue *q)
{
	for (unsigned i = 0; i < COUNT_OF(q->opened); i++)
		if (q->opened[i] != NULL)
			close_file(f, q->opened[i]);
	free(q->tail);
	q->tail = NULL;
}

bool
cqueue_dir(const struct cq_files *f, const struct store_queue *q, char *out, size_t n)
{
	return (size_t)snprintf(out, n, "%s/%s/%" PRId32, f->root, q->topic->name, q->id) < n;
}

bool
cqueue_path(const struct cq_files *f, const struct store_queue *q, int64_t from, char *out, size_t n)
{
	return (size_t)snprintf(out, n, "%s/%s/%" PRId32 "/%020" PRId64, f->root, q->topic->name, q->id, from) < n;
}

static struct cq_open *
remember_open(struct cq_files *f, struct store_queue *q, int64_t from, int fd)
{
	unsigned slot = from == q->file_last ? 0 : 1;
	struct cq_open *o;

	if (q->opened[slot] != NULL)
		close_file(f, q->opened[slot]);
	cq_files_prune(f, f->open_max - 1);
	o = xmalloc(sizeof(*o));
	*o = (struct cq_open){.q = q, .from = from, .fd = fd};
	q->opened[slot] = o;
	lru_put_first(f, o);
	f->open++;
	return o;
}

static struct cq_open *
find_open(struct cq_files *f, struct store_queue *q, int64_t from)
{
	for (unsigned i = 0; i < COUNT_OF(q->opened); i++) {
		struct cq_open *o = q->opened[i];

		if (o == NULL || o->from != from)
			continue;
		if (o != f->newest) {
			lru_unlink(f, o);
			lru_put_first(f, o);
		}
		return o;
	}
	return NULL;
}

/* An existing file of q; NULL: errno. */
static struct cq_open *
open_file(struct cq_files *f, struct store_queue *q, int64_t from)
{
	struct cq_open *o = find_open(f, q, from);
	char path[PATH_MAX];
	int fd;

	if (o != NULL)
		return o;
	if (!cqueue_path(f, q, from, path, sizeof(path))) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? NULL : remember_open(f, q, from, fd);
}

static enum rc
say_failed(const struct cq_files *f, const char *what, const char *path, struct err *e)
{
	int err = errno;
	bool full = err == ENOSPC || err == EDQUOT;
	struct statvfs v;
	uint64_t free_bytes = 0;

	if (full && statvfs(f->root, &v) == 0)
		free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	if (full)
		err_set(e, "no space: cannot %s %s, its disk has %" PRIu64
		    " bytes free; free some, messages stay in the log until then", what, path, free_bytes);
	else
		err_set(e, "cannot %s %s: %s", what, path, strerror(err));
	return full ? RC_FULL : RC_IO;
}

static int
create_at(const char *path, int64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	int err;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)bytes) == 0)
		return fd;
	err = errno;
	close(fd);
	unlink(path);
	errno = err;
	return -1;
}

/* The next file of q, sparse; the directory too. */
static enum rc
create_file(struct cq_files *f, struct store_queue *q, int64_t from, struct cq_open **o, struct err *e)
{
	char path[PATH_MAX], dir[PATH_MAX];
	enum rc rc;
	int fd;

	if (!cqueue_dir(f, q, dir, sizeof(dir)) || !cqueue_path(f, q, from, path, sizeof(path))) {
		err_set(e, "path of queue %" PRId32 " of topic %s is too long", q->id, q->topic->name);
		return RC_IO;
	}
	fd = create_at(path, f->file_bytes);
	if (fd < 0 && errno == ENOENT) {
		rc = dir_make(dir, e);
		if (rc != RC_OK)
			return rc;
		fd = create_at(path, f->file_bytes);
	}
	if (fd < 0)
		return say_failed(f, "make", path, e);
	fault_hit(FAULT_DISPATCH_CREATE);
	q->file_last = from;
	if (q->file_first == CQ_NONE) {
		q->file_first = from;
		f->filled++;
	}
	*o = remember_open(f, q, from, fd);
	return RC_OK;
}

static inline int64_t
file_of(const struct cq_files *f, int64_t offset)
{
	int64_t at = offset * CQ_UNIT;

	return at - at % f->file_bytes;
}

/* ---- reading */

/* What is in the page cache of it. Where the file system cannot say, as much as there is. */
static ssize_t
read_cached(const struct cq_files *f, struct cq_open *o, char *out, size_t want, int64_t at)
{
	struct iovec to = {out, want};
	ssize_t r = preadv2(o->fd, &to, 1, (off_t)at, RWF_NOWAIT);
	int64_t from = at - at % GATE_BYTES;
	char path[PATH_MAX];

	if (r < 0 && errno != EAGAIN)
		return pread(o->fd, out, want, (off_t)at);
	if (r < CQ_UNIT && cqueue_path(f, o->q, o->from, path, sizeof(path)))
		gate_note(f->gate, path, from, at + (int64_t)MIN_OF(want, (size_t)CQ_UNIT) - from, f->file_bytes);
	return r;
}

/* Whole units that could be read. */
static size_t
read_units(const struct cq_files *f, struct cq_open *o, int64_t offset, size_t n, char *out)
{
	int64_t at = offset * CQ_UNIT - o->from;
	size_t want = (size_t)MIN_OF((int64_t)n * CQ_UNIT, f->file_bytes - at);
	ssize_t r;

	if (want == 0)
		return 0;
	r = gate_is_closed(f->gate) ? read_cached(f, o, out, want, at) : pread(o->fd, out, want, (off_t)at);
	return r < 0 ? 0 : (size_t)r / CQ_UNIT;
}

static size_t
read_tail(const struct store_queue *q, int64_t offset, size_t n, char *out)
{
	n = (size_t)MIN_OF((int64_t)n, q->max - offset);
	for (size_t i = 0; i < n; i++)
		memcpy(out + i * CQ_UNIT, q->tail + (offset + (int64_t)i) % CQ_TAIL_UNITS * CQ_UNIT, CQ_UNIT);
	return n;
}

size_t
cqueue_read(struct cq_files *f, struct store_queue *q, int64_t offset, size_t n, char *out)
{
	struct cq_open *o;

	if (offset < 0 || offset >= q->max || q->file_first == CQ_NONE || offset * CQ_UNIT < q->file_first)
		return 0;
	if (q->tail != NULL && offset >= q->tail_from)
		return read_tail(q, offset, n, out);
	o = open_file(f, q, file_of(f, offset));
	if (o == NULL)
		return 0;
	return read_units(f, o, offset, (size_t)MIN_OF((int64_t)n, q->max - offset), out);
}

bool
cqueue_unit(struct cq_files *f, struct store_queue *q, int64_t offset, struct cq_unit *u)
{
	char raw[CQ_UNIT];

	if (cqueue_read(f, q, offset, 1, raw) != 1)
		return false;
	cq_unit_get(raw, u);
	u->offset = offset;
	return true;
}

static bool
is_good(const struct cq_unit *u)
{
	return u->physical >= 0 && u->size > 0;
}

static bool
is_blank(const struct cq_unit *u)
{
	return u->physical == 0 && u->size == CQ_BLANK_SIZE;
}

/* The first of units [lo, hi) that is a message at or behind `physical`; hi if there is none. Places rise with offsets. */
static int64_t
first_at_or_behind(struct cq_files *f, struct store_queue *q, int64_t lo, int64_t hi, int64_t physical)
{
	unsigned noted = f->gate != NULL ? f->gate->noted : 0;

	while (lo < hi && (f->gate == NULL || f->gate->noted == noted)) {
		int64_t mid = lo + (hi - lo) / 2;
		struct cq_unit u;

		if (cqueue_unit(f, q, mid, &u) && !is_blank(&u) && u.physical >= physical)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

void
cqueue_follow_min(struct cq_files *f, struct store_queue *q)
{
	int64_t log_min = f->log_min;
	unsigned noted = f->gate != NULL ? f->gate->noted : 0;
	int64_t min = q->min;
	struct cq_unit u;

	if (LIKELY(q->min_for == log_min) || q->max == 0 || q->file_first == CQ_NONE)
		return;
	if (q->max_physical <= log_min)
		min = q->max;
	else if (!cqueue_unit(f, q, q->min, &u) || is_blank(&u) || u.physical < log_min)
		min = first_at_or_behind(f, q, q->min, q->max, log_min);
	if (f->gate != NULL && f->gate->noted != noted)
		return; /* the old one until its units have come from the disk */
	q->min_for = log_min;
	q->min = min;
	/* clean removes the files below by itself */
	q->file_first = MAX_OF(q->file_first, MIN_OF(file_of(f, q->min), q->file_last));
	if (q->opened[1] != NULL && q->opened[1]->from < q->file_first)
		close_file(f, q->opened[1]);
}

/* ---- loading */

static enum rc
note_file(const struct cq_files *f, struct store_queue *q, int dirfd, const char *name, struct err *e)
{
	struct stat st;
	int64_t from;

	if (fstatat(dirfd, name, &st, 0) != 0)
		return errno == ENOENT ? RC_OK : say_failed(f, "look at the queue file", name, e);
	if (S_ISDIR(st.st_mode))
		return RC_OK;
	if (strlen(name) != SEGS_NAME_LEN || segs_parse_name(name, &from) != RC_OK || from % f->file_bytes != 0) {
		err_set(e, "%s/%s/%" PRId32 "/%s is no queue file: its name is no multiple of mappedFileSizeConsumeQueue=%" PRId64,
		    f->root, q->topic->name, q->id, name, f->file_bytes);
		return RC_BADDATA;
	}
	if (st.st_size == 0 && unlinkat(dirfd, name, 0) == 0)
		return RC_OK; /* was being made */
	if ((int64_t)st.st_size != f->file_bytes) {
		err_set(e, "%s/%s/%" PRId32 "/%s has %" PRId64 " bytes, but mappedFileSizeConsumeQueue is %" PRId64
		    ": set it to the size that this store was made with", f->root, q->topic->name, q->id, name,
		    (int64_t)st.st_size, f->file_bytes);
		return RC_BADDATA;
	}
	q->file_first = q->file_first == CQ_NONE ? from : MIN_OF(q->file_first, from);
	q->file_last = MAX_OF(q->file_last, from);
	return RC_OK;
}

static enum rc
list_files(const struct cq_files *f, struct store_queue *q, int dirfd, struct err *e)
{
	DIR *d = fdopendir(dirfd);
	struct dirent *ent;
	enum rc rc = RC_OK;

	if (d == NULL) {
		rc = say_failed(f, "list the directory of a queue of topic", q->topic->name, e);
		close(dirfd);
		return rc;
	}
	while (rc == RC_OK && (ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.')
			rc = note_file(f, q, dirfd, ent->d_name, e);
	closedir(d);
	return rc;
}

static bool
good_at(const struct cq_files *f, struct cq_open *o, int64_t index)
{
	char raw[CQ_UNIT];
	struct cq_unit u;

	if (read_units(f, o, o->from / CQ_UNIT + index, 1, raw) != 1)
		return false;
	cq_unit_get(raw, &u);
	return is_good(&u);
}

/* How many units of this file are good, by the first that is not. */
static int64_t
count_good(const struct cq_files *f, struct cq_open *o)
{
	char head[HEAD_UNITS * CQ_UNIT];
	size_t n = read_units(f, o, o->from / CQ_UNIT, HEAD_UNITS, head);
	int64_t lo = (int64_t)n, hi = f->file_bytes / CQ_UNIT;

	for (size_t i = 0; i < n; i++) {
		struct cq_unit u;

		cq_unit_get(head + i * CQ_UNIT, &u);
		if (!is_good(&u))
			return (int64_t)i;
	}
	while (lo < hi) {
		int64_t mid = lo + (hi - lo) / 2;

		if (good_at(f, o, mid))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static enum rc
remove_files_behind(struct cq_files *f, struct store_queue *q, int64_t last, struct err *e)
{
	char path[PATH_MAX];

	for (; q->file_last > last; q->file_last -= f->file_bytes) {
		struct cq_open *o = find_open(f, q, q->file_last);

		if (o != NULL)
			close_file(f, o);
		if (cqueue_path(f, q, q->file_last, path, sizeof(path)) && unlink(path) != 0 && errno != ENOENT)
			return say_failed(f, "remove", path, e);
	}
	return RC_OK;
}

static void
find_max_physical(struct cq_files *f, struct store_queue *q)
{
	struct cq_unit u;

	q->max_physical = 0;
	if (q->max > 0 && cqueue_unit(f, q, q->max - 1, &u) && !is_blank(&u))
		q->max_physical = u.physical + u.size;
}

/* The end is in the last file that has a good unit; an empty one behind a full one is where the next unit goes. */
static enum rc
find_end(struct cq_files *f, struct store_queue *q, struct err *e)
{
	int64_t from = q->file_last, n = 0;

	for (;; from -= f->file_bytes) {
		struct cq_open *o = open_file(f, q, from);

		if (o == NULL && errno != ENOENT)
			return say_failed(f, "open a queue file of topic", q->topic->name, e);
		n = o == NULL ? 0 : count_good(f, o);
		if (n > 0 || from == q->file_first)
			break;
	}
	q->max = q->tail_from = from / CQ_UNIT + n;
	if (n == f->file_bytes / CQ_UNIT)
		from += f->file_bytes;
	return remove_files_behind(f, q, from, e);
}

enum rc
cqueue_load(struct cq_files *f, struct store_queue *q, int dirfd, struct err *e)
{
	enum rc rc = list_files(f, q, dirfd, e);

	if (rc != RC_OK || q->file_first == CQ_NONE)
		return rc;
	f->filled++;
	rc = find_end(f, q, e);
	q->min = q->file_first / CQ_UNIT;
	q->next = q->max;
	find_max_physical(f, q);
	q->emptied = q->max_physical == 0;
	return rc;
}

/* ---- writing */

static enum rc
write_at(struct cq_files *f, struct store_queue *q, struct cq_open *o, const char *p, size_t n, int64_t at, struct err *e)
{
	char path[PATH_MAX] = "";

	while (n > 0) {
		ssize_t r = pwrite(o->fd, p, n, (off_t)(at - o->from));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			(void)cqueue_path(f, q, o->from, path, sizeof(path));
			return say_failed(f, "write to", path, e);
		}
		p += r;
		n -= (size_t)r;
		at += r;
	}
	return RC_OK;
}

static enum rc
open_for_append(struct cq_files *f, struct store_queue *q, int64_t from, struct cq_open **o, struct err *e)
{
	char path[PATH_MAX] = "";

	if (q->file_last == CQ_NONE || from > q->file_last)
		return create_file(f, q, from, o, e);
	*o = open_file(f, q, from);
	if (*o != NULL)
		return RC_OK;
	(void)cqueue_path(f, q, from, path, sizeof(path));
	return say_failed(f, "open", path, e);
}

static void
keep_tail(struct store_queue *q, const char *units, size_t n)
{
	if (q->tail == NULL) {
		q->tail = xmalloc((size_t)CQ_TAIL_UNITS * CQ_UNIT);
		q->tail_from = q->max;
	}
	for (size_t i = 0; i < n; i++)
		memcpy(q->tail + (q->max + (int64_t)i) % CQ_TAIL_UNITS * CQ_UNIT, units + i * CQ_UNIT, CQ_UNIT);
	q->tail_from = MAX_OF(q->tail_from, q->max + (int64_t)n - CQ_TAIL_UNITS);
}

/* Units that are encoded already, to the end of the queue. */
static enum rc
write_units(struct cq_files *f, struct store_queue *q, const char *units, size_t n, struct err *e)
{
	while (n > 0) {
		int64_t at = q->max * CQ_UNIT, from = file_of(f, q->max);
		size_t step = (size_t)MIN_OF((int64_t)n, (from + f->file_bytes - at) / CQ_UNIT);
		const char *last = units + (step - 1) * CQ_UNIT;
		struct cq_open *o;
		enum rc rc = open_for_append(f, q, from, &o, e);

		if (rc == RC_OK)
			rc = write_at(f, q, o, units, step * CQ_UNIT, at, e);
		if (rc != RC_OK)
			return rc;
		keep_tail(q, units, step);
		if (q->dirty_from == CQ_NONE)
			q->dirty_from = from;
		q->max += (int64_t)step;
		q->max_physical = (int64_t)be64_get(last) + (int32_t)be32_get(last + 8);
		units += step * CQ_UNIT;
		n -= step;
	}
	return RC_OK;
}

/* A queue that begins at `offset`: what stands before it in its first file are units that name nothing. */
static enum rc
begin_at(struct cq_files *f, struct store_queue *q, int64_t offset, struct err *e)
{
	const struct cq_unit blank = {.size = CQ_BLANK_SIZE};
	int64_t from = file_of(f, offset);
	size_t n = (size_t)(offset - from / CQ_UNIT);
	struct cq_open *o;
	enum rc rc = open_for_append(f, q, from, &o, e);
	char *units;

	if (rc != RC_OK)
		return rc;
	units = xmalloc(n * CQ_UNIT + 1);
	for (size_t i = 0; i < n; i++)
		cq_unit_put(units + i * CQ_UNIT, &blank);
	rc = write_at(f, q, o, units, n * CQ_UNIT, from, e);
	free(units);
	if (rc != RC_OK)
		return rc;
	q->max = q->min = q->tail_from = offset;
	return RC_OK;
}

static bool
is_built(const struct store_queue *q, const struct cq_unit *u, int64_t at)
{
	return u->physical + u->size <= q->max_physical || (u->offset != 0 && u->offset < at);
}

static void
warn_order(const struct store_queue *q, const struct cq_unit *u, int64_t at)
{
	static struct log_limit limit;

	if (log_allowed(&limit, 10))
		log_warn("queue %" PRId32 " of topic %s: the record at %" PRId64 " says queue offset %" PRId64
		    ", it becomes %" PRId64, q->id, q->topic->name, u->physical, u->offset, at);
}

/*
 * A power cut may have taken a queue's first file and left a later one, which has nothing that counts. All its units are made
 * again then, from the log: as if there were no files.
 */
static enum rc
begin_again(struct cq_files *f, struct store_queue *q, struct err *e)
{
	enum rc rc = remove_files_behind(f, q, q->file_first - f->file_bytes, e);

	if (rc != RC_OK)
		return rc;
	q->file_first = q->file_last = CQ_NONE;
	q->max = q->min = q->next = q->tail_from = q->stale_to = 0;
	q->min_for = CQ_NONE;
	return RC_OK;
}

static enum rc
begin_right(struct cq_files *f, struct store_queue *q, int64_t offset, struct err *e)
{
	enum rc rc = RC_OK;

	if (UNLIKELY(q->emptied) && q->file_first != CQ_NONE && offset < q->max)
		rc = begin_again(f, q, e);
	q->emptied = false;
	if (rc == RC_OK && q->file_last == CQ_NONE && q->max == 0 && offset != 0)
		rc = begin_at(f, q, offset, e);
	return rc;
}

enum rc
cqueue_append(struct cq_files *f, struct store_queue *q, const struct cq_unit *u, size_t n, struct err *e)
{
	char units[CQ_APPEND_MAX * CQ_UNIT];
	size_t taken = 0;
	enum rc rc;

	ensure(n <= CQ_APPEND_MAX);
	if (n == 0)
		return RC_OK;
	rc = begin_right(f, q, u[0].offset, e);
	if (rc != RC_OK)
		return rc;
	for (size_t i = 0; i < n; i++) {
		int64_t at = q->max + (int64_t)taken;

		if (is_built(q, &u[i], at))
			continue;
		if (u[i].offset != at)
			warn_order(q, &u[i], at);
		cq_unit_put(units + taken++ * CQ_UNIT, &u[i]);
	}
	return write_units(f, q, units, taken, e);
}

/* ---- recovery */

static enum rc
cut_at(struct cq_files *f, struct store_queue *q, int64_t max, int64_t stale_to, struct err *e)
{
	q->stale_to = MAX_OF(q->stale_to, stale_to);
	q->max = q->next = q->tail_from = max;
	q->min = MIN_OF(q->min, max);
	q->min_for = CQ_NONE;
	free(q->tail);
	q->tail = NULL;
	find_max_physical(f, q);
	q->emptied = q->max_physical == 0;
	return remove_files_behind(f, q, MAX_OF(file_of(f, max), q->file_first), e);
}

enum rc
cqueue_cut(struct cq_files *f, struct store_queue *q, int64_t physical, struct err *e)
{
	if (q->file_first == CQ_NONE || q->max_physical <= physical)
		return RC_OK;
	return cut_at(f, q, first_at_or_behind(f, q, q->file_first / CQ_UNIT, q->max, physical), q->max, e);
}

/* The first of the units just before `max` that cannot stand there: places must rise and lie below `physical`. max: all can. */
static int64_t
first_out_of_order(struct cq_files *f, struct store_queue *q, int64_t max, int64_t physical)
{
	int64_t from = MAX_OF(q->file_first / CQ_UNIT, max - HEAD_UNITS), last = -1;

	for (int64_t i = from; i < max; i++) {
		struct cq_unit u;

		if (!cqueue_unit(f, q, i, &u) || !is_good(&u) || (!is_blank(&u) && (u.physical <= last || u.physical >= physical)))
			return i;
		last = is_blank(&u) ? -1 : u.physical;
	}
	return max;
}

enum rc
cqueue_distrust(struct cq_files *f, struct store_queue *q, int64_t physical, struct err *e)
{
	int64_t max = q->max, good;

	if (q->file_first == CQ_NONE)
		return RC_OK;
	for (;;) {
		max = first_at_or_behind(f, q, q->file_first / CQ_UNIT, max, physical);
		good = first_out_of_order(f, q, max, physical);
		if (good == max)
			return cut_at(f, q, max, (file_of(f, max) + f->file_bytes) / CQ_UNIT, e);
		max = good;
	}
}

/* Is there anything but zeros from `at` on? Looks at the rest of its page and for further data. */
static bool
has_stale(const struct cq_open *o, int64_t at)
{
	char rest[PAGE];
	int64_t page_end = (at - o->from) / PAGE * PAGE + PAGE;
	ssize_t n = pread(o->fd, rest, (size_t)(page_end - (at - o->from)), (off_t)(at - o->from));

	for (ssize_t i = 0; i < n; i++)
		if (rest[i] != 0)
			return true;
	return n < 0 || lseek(o->fd, (off_t)page_end, SEEK_DATA) >= 0 || errno != ENXIO;
}

static enum rc
zero_units(struct cq_files *f, struct store_queue *q, struct cq_open *o, int64_t at, int64_t to, struct err *e)
{
	char *zeros;
	enum rc rc;

	if (fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(at - o->from), (off_t)(to - at)) == 0)
		return RC_OK;
	zeros = xcalloc(1, (size_t)(to - at));
	rc = write_at(f, q, o, zeros, (size_t)(to - at), at, e);
	free(zeros);
	return rc;
}

enum rc
cqueue_clear(struct cq_files *f, struct store_queue *q, struct err *e)
{
	int64_t from = file_of(f, q->max), to = MIN_OF(q->stale_to * CQ_UNIT, from + f->file_bytes);
	int64_t at = q->max * CQ_UNIT;
	struct cq_open *o;
	enum rc rc;

	q->stale_to = 0;
	if (at >= to || q->file_last == CQ_NONE || from > q->file_last)
		return RC_OK;
	rc = open_for_append(f, q, from, &o, e);
	if (rc != RC_OK || !has_stale(o, at))
		return rc;
	rc = zero_units(f, q, o, at, to, e);
	if (rc == RC_OK && q->dirty_from == CQ_NONE)
		q->dirty_from = from;
	return rc;
}

void
cqueue_remove(struct cq_files *f, struct store_queue *q)
{
	char path[PATH_MAX];

	f->filled -= q->file_first != CQ_NONE;
	for (unsigned i = 0; i < COUNT_OF(q->opened); i++)
		if (q->opened[i] != NULL)
			close_file(f, q->opened[i]);
	for (int64_t from = q->file_first; from != CQ_NONE && from <= q->file_last; from += f->file_bytes)
		if (cqueue_path(f, q, from, path, sizeof(path)) && unlink(path) != 0 && errno != ENOENT)
			log_warn("cannot remove %s: %s", path, strerror(errno));
	if (cqueue_dir(f, q, path, sizeof(path)) && rmdir(path) != 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

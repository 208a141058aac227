/*
 * commitlog: staging a turn, writing it and taking it back, maps to read, and the cut behind the log's end.
 */
#include "store/commitlog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/record.h"

#define ZERO_CHUNK (1u << 20)

enum rc
commitlog_open(struct commitlog *l, const char *dir, int64_t segment_bytes, struct err *e)
{
	enum rc rc = segs_check_path(dir, e);

	if (rc != RC_OK)
		return rc;
	*l = (struct commitlog){.fd = -1, .rolled_to = -1};
	segs_init(&l->segs, dir, segment_bytes, "mappedFileSizeCommitLog");
	rc = segs_load(&l->segs, e);
	if (rc == RC_OK)
		rc = dir_make(dir, e);
	if (rc != RC_OK) {
		segs_free(&l->segs);
		return rc;
	}
	l->min = segs_min(&l->segs);
	l->end = l->staged_end = segs_end(&l->segs);
	return RC_OK;
}

static void
close_writer(struct commitlog *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void
commitlog_close(struct commitlog *l)
{
	close_writer(l);
	commitlog_forget(l, INT64_MAX);
	segs_free(&l->segs);
	free(l->maps);
	free(l->pieces);
	free(l->turn);
	*l = (struct commitlog){.fd = -1};
}

void
commitlog_set_end(struct commitlog *l, int64_t end)
{
	ensure(l->turn_len == 0);
	l->end = l->staged_end = end;
}

/* ---- staging */

static void
add_piece(struct commitlog *l, int64_t from)
{
	if (l->piece_count == l->piece_cap) {
		l->piece_cap = l->piece_cap == 0 ? 4 : l->piece_cap * 2;
		l->pieces = xrealloc(l->pieces, l->piece_cap * sizeof(*l->pieces));
	}
	l->pieces[l->piece_count++] = (struct log_piece){from, l->turn_len, 0};
}

static void
reserve_turn(struct commitlog *l, size_t n)
{
	size_t cap = l->turn_cap == 0 ? 256u << 10 : l->turn_cap;

	while (cap < l->turn_len + n)
		cap *= 2;
	if (cap == l->turn_cap)
		return;
	l->turn = xrealloc(l->turn, cap);
	l->turn_cap = cap;
}

static char *
put_staged(struct commitlog *l, size_t n)
{
	char *p = l->turn + l->turn_len;

	l->turn_len += n;
	l->pieces[l->piece_count - 1].len += n;
	return p;
}

/* Fills up the segment and goes on in the next. */
static void
stage_roll(struct commitlog *l)
{
	int64_t next = segs_start(&l->segs, l->staged_end) + l->segs.file_bytes;

	if (l->piece_count == 0)
		add_piece(l, l->staged_end);
	record_put_filler(put_staged(l, RECORD_FILLER_BYTES), (uint32_t)(next - l->staged_end));
	l->staged_end = next;
	add_piece(l, next);
}

bool
commitlog_has_room(const struct commitlog *l, size_t n)
{
	return l->turn_len == 0 || l->turn_len + n + RECORD_FILLER_BYTES <= TURN_BYTES;
}

enum rc
commitlog_stage(struct commitlog *l, size_t n, char **out, int64_t *at)
{
	int64_t left = segs_start(&l->segs, l->staged_end) + l->segs.file_bytes - l->staged_end;

	if ((int64_t)n + RECORD_FILLER_BYTES > l->segs.file_bytes)
		return RC_LIMIT;
	if (!commitlog_has_room(l, n))
		return RC_AGAIN;
	reserve_turn(l, n + RECORD_FILLER_BYTES);
	if ((int64_t)n + RECORD_FILLER_BYTES > left)
		stage_roll(l);
	else if (l->piece_count == 0)
		add_piece(l, l->staged_end);
	*out = put_staged(l, n);
	*at = l->staged_end;
	l->staged_end += (int64_t)n;
	return RC_OK;
}

void
commitlog_unstage(struct commitlog *l)
{
	l->turn_len = 0;
	l->piece_count = 0;
	l->staged_end = l->end;
	if (l->turn_cap > TURN_BYTES) { /* a very large batch: not kept for ever */
		free(l->turn);
		l->turn = NULL;
		l->turn_cap = 0;
	}
}

/* ---- writing */

static bool
is_disk_full(int err)
{
	return err == ENOSPC || err == EDQUOT;
}

static enum rc
say_write_failed(struct commitlog *l, int err, size_t n, int64_t at, struct err *e)
{
	struct statvfs v;
	uint64_t free_bytes = 0;

	if (statvfs(l->segs.dir, &v) == 0)
		free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	if (is_disk_full(err)) {
		err_set(e, "no space for %zu bytes at %" PRId64 " of the log in %s: its disk has %" PRIu64
		    " bytes free; free some, or lower fileReservedTime or diskMaxUsedSpaceRatio", n, at, l->segs.dir,
		    free_bytes);
		return RC_FULL;
	}
	err_set(e, "cannot write %zu bytes at %" PRId64 " of the log in %s: %s", n, at, l->segs.dir, strerror(err));
	return RC_IO;
}

/* A segment that is there may be sparse (the Java broker's are): with its blocks set aside no write in it meets a full disk. */
static enum rc
open_existing(struct commitlog *l, int64_t from, int64_t at, struct err *e)
{
	enum rc rc = segs_open(&l->segs, from, SEG_WRITE, &l->fd, e);

	if (rc == RC_OK && fallocate(l->fd, 0, (off_t)(at - from), (off_t)(from + l->segs.file_bytes - at)) != 0)
		log_debug("no blocks set aside for %s/%020" PRId64 ": %s", l->segs.dir, from, strerror(errno));
	return rc;
}

/* *ready: it is zero-filled. */
static enum rc
open_next(struct commitlog *l, int64_t from, bool *ready, struct err *e)
{
	enum rc rc = segs_take_prepared(&l->segs, from, &l->fd, e);

	*ready = rc == RC_OK;
	if (rc == RC_NOTFOUND)
		rc = segs_create(&l->segs, from, SEG_RESERVED, &l->fd, e);
	return rc;
}

/* Makes l->fd the segment that holds `at`. */
static enum rc
open_writer(struct commitlog *l, int64_t at, struct err *e)
{
	int64_t from = segs_start(&l->segs, at);
	bool ready = false;
	enum rc rc;

	if (l->fd >= 0 && l->fd_from == from)
		return RC_OK;
	close_writer(l);
	rc = segs_index(&l->segs, from) >= 0 ? open_existing(l, from, at, e) : open_next(l, from, &ready, e);
	if (rc != RC_OK) {
		l->fd = -1;
		return rc;
	}
	l->fd_from = l->rolled_to = from;
	fillahead_enter(&l->fill, l->fill_wanted && !ready, at - from);
	return RC_OK;
}

/* Writes all n bytes at `at` of the open segment. *done: bytes that are in the file, also when it fails. 0 or errno. */
static int
write_all(struct commitlog *l, const char *p, size_t n, int64_t at, size_t *done)
{
	*done = 0;
	while (*done < n) {
		ssize_t r = pwrite(l->fd, p + *done, n - *done, (off_t)(at - l->fd_from) + (off_t)*done);

		if (r < 0 && errno != EINTR)
			return errno;
		if (r == 0)
			return EIO;
		if (r > 0)
			*done += (size_t)r;
	}
	return 0;
}

static enum rc
write_piece(struct commitlog *l, size_t i, size_t *done, struct err *e)
{
	const struct log_piece *piece = &l->pieces[i];
	bool last = i + 1 == l->piece_count;
	enum rc rc;
	int err;

	*done = 0;
	rc = open_writer(l, piece->from, e);
	if (rc != RC_OK)
		return rc;
	if (i > 0)
		fault_hit(FAULT_ROLL_AFTER_OPEN);
	if (!last)
		fault_hit(FAULT_ROLL_BEFORE_FILLER);
	err = fault_hit(FAULT_APPEND_WRITE);
	if (err == 0)
		err = write_all(l, l->turn + piece->at, piece->len, piece->from, done);
	if (err != 0)
		return say_write_failed(l, err, piece->len, piece->from, e);
	if (last)
		fillahead_write(&l->fill, l->fd, piece->from - l->fd_from, (int64_t)piece->len, l->segs.file_bytes);
	if (!last)
		fault_hit(FAULT_ROLL_AFTER_FILLER);
	return RC_OK;
}

/* Zeroes n bytes of the open segment. */
static int
zero_range(struct commitlog *l, int64_t at, int64_t n)
{
	static const char zeros[64 << 10];
	size_t done;
	int err = 0;

	while (n > 0 && err == 0) {
		size_t step = (size_t)MIN_OF(n, (int64_t)sizeof(zeros));

		err = write_all(l, zeros, step, at, &done);
		at += (int64_t)step;
		n -= (int64_t)step;
	}
	return err;
}

/*
 * A refused record must never be found by a later recovery, not even behind the records of a later turn: takes back piece
 * `failed`, of which `done` bytes are written, and all before it.
 */
static void
take_back(struct commitlog *l, size_t failed, size_t done)
{
	struct err e;

	for (size_t i = failed + 1; i-- > 0;) {
		int64_t n = i == failed ? (int64_t)done : (int64_t)l->pieces[i].len;
		int err;

		if (n == 0)
			continue;
		err = open_writer(l, l->pieces[i].from, &e) != RC_OK ? EIO : zero_range(l, l->pieces[i].from, n);
		if (err == 0)
			continue;
		l->broken = true;
		log_error("cannot take back %" PRId64 " bytes at %" PRId64 " of the log in %s: %s; the broker refuses writes "
		    "until it is restarted and the log recovered", n, l->pieces[i].from, l->segs.dir, strerror(err));
	}
}

enum rc
commitlog_write(struct commitlog *l, struct err *e)
{
	size_t done;

	if (l->broken) {
		err_set(e, "the log in %s could not take back a failed write: restart the broker to recover it", l->segs.dir);
		return RC_BUSY;
	}
	fault_hit(FAULT_APPEND_BEFORE_WRITE);
	for (size_t i = 0; i < l->piece_count; i++) {
		enum rc rc = write_piece(l, i, &done, e);

		if (rc != RC_OK) {
			take_back(l, i, done);
			return rc;
		}
	}
	fault_hit(FAULT_APPEND_AFTER_WRITE);
	l->end = l->staged_end;
	return RC_OK;
}

/* ---- on a slave */

enum rc
commitlog_copy(struct commitlog *l, const char *p, size_t n, struct err *e)
{
	size_t done;
	enum rc rc = open_writer(l, l->end, e);
	int err;

	if (rc != RC_OK || n == 0)
		return rc;
	ensure((int64_t)n <= l->fd_from + l->segs.file_bytes - l->end);
	err = fault_hit(FAULT_APPEND_WRITE);
	if (err == 0)
		err = write_all(l, p, n, l->end, &done);
	if (err != 0)
		return say_write_failed(l, err, n, l->end, e);
	fillahead_write(&l->fill, l->fd, l->end - l->fd_from, (int64_t)n, l->segs.file_bytes);
	l->end = l->staged_end = l->end + (int64_t)n;
	return RC_OK;
}

enum rc
commitlog_clear(struct commitlog *l, int64_t to, struct err *e)
{
	enum rc rc;
	int err;

	if (to <= l->end)
		return RC_OK;
	rc = open_writer(l, l->end, e);
	if (rc != RC_OK)
		return rc;
	err = zero_range(l, l->end, MIN_OF(to, l->fd_from + l->segs.file_bytes) - l->end);
	return err == 0 ? RC_OK : say_write_failed(l, err, (size_t)(to - l->end), l->end, e);
}

/* ---- reading */

static size_t
map_place(const struct commitlog *l, int64_t from)
{
	size_t lo = 0, hi = l->map_count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (l->maps[mid].from < from)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const char *
map_file(struct commitlog *l, int64_t from)
{
	struct err e;
	char *p;
	int fd;

	if (segs_open(&l->segs, from, SEG_READ, &fd, &e) != RC_OK) {
		log_error("a part of the log cannot be read: %s", e.text);
		return NULL;
	}
	p = mmap(NULL, (size_t)l->segs.file_bytes, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		return p;
	log_error("cannot map %s/%020" PRId64 ": %s", l->segs.dir, from, strerror(errno));
	return NULL;
}

static const char *
map_new(struct commitlog *l, int64_t from, size_t place)
{
	const char *p = map_file(l, from);

	if (p == NULL)
		return NULL;
	if (l->map_count == l->map_cap) {
		l->map_cap = l->map_cap == 0 ? 16 : l->map_cap * 2;
		l->maps = xrealloc(l->maps, l->map_cap * sizeof(*l->maps));
	}
	memmove(l->maps + place + 1, l->maps + place, (l->map_count - place) * sizeof(*l->maps));
	l->maps[place] = (struct log_map){from, p};
	l->map_count++;
	return p;
}

static const char *
segment_bytes(struct commitlog *l, int64_t from)
{
	size_t place;

	if (LIKELY(l->hot.p != NULL && l->hot.from == from))
		return l->hot.p;
	place = map_place(l, from);
	l->hot.from = from;
	l->hot.p = place < l->map_count && l->maps[place].from == from ? l->maps[place].p : map_new(l, from, place);
	return l->hot.p;
}

const char *
commitlog_read(struct commitlog *l, int64_t at, size_t *n)
{
	int64_t from = segs_start(&l->segs, at);
	const char *p;

	*n = 0;
	if (at < l->min || at >= l->end)
		return NULL;
	p = segment_bytes(l, from);
	if (p == NULL)
		return NULL;
	*n = (size_t)(MIN_OF(l->end, from + l->segs.file_bytes) - at);
	return p + (at - from);
}

const char *
commitlog_bytes(struct commitlog *l, int64_t at, size_t n)
{
	size_t there;
	const char *p = commitlog_read(l, at, &there);

	return p != NULL && n <= there ? p : NULL;
}

void
commitlog_forget(struct commitlog *l, int64_t min)
{
	size_t gone = 0, files = 0;

	while (gone < l->map_count && l->maps[gone].from + l->segs.file_bytes <= min)
		munmap((void *)(uintptr_t)l->maps[gone++].p, (size_t)l->segs.file_bytes);
	if (gone > 0) {
		memmove(l->maps, l->maps + gone, (l->map_count - gone) * sizeof(*l->maps));
		l->map_count -= gone;
		l->hot.p = NULL;
	}
	while (files < l->segs.count && l->segs.from[files] + l->segs.file_bytes <= min)
		files++;
	segs_drop_first(&l->segs, files);
	l->min = MAX_OF(l->min, min);
}

#define RESIDENT_PAGES	64	/* asked for at once: records that follow are most likely read next */
#define RESIDENT_SHIFT	18	/* places of one slot: 256 KiB */
#define RESIDENT_MS	500	/* what was just found in memory is not thrown out at once */

static struct resident_range *
resident_slot(struct commitlog *l, int64_t at)
{
	return &l->resident[(uint64_t)at >> RESIDENT_SHIFT & (RESIDENT_SLOTS - 1)];
}

/* How many bytes from p on are in memory, of `want`, beginning with p's page. An error counts as all: nobody can wait for it. */
static size_t
resident_bytes(const char *p, size_t want)
{
	unsigned char in[RESIDENT_PAGES];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)p & (page - 1);
	size_t pages = MIN_OF((before + want + page - 1) / page, (size_t)RESIDENT_PAGES), n = 0;

	if (mincore((void *)((uintptr_t)p - before), pages * page, in) != 0)
		return want;
	while (n < pages && (in[n] & 1) != 0)
		n++;
	return n == 0 ? 0 : MIN_OF(n * page - before, want);
}

bool
commitlog_resident(struct commitlog *l, int64_t at, size_t n)
{
	struct resident_range *known = resident_slot(l, at);
	int64_t now = clock_mono_ms();
	size_t there, have = 0, k;
	const char *p;

	if (known->from <= at && at + (int64_t)n <= known->to && now < known->until_ms)
		return true;
	p = commitlog_read(l, at, &there);
	if (p == NULL || n > there)
		return true; /* not there at all: nothing to wait for */
	do {
		k = resident_bytes(p + have, there - have);
		have += k;
	} while (k > 0 && have < n);
	*known = (struct resident_range){at, at + (int64_t)have, now + RESIDENT_MS};
	return have >= n;
}

/* ---- recovery */

/* The newest segment's map names a file that is about to go; a new one of that name is another. */
static void
unmap_newest(struct commitlog *l, int64_t from)
{
	size_t last = l->map_count - 1;

	if (l->map_count == 0 || l->maps[last].from != from)
		return;
	munmap((void *)(uintptr_t)l->maps[last].p, (size_t)l->segs.file_bytes);
	l->map_count--;
	l->hot.p = NULL;
}

static enum rc
drop_segments_behind(struct commitlog *l, int64_t end, bool *changed, struct err *e)
{
	while (l->segs.count > 0 && l->segs.from[l->segs.count - 1] > end) {
		int64_t from = l->segs.from[l->segs.count - 1];
		enum rc rc;

		log_warn("%s/%020" PRId64 " lies behind the end of the log, %" PRId64 ": removed", l->segs.dir, from, end);
		unmap_newest(l, from);
		rc = segs_unlink(&l->segs, from, e);
		if (rc != RC_OK)
			return rc;
		segs_drop_last(&l->segs);
		*changed = true;
	}
	return RC_OK;
}

static bool
is_zero(const char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Reads one chunk and zeroes it where it is not. *at moves on; holes are passed over. *quiet: zero bytes in a row. 0 or errno. */
static int
clear_chunk(struct commitlog *l, char *buf, int64_t *at, int64_t to, int64_t *quiet, bool *changed)
{
	off_t data = lseek(l->fd, (off_t)(*at - l->fd_from), SEEK_DATA);
	ssize_t n;

	if (data < 0 && errno == ENXIO) {
		*at = to; /* only a hole is left */
		return 0;
	}
	if (data > 0 && l->fd_from + (int64_t)data > *at) {
		*quiet += MIN_OF(l->fd_from + (int64_t)data, to) - *at;
		*at = MIN_OF(l->fd_from + (int64_t)data, to);
	}
	n = pread(l->fd, buf, (size_t)MIN_OF(to - *at, (int64_t)ZERO_CHUNK), (off_t)(*at - l->fd_from));
	if (n < 0)
		return errno;
	if (n == 0 && *at < to)
		return EIO;
	*at += n;
	*quiet += n;
	if (is_zero(buf, (size_t)n))
		return 0;
	*changed = true;
	*quiet = 0;
	return zero_range(l, *at - n, n);
}

static enum rc
clear_tail(struct commitlog *l, int64_t end, int64_t quiet_max, bool *changed, struct err *e)
{
	int64_t at = end, to = segs_start(&l->segs, end) + l->segs.file_bytes, quiet = 0;
	char *buf;
	int err = 0;

	if (segs_index(&l->segs, end) < 0)
		return RC_OK;
	if (open_writer(l, end, e) != RC_OK)
		return RC_IO;
	buf = xmalloc(ZERO_CHUNK);
	while (at < to && err == 0 && (quiet_max == 0 || quiet < quiet_max))
		err = clear_chunk(l, buf, &at, to, &quiet, changed);
	free(buf);
	if (err == 0)
		return RC_OK;
	err_set(e, "cannot clear what lies behind the end of the log, %" PRId64 ", in %s: %s", end, l->segs.dir,
	    strerror(err));
	return is_disk_full(err) ? RC_FULL : RC_IO;
}

enum rc
commitlog_cut(struct commitlog *l, int64_t end, int64_t quiet_max, bool *changed, struct err *e)
{
	enum rc rc = drop_segments_behind(l, end, changed, e);

	if (rc == RC_OK)
		rc = clear_tail(l, end, quiet_max, changed, e);
	if (rc == RC_OK)
		commitlog_set_end(l, end);
	return rc;
}

enum rc
commitlog_sync(struct commitlog *l, int64_t at, struct err *e)
{
	if (segs_index(&l->segs, at) < 0)
		return RC_OK;
	if (open_writer(l, at, e) != RC_OK)
		return RC_IO;
	if (fdatasync(l->fd) == 0)
		return RC_OK;
	err_set(e, "cannot sync %s/%020" PRId64 ": %s", l->segs.dir, l->fd_from, strerror(errno));
	return RC_IO;
}

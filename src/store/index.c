/*
 * index: index files: made and reserved ahead, entries put and chained, walked, mended after a crash.
 */
#include "store/index.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "store/segs.h"

#define HEADER_BYTES   40
#define ENTRY_BYTES    20
#define SLOT_BYTES     4
#define RESERVE_BYTES  (4 << 20)
#define TOUCH_BYTES    (256 << 10)
#define PAGE_BYTES     4096
#define FILE_MODE      0644

/* header */
#define H_BEGIN_MS	 0
#define H_END_MS	 8
#define H_BEGIN_PHYSICAL 16
#define H_END_PHYSICAL	 24
#define H_USED_SLOTS	 32
#define H_COUNT		 36
/* entry */
#define E_HASH	   0
#define E_PHYSICAL 4
#define E_SECONDS  12
#define E_PREVIOUS 16

static inline int64_t
file_bytes(const struct index *ix)
{
	return HEADER_BYTES + (int64_t)ix->slots * SLOT_BYTES + (int64_t)ix->entries * ENTRY_BYTES;
}

static inline char *
slot_at(const struct index *ix, const struct index_file *f, uint32_t hash)
{
	return f->map + HEADER_BYTES + (size_t)(hash % (uint32_t)ix->slots) * SLOT_BYTES;
}

static inline int64_t
entry_place(const struct index *ix, int32_t n)
{
	return HEADER_BYTES + (int64_t)ix->slots * SLOT_BYTES + (int64_t)n * ENTRY_BYTES;
}

static inline char *
entry_at(const struct index *ix, const struct index_file *f, int32_t n)
{
	return f->map + entry_place(ix, n);
}

static inline bool
is_full(const struct index *ix, const struct index_file *f)
{
	return f->count >= ix->entries;
}

/* ---- headers */

static void
read_header(struct index_file *f, const char *p)
{
	f->begin_ms = (int64_t)be64_get(p + H_BEGIN_MS);
	f->end_ms = (int64_t)be64_get(p + H_END_MS);
	f->begin_physical = (int64_t)be64_get(p + H_BEGIN_PHYSICAL);
	f->end_physical = (int64_t)be64_get(p + H_END_PHYSICAL);
	f->used_slots = (int32_t)be32_get(p + H_USED_SLOTS);
	f->count = MAX_OF((int32_t)be32_get(p + H_COUNT), 1);
}

static void
write_header(struct index_file *f)
{
	be64_put(f->map + H_BEGIN_MS, (uint64_t)f->begin_ms);
	be64_put(f->map + H_END_MS, (uint64_t)f->end_ms);
	be64_put(f->map + H_BEGIN_PHYSICAL, (uint64_t)f->begin_physical);
	be64_put(f->map + H_END_PHYSICAL, (uint64_t)f->end_physical);
	be32_put(f->map + H_USED_SLOTS, (uint32_t)f->used_slots);
	be32_put(f->map + H_COUNT, (uint32_t)f->count);
}

/* ---- files */

static enum rc
say_failed(const char *what, const char *path, struct err *e)
{
	int err = errno;
	bool full = err == ENOSPC || err == EDQUOT;

	err_set(e, "cannot %s index file %s: %s%s", what, path, strerror(err),
	    full ? "; free some space, messages stay in the log until then" : "");
	return full ? RC_FULL : RC_IO;
}

static void
unmap(const struct index *ix, struct index_file *f)
{
	if (f->map != NULL)
		munmap(f->map, (size_t)file_bytes(ix));
	f->map = NULL;
}

static struct index_file *
add_file(struct index *ix, char *path, int64_t name)
{
	if (ix->count == ix->cap) {
		ix->cap = ix->cap == 0 ? 8 : ix->cap * 2;
		ix->files = xrealloc(ix->files, ix->cap * sizeof(*ix->files));
	}
	ix->files[ix->count] = (struct index_file){.path = path, .count = 1};
	ix->last_name = name;
	return &ix->files[ix->count++];
}

static void
drop_file(struct index *ix, size_t i)
{
	unmap(ix, &ix->files[i]);
	free(ix->files[i].path);
	memmove(&ix->files[i], &ix->files[i + 1], (ix->count - i - 1) * sizeof(*ix->files));
	ix->count--;
}

static enum rc
map_file(const struct index *ix, struct index_file *f, bool writable, struct err *e)
{
	void *p;
	int fd;

	if (f->map != NULL && (f->writable || !writable))
		return RC_OK;
	unmap(ix, f);
	fd = open(f->path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return say_failed("open", f->path, e);
	p = mmap(NULL, (size_t)file_bytes(ix), PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return say_failed("map", f->path, e);
	(void)madvise(p, (size_t)file_bytes(ix), MADV_RANDOM);
	f->map = p;
	f->writable = writable;
	return RC_OK;
}

/* Blocks for [at, to): 0 or errno. Where the file system has no fallocate, zeros where nobody has written yet. */
static int
set_aside(int fd, int64_t at, int64_t to)
{
	static const char zeros[64 << 10];

	if (fallocate(fd, 0, (off_t)at, (off_t)(to - at)) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return errno;
	while (at < to) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		ssize_t r;

		if (data >= 0 && (int64_t)data == at) { /* written: leave it */
			off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);

			at = hole > (off_t)at ? (int64_t)hole : to;
			continue;
		}
		r = pwrite(fd, zeros, (size_t)MIN_OF(to - at, (int64_t)sizeof(zeros)), (off_t)at);
		if (r < 0)
			return errno;
		at += r;
	}
	return 0;
}

/* Makes sure that entry n of the file can be written. */
static enum rc
reserve(const struct index *ix, struct index_file *f, int32_t n, struct err *e)
{
	int64_t need = entry_place(ix, n + 1), to;
	int fd, err;

	if (LIKELY(need <= f->reserved))
		return RC_OK;
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return say_failed("open", f->path, e);
	to = MIN_OF(need + RESERVE_BYTES, file_bytes(ix));
	err = set_aside(fd, f->reserved, to);
	if (err == ENOSPC || err == EDQUOT) { /* what is in use has its blocks already: that must do, at a start on a full disk */
		to = need;
		err = set_aside(fd, f->reserved, to);
	}
	close(fd);
	errno = err;
	if (err != 0)
		return say_failed("get space for", f->path, e);
	f->reserved = to;
	return RC_OK;
}

/*
 * Blocks that are set aside are no pages yet: the first touch of each through the map is a fault that asks the file system. So the
 * pages that come next are written as zeros ahead of the entries, many at a time. A failure costs time, nothing else.
 */
static void
touch_ahead(const struct index *ix, struct index_file *f)
{
	static const char zeros[TOUCH_BYTES];
	int64_t at = MAX_OF(entry_place(ix, f->count), f->touched), to;
	int fd;

	if (LIKELY(entry_place(ix, f->count + 1) <= f->touched))
		return;
	at = (at + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	to = MIN_OF(at + TOUCH_BYTES, f->reserved);
	if (at >= to)
		return;
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (pwrite(fd, zeros, (size_t)(to - at), (off_t)at) == (ssize_t)(to - at))
		f->touched = to;
	close(fd);
}

/* The local time as a number of 17 digits, later than that of any file there is. */
static int64_t
next_name(const struct index *ix)
{
	int64_t now = clock_wall_ms(), name;
	time_t seconds = (time_t)(now / 1000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	name = tm.tm_year + 1900;
	name = name * 100 + tm.tm_mon + 1;
	name = name * 100 + tm.tm_mday;
	name = name * 100 + tm.tm_hour;
	name = name * 100 + tm.tm_min;
	name = name * 100 + tm.tm_sec;
	name = name * 1000 + now % 1000;
	return MAX_OF(name, ix->last_name + 1);
}

static enum rc
make_sized(const struct index *ix, const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	int err;

	if (fd < 0)
		return say_failed("make", path, e);
	err = ftruncate(fd, (off_t)file_bytes(ix)) == 0 ? 0 : errno;
	if (err == 0)
		err = set_aside(fd, 0, entry_place(ix, 0));
	close(fd);
	if (err == 0)
		return RC_OK;
	unlink(path);
	errno = err;
	return say_failed("get space for", path, e);
}

/* A new file behind the full one, whose ends it takes over until its first entry. */
static enum rc
make_file(struct index *ix, struct err *e)
{
	const struct index_file *full = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;
	struct index_file head = {.count = 1}, *f;
	int64_t name = next_name(ix);
	char *path;
	enum rc rc;

	if (full != NULL) {
		head.begin_ms = head.end_ms = full->end_ms;
		head.begin_physical = head.end_physical = full->end_physical;
	}
	path = xasprintf("%s/%017" PRId64, ix->dir, name);
	rc = dir_make(ix->dir, e);
	if (rc == RC_OK)
		rc = make_sized(ix, path, e);
	if (rc != RC_OK) {
		free(path);
		return rc;
	}
	fault_hit(FAULT_INDEX_CREATE);
	f = add_file(ix, path, name);
	head.path = path;
	head.reserved = entry_place(ix, 0);
	*f = head;
	rc = map_file(ix, f, true, e);
	if (rc == RC_OK)
		write_header(f);
	return rc;
}

/* ---- loading */

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
is_number(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if (!isdigit((unsigned char)*s))
			return false;
	return true;
}

/* What a power cut leaves of a file that was just being made. */
static enum rc
drop_empty(const char *path, struct err *e)
{
	log_warn("index file %s is empty: removed, as one that was being made when the machine went down", path);
	return unlink(path) == 0 || errno == ENOENT ? RC_NOTFOUND : say_failed("remove", path, e);
}

/* RC_NOTFOUND: it holds nothing and is gone. */
static enum rc
read_head(const struct index *ix, const char *path, char *head, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	enum rc rc = RC_OK;

	if (fd < 0 || fstat(fd, &st) != 0 || pread(fd, head, HEADER_BYTES, 0) < 0) {
		rc = say_failed("read", path, e);
	} else if (st.st_size == 0) {
		rc = drop_empty(path, e);
	} else if ((int64_t)st.st_size != file_bytes(ix)) {
		err_set(e, "index file %s has %" PRId64 " bytes, but maxHashSlotNum and maxIndexNum make %" PRId64
		    ": set them to what this store was made with, or move the index directory away", path,
		    (int64_t)st.st_size, file_bytes(ix));
		rc = RC_BADDATA;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static enum rc
load_file(struct index *ix, const char *name, struct err *e)
{
	char *path = xasprintf("%s/%s", ix->dir, name), head[HEADER_BYTES];
	struct index_file *f;
	int64_t number = 0;
	enum rc rc = read_head(ix, path, head, e);

	if (rc != RC_OK) {
		free(path);
		return rc == RC_NOTFOUND ? RC_OK : rc;
	}
	if (segs_parse_name(name, &number) != RC_OK)
		number = ix->last_name;
	f = add_file(ix, path, number);
	read_header(f, head);
	f->count = MIN_OF(f->count, ix->entries);
	return RC_OK;
}

static size_t
list_names(const char *dir, char ***names)
{
	DIR *d = opendir(dir);
	size_t n = 0, cap = 0;
	struct dirent *ent;

	*names = NULL;
	while (d != NULL && (ent = readdir(d)) != NULL) {
		if (!is_number(ent->d_name))
			continue;
		if (n == cap) {
			cap = cap == 0 ? 8 : cap * 2;
			*names = xrealloc(*names, cap * sizeof(**names));
		}
		(*names)[n++] = xstrdup(ent->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (n > 0)
		qsort(*names, n, sizeof(**names), by_name);
	return n;
}

enum rc
index_open(struct index *ix, const char *dir, int32_t slots, int32_t entries, struct err *e)
{
	enum rc rc = RC_OK;
	char **names;
	size_t n;

	*ix = (struct index){.dir = xstrdup(dir), .slots = MAX_OF(slots, 1), .entries = MAX_OF(entries, 2)};
	n = list_names(dir, &names);
	for (size_t i = 0; i < n; i++) {
		if (rc == RC_OK)
			rc = load_file(ix, names[i], e);
		free(names[i]);
	}
	free(names);
	return rc;
}

void
index_close(struct index *ix)
{
	while (ix->count > 0)
		drop_file(ix, ix->count - 1);
	free(ix->files);
	free(ix->dir);
	*ix = (struct index){0};
}

/* ---- putting */

uint32_t
index_hash(uint32_t topic_hash, struct slice key)
{
	int32_t h = str_java_hash_more((int32_t)topic_hash, key);

	return h >= 0 ? (uint32_t)h : h == INT32_MIN ? 0 : (uint32_t)-h;
}

void
index_prefetch(const struct index *ix, uint32_t hash)
{
	const struct index_file *f = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;

	if (f != NULL && f->map != NULL)
		__builtin_prefetch(slot_at(ix, f, hash), 1);
}

/* The file that takes the next entry, with room for it. */
static enum rc
writable_file(struct index *ix, struct index_file **f, struct err *e)
{
	enum rc rc;

	*f = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;
	if (*f == NULL || is_full(ix, *f)) {
		if (*f != NULL)
			log_info("index file %s is full with %" PRId32 " entries", (*f)->path, (*f)->count);
		rc = make_file(ix, e);
		if (rc != RC_OK)
			return rc;
		*f = &ix->files[ix->count - 1];
	}
	rc = reserve(ix, *f, (*f)->count, e);
	if (rc == RC_OK)
		touch_ahead(ix, *f);
	return rc != RC_OK || ((*f)->map != NULL && (*f)->writable) ? rc : map_file(ix, *f, true, e);
}

static inline int32_t
seconds_since_begin(const struct index_file *f, int64_t store_ms)
{
	int64_t s = (store_ms - f->begin_ms) / 1000;

	if (f->begin_ms <= 0 || s < 0)
		return 0;
	return (int32_t)MIN_OF(s, (int64_t)INT32_MAX);
}

/* Has this very key of this record been put? Looked for only while the newest entries are of the same record. */
static bool
is_put(const struct index *ix, const struct index_file *f, const struct index_key *k)
{
	for (int32_t n = f->count - 1; n > 0; n--) {
		const char *entry = entry_at(ix, f, n);

		if ((int64_t)be64_get(entry + E_PHYSICAL) != k->physical)
			return false;
		if (be32_get(entry + E_HASH) == k->hash)
			return true;
	}
	return false;
}

static void
put_entry(const struct index *ix, struct index_file *f, const struct index_key *k)
{
	char *slot = slot_at(ix, f, k->hash), *entry = entry_at(ix, f, f->count);
	int32_t previous = (int32_t)be32_get(slot);

	if (previous <= 0 || previous >= f->count)
		previous = 0;
	be32_put(entry + E_HASH, k->hash);
	be64_put(entry + E_PHYSICAL, (uint64_t)k->physical);
	be32_put(entry + E_SECONDS, (uint32_t)seconds_since_begin(f, k->store_ms));
	be32_put(entry + E_PREVIOUS, (uint32_t)previous);
	fault_hit(FAULT_INDEX_SLOT);
	be32_put(slot, (uint32_t)f->count);
	fault_hit(FAULT_INDEX_COUNT);
	if (f->count <= 1) {
		f->begin_physical = k->physical;
		f->begin_ms = k->store_ms;
	}
	if (previous == 0)
		f->used_slots++;
	f->end_physical = k->physical;
	f->end_ms = k->store_ms;
	f->count++;
	f->dirty = true;
	write_header(f);
}

enum rc
index_put(struct index *ix, const struct index_key *keys, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct index_key *k = &keys[i];
		struct index_file *f = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;
		enum rc rc;

		if (f != NULL && f->end_physical > k->physical)
			continue;
		rc = writable_file(ix, &f, e);
		if (rc != RC_OK)
			return rc;
		if (f->end_physical != k->physical || !is_put(ix, f, k))
			put_entry(ix, f, k);
	}
	return RC_OK;
}

/* ---- finding */

/* May these bytes of the map be read now? If not they are noted, with the page they are in. An error counts as yes. */
static bool
may_read(const struct index *ix, const struct index_file *f, const char *p, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)p & (page - 1), len = before + n;
	int64_t at = (int64_t)(p - f->map) - (int64_t)before;
	unsigned char in[2] = {1, 1};

	if (!gate_is_closed(ix->gate) || mincore((void *)((uintptr_t)p - before), len, in) != 0)
		return true;
	if ((in[0] & 1) != 0 && (len <= page || (in[1] & 1) != 0))
		return true;
	gate_note(ix->gate, f->path, at, (int64_t)len, file_bytes(ix));
	return false;
}

static bool
walk_file(const struct index *ix, const struct index_file *f, uint32_t hash, int64_t begin_ms, int64_t end_ms,
    bool (*each)(void *arg, int64_t physical), void *arg)
{
	const char *slot = slot_at(ix, f, hash), *entry;
	int32_t n = may_read(ix, f, slot, SLOT_BYTES) ? (int32_t)be32_get(slot) : 0;

	while (n > 0 && n < f->count && may_read(ix, f, entry = entry_at(ix, f, n), ENTRY_BYTES)) {
		int32_t seconds = (int32_t)be32_get(entry + E_SECONDS), previous = (int32_t)be32_get(entry + E_PREVIOUS);
		int64_t ms = f->begin_ms + (int64_t)seconds * 1000;

		if (seconds < 0)
			break;
		if (be32_get(entry + E_HASH) == hash && ms >= begin_ms && ms <= end_ms &&
		    !each(arg, (int64_t)be64_get(entry + E_PHYSICAL)))
			return false;
		if (ms < begin_ms || previous >= n) /* chains go down: anything else is damage */
			break;
		n = previous;
	}
	return true;
}

void
index_walk(struct index *ix, uint32_t hash, int64_t begin_ms, int64_t end_ms, bool (*each)(void *arg, int64_t physical),
    void *arg)
{
	struct err e;

	for (size_t i = ix->count; i-- > 0;) {
		struct index_file *f = &ix->files[i];

		if (begin_ms <= f->end_ms && end_ms >= f->begin_ms && map_file(ix, f, false, &e) == RC_OK &&
		    !walk_file(ix, f, hash, begin_ms, end_ms, each, arg))
			return;
		if (f->begin_ms < begin_ms)
			return;
	}
}

void
index_last(const struct index *ix, int64_t *store_ms, int64_t *physical)
{
	*store_ms = ix->count > 0 ? ix->files[ix->count - 1].end_ms : 0;
	*physical = ix->count > 0 ? ix->files[ix->count - 1].end_physical : 0;
}

int64_t
index_full_ms(const struct index *ix)
{
	for (size_t i = ix->count; i-- > 0;)
		if (is_full(ix, &ix->files[i]))
			return ix->files[i].end_ms;
	return 0;
}

/* ---- keeping in step */

const char *
index_cold_slots(struct index *ix, int64_t *bytes)
{
	struct index_file *f = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;

	if (f == NULL || f->slots_told)
		return NULL;
	f->slots_told = true;
	*bytes = entry_place(ix, 0);
	return f->path;
}

void
index_tell_dirty(struct index *ix, void (*tell)(void *arg, const char *path), void *arg)
{
	for (size_t i = 0; i < ix->count; i++) {
		if (!ix->files[i].dirty)
			continue;
		ix->files[i].dirty = false;
		tell(arg, ix->files[i].path);
	}
}

void
index_tell_again(struct index *ix)
{
	for (size_t i = ix->count > 2 ? ix->count - 2 : 0; i < ix->count; i++)
		ix->files[i].dirty = true;
}

enum rc
index_sync(struct index *ix, struct err *e)
{
	for (size_t i = 0; i < ix->count; i++) {
		struct index_file *f = &ix->files[i];

		if (f->map != NULL && f->writable && msync(f->map, (size_t)file_bytes(ix), MS_SYNC) != 0)
			return say_failed("sync", f->path, e);
	}
	return RC_OK;
}

void
index_forget(struct index *ix, int64_t log_min)
{
	while (ix->count > 1 && ix->files[0].end_physical < log_min && access(ix->files[0].path, F_OK) != 0)
		drop_file(ix, 0);
}

/* ---- recovery */

enum rc
index_mend(struct index *ix, struct err *e)
{
	struct index_file *f = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;
	const char *entry;
	char *slot;
	enum rc rc;

	if (f == NULL || is_full(ix, f))
		return RC_OK;
	f->reserved = 0;
	rc = reserve(ix, f, f->count, e);
	if (rc == RC_OK)
		rc = map_file(ix, f, true, e);
	if (rc != RC_OK)
		return rc;
	/* an entry whose slot was set and whose count was not */
	entry = entry_at(ix, f, f->count);
	slot = slot_at(ix, f, be32_get(entry + E_HASH) & 0x7fffffffu);
	if ((int32_t)be32_get(slot) == f->count)
		be32_put(slot, be32_get(entry + E_PREVIOUS));
	return RC_OK;
}

/* Entries that can be right: in the order of the log, below `physical`. */
static int32_t
count_plausible(const struct index *ix, const struct index_file *f, int64_t physical)
{
	int64_t last = -1;
	int32_t n;

	for (n = 1; n < f->count; n++) {
		const char *entry = entry_at(ix, f, n);
		int64_t at = (int64_t)be64_get(entry + E_PHYSICAL);
		bool empty = at == 0 && be32_get(entry + E_HASH) == 0 && n > 1;

		if (at < last || at >= physical || empty || (int32_t)be32_get(entry + E_SECONDS) < 0)
			break;
		last = at;
	}
	return n;
}

/* Chains entries 1..count-1 anew. */
static void
rebuild(const struct index *ix, struct index_file *f, int32_t count)
{
	char *last = entry_at(ix, f, count - 1);

	memset(f->map + HEADER_BYTES, 0, (size_t)ix->slots * SLOT_BYTES);
	f->used_slots = 0;
	for (int32_t n = 1; n < count; n++) {
		char *entry = entry_at(ix, f, n), *slot = slot_at(ix, f, be32_get(entry + E_HASH) & 0x7fffffffu);
		uint32_t previous = be32_get(slot);

		be32_put(entry + E_PREVIOUS, previous);
		be32_put(slot, (uint32_t)n);
		f->used_slots += previous == 0;
	}
	f->count = count;
	f->end_physical = (int64_t)be64_get(last + E_PHYSICAL);
	f->end_ms = f->begin_ms + (int64_t)(int32_t)be32_get(last + E_SECONDS) * 1000;
	f->dirty = true;
	write_header(f);
}

static enum rc
remove_last(struct index *ix, struct err *e)
{
	struct index_file *f = &ix->files[ix->count - 1];

	if (unlink(f->path) != 0 && errno != ENOENT)
		return say_failed("remove", f->path, e);
	drop_file(ix, ix->count - 1);
	return RC_OK;
}

enum rc
index_cut(struct index *ix, int64_t physical, struct err *e)
{
	while (ix->count > 0) {
		struct index_file *f = &ix->files[ix->count - 1];
		int32_t count;
		enum rc rc;

		if (is_full(ix, f) && f->end_physical < physical)
			return RC_OK;
		f->reserved = 0;
		rc = reserve(ix, f, MIN_OF(f->count, ix->entries - 1), e);
		if (rc == RC_OK)
			rc = map_file(ix, f, true, e);
		if (rc != RC_OK)
			return rc;
		(void)madvise(f->map, (size_t)entry_place(ix, f->count), MADV_NORMAL);
		count = f->begin_ms > 0 ? count_plausible(ix, f, physical) : 1;
		if (count > 1) {
			log_info("index file %s: %" PRId32 " of %" PRId32 " entries are kept", f->path, count - 1, f->count - 1);
			rebuild(ix, f, count);
			return RC_OK;
		}
		rc = remove_last(ix, e);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

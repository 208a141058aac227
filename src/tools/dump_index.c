/*
 * dump_index: rmqdump index: a line for each index file, or its entries.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/str.h"
#include "tools/dump.h"

#define HEAD_BYTES    40
#define SLOT_BYTES    4
#define ENTRY_BYTES   20
#define NAME_LEN      17
#define SLOTS_DEFAULT 5000000
#define RATIO_MAX     16 /* entries for each slot: 4 by default */
#define SAMPLE	      64 /* entries that are looked at to find the shape */

static void
read_head(struct index_view *v)
{
	v->begin_ms = (int64_t)be64_get(v->map);
	v->end_ms = (int64_t)be64_get(v->map + 8);
	v->begin_offset = (int64_t)be64_get(v->map + 16);
	v->end_offset = (int64_t)be64_get(v->map + 24);
	v->used_slots = (int32_t)be32_get(v->map + 32);
	v->next = (int32_t)be32_get(v->map + 36);
	if (v->next == 0)
		v->next = 1; /* so the original reads a fresh file */
}

void
index_entry_read(const struct index_view *v, int32_t number, struct index_entry *out)
{
	const char *p = v->map + HEAD_BYTES + (size_t)v->slots * SLOT_BYTES + (size_t)number * ENTRY_BYTES;

	out->hash = be32_get(p);
	out->offset = (int64_t)be64_get(p + 4);
	out->store_ms = v->begin_ms + (int64_t)(int32_t)be32_get(p + 12) * 1000;
	out->prev = (int32_t)be32_get(p + 16);
}

int32_t
index_slot_read(const struct index_view *v, int32_t slot)
{
	return (int32_t)be32_get(v->map + HEAD_BYTES + (size_t)slot * SLOT_BYTES);
}

/* ---- shape: how many slots, how many entries? */

/* Could this entry be one? Its forerunner is older and of the same slot, and the slot begins with it or a newer one. */
static bool
entry_fits(const struct index_view *v, int32_t number)
{
	struct index_entry x, prev;
	uint32_t slot;

	index_entry_read(v, number, &x);
	slot = x.hash % (uint32_t)v->slots;
	if (x.prev < 0 || x.prev >= number || index_slot_read(v, (int32_t)slot) < number)
		return false;
	if (x.prev == 0)
		return true;
	index_entry_read(v, x.prev, &prev);
	return prev.hash % (uint32_t)v->slots == slot;
}

/* Of the entries, looked at here and there, at least three of four: some may be damaged. */
static bool
entries_fit(const struct index_view *v)
{
	int32_t step = MAX_OF(v->next / SAMPLE, 1), seen = 0, good = 0;

	for (int32_t n = v->next - 1; n > 0; n -= step, seen++)
		good += entry_fits(v, n);
	return seen == 0 || good * 4 >= seen * 3;
}

static int32_t
count_used(const struct index_view *v)
{
	int32_t used = 0;

	for (int32_t n = 0; n < v->slots; n++)
		used += index_slot_read(v, n) > 0;
	return used;
}

static bool
try_slots(struct index_view *v, int64_t slots, bool exactly)
{
	int64_t rest = (int64_t)v->bytes - HEAD_BYTES - slots * SLOT_BYTES, entries = rest / ENTRY_BYTES;

	if (slots <= 0 || slots > INT32_MAX || entries <= 0 || entries > INT32_MAX || rest % ENTRY_BYTES != 0 ||
	    v->next > entries)
		return false;
	v->slots = (int32_t)slots;
	v->entries = (int32_t)entries;
	return entries_fit(v) && (!exactly || count_used(v) == v->used_slots);
}

/* The two numbers that the size is made of: the defaults, some entries for each slot, or any that fit. */
static bool
guess(struct index_view *v, bool exactly)
{
	int64_t rest = (int64_t)v->bytes - HEAD_BYTES;

	if (try_slots(v, SLOTS_DEFAULT, exactly))
		return true;
	for (int64_t ratio = 1; ratio <= RATIO_MAX; ratio++)
		if (rest % (SLOT_BYTES + ratio * ENTRY_BYTES) == 0 &&
		    try_slots(v, rest / (SLOT_BYTES + ratio * ENTRY_BYTES), exactly))
			return true;
	for (int64_t n = 1; v->next > 1 && n * SLOT_BYTES < rest; n++)
		if (try_slots(v, n, exactly))
			return true;
	return false;
}

/* A head that counts its slots wrong is a finding of check: then the entries alone decide. */
static bool
guess_shape(struct index_view *v, int32_t slots)
{
	int64_t rest = (int64_t)v->bytes - HEAD_BYTES - (int64_t)slots * SLOT_BYTES;

	if (slots == 0)
		return guess(v, true) || guess(v, false);
	v->slots = slots;
	v->entries = (int32_t)MIN_OF(rest / ENTRY_BYTES, INT32_MAX);
	return rest > 0 && rest % ENTRY_BYTES == 0;
}

uint32_t
index_hash_of(struct slice topic, struct slice key)
{
	struct buf b = {0};
	int32_t h;

	buf_put_slice(&b, topic);
	buf_put_char(&b, '#');
	buf_put_slice(&b, key);
	h = str_java_hash(buf_slice(&b));
	buf_free(&b);
	if (h == INT32_MIN)
		return 0;
	return (uint32_t)(h < 0 ? -h : h);
}

static int
is_index_name(const struct dirent *ent)
{
	const char *p = ent->d_name;

	while (isdigit((unsigned char)*p))
		p++;
	return *p == '\0' && p - ent->d_name == NAME_LEN;
}

static enum rc
map_index(struct index_view *v, int32_t slots, struct err *e)
{
	int fd = open(v->path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > HEAD_BYTES)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err_set(e, "cannot map %s: %s", v->path, fd < 0 ? strerror(errno) : "too short or no memory");
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return RC_IO;
	v->map = p;
	v->bytes = (size_t)st.st_size;
	read_head(v);
	if (guess_shape(v, slots))
		return RC_OK;
	err_set(e, "%s: its %zu bytes and its entries are those of no index file; its --slots (maxHashSlotNum) may help", v->path,
	    v->bytes);
	munmap(p, v->bytes);
	return RC_BADDATA;
}

static enum rc
one_file(const struct dump_opts *o, const char *dir, const char *name,
    enum rc (*each)(void *arg, const struct index_view *v), void *arg, struct err *e)
{
	struct index_view v = {.map = NULL};
	enum rc rc;

	snprintf(v.path, sizeof(v.path), "%s/%s", dir, name);
	rc = map_index(&v, o->slots, e);
	if (rc != RC_OK)
		return rc;
	rc = each(arg, &v);
	munmap((void *)v.map, v.bytes);
	return rc;
}

enum rc
index_each(const struct dump_opts *o, enum rc (*each)(void *arg, const struct index_view *v), void *arg, struct err *e)
{
	struct dirent **names;
	char dir[PATH_MAX];
	enum rc rc = RC_OK;
	int count;

	snprintf(dir, sizeof(dir), "%s/index", o->root);
	count = scandir(dir, &names, is_index_name, alphasort);
	if (count < 0) {
		err_set(e, "cannot read %s: %s", dir, strerror(errno));
		return errno == ENOENT ? RC_NOTFOUND : RC_IO;
	}
	for (int i = 0; i < count; i++) {
		if (rc == RC_OK)
			rc = one_file(o, dir, names[i]->d_name, each, arg, e);
		free(names[i]);
	}
	free(names);
	return rc;
}

/* ---- the command */

static void
put_file(const struct dump_opts *o, const struct index_view *v)
{
	char b[TIME_TEXT], e[TIME_TEXT];
	const char *name = strrchr(v->path, '/') + 1;

	if (o->json)
		printf("{\"file\":\"%s\",\"beginTime\":%" PRId64 ",\"endTime\":%" PRId64 ",\"beginOffset\":%" PRId64
		    ",\"endOffset\":%" PRId64 ",\"usedSlots\":%d,\"entries\":%d,\"slots\":%d,\"maxEntries\":%d}\n", name, v->begin_ms,
		    v->end_ms, v->begin_offset, v->end_offset, v->used_slots, v->next - 1, v->slots, v->entries);
	else
		printf("%-17s  %-23s  %-23s %14" PRId64 " %14" PRId64 " %9d %9d\n", name, time_text(v->begin_ms, b),
		    time_text(v->end_ms, e), v->begin_offset, v->end_offset, v->used_slots, v->next - 1);
}

struct entry_dump {
	const struct dump_opts	*o;
	int64_t			 left;
	bool			 all;
};

static void
put_entry(const struct dump_opts *o, const char *name, int32_t number, const struct index_entry *x)
{
	char t[TIME_TEXT];

	if (o->json)
		printf("{\"file\":\"%s\",\"entry\":%d,\"hash\":%u,\"offset\":%" PRId64 ",\"storeTime\":%" PRId64 ",\"prev\":%d}\n",
		    name, number, x->hash, x->offset, x->store_ms, x->prev);
	else
		printf("%-17s %9d %10u %14" PRId64 "  %-23s %9d\n", name, number, x->hash, x->offset, time_text(x->store_ms, t),
		    x->prev);
}

static enum rc
put_entries(void *arg, const struct index_view *v)
{
	struct entry_dump *d = arg;
	int32_t end = MIN_OF(v->next, v->entries), n = (int32_t)MIN_OF(MAX_OF(d->o->from, 1), (int64_t)INT32_MAX);
	struct index_entry x;

	for (; n < end && (d->all || d->left > 0); n++, d->left--) {
		index_entry_read(v, n, &x);
		put_entry(d->o, strrchr(v->path, '/') + 1, n, &x);
	}
	return RC_OK;
}

static enum rc
put_one(void *arg, const struct index_view *v)
{
	put_file(arg, v);
	return RC_OK;
}

int
dump_index(const struct dump_opts *o)
{
	bool entries = o->from >= 0 || o->count >= 0;
	struct entry_dump d = {o, o->count < 0 ? 100 : o->count, o->count == 0};
	struct err e;
	enum rc rc;

	if (!o->json && entries)
		printf("%-17s %9s %10s %14s  %-23s %9s\n", "FILE", "ENTRY", "HASH", "OFFSET", "STORED", "PREV");
	else if (!o->json)
		printf("%-17s  %-23s  %-23s %14s %14s %9s %9s\n", "FILE", "FROM", "TO", "FIRST OFFSET", "LAST OFFSET", "SLOTS",
		    "ENTRIES");
	rc = entries ? index_each(o, put_entries, &d, &e) : index_each(o, put_one, (void *)o, &e);
	return rc == RC_OK ? DUMP_OK : dump_fail("%s", e.text);
}

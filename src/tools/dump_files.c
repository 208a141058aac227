/*
 * dump_files: reads the files of a store through maps, one file at a time.
 *
 * A map reads bytes that another process may be writing: every field is taken from it once, and lengths are checked against
 * the file's end before they are used. Files of a store are unlinked, never cut, so a map stays whole.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/str.h"
#include "tools/dump.h"

/* ---- files of equal size */

enum rc
dump_files_open(struct dump_files *f, const char *dir, struct err *e)
{
	int64_t bytes;
	enum rc rc = segs_guess_bytes(dir, &bytes, e);

	*f = (struct dump_files){.map_from = -1};
	if (rc != RC_OK)
		return rc;
	segs_init(&f->segs, dir, bytes, "the size of the other files");
	return segs_scan(&f->segs, e);
}

static void
unmap(struct dump_files *f)
{
	if (f->map != NULL)
		munmap(f->map, (size_t)f->segs.file_bytes);
	f->map = NULL;
	f->map_from = -1;
}

void
dump_files_close(struct dump_files *f)
{
	unmap(f);
	if (f->segs.dir != NULL)
		segs_free(&f->segs);
}

static bool
map_file(struct dump_files *f, int64_t from)
{
	struct err e;
	void *p;
	int fd;

	unmap(f);
	if (segs_open(&f->segs, from, SEG_READ, &fd, &e) != RC_OK) {
		if (errno != ENOENT)
			dump_fail("%s", e.text);
		return false;
	}
	p = mmap(NULL, (size_t)f->segs.file_bytes, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		dump_fail("cannot map %s/%020" PRId64 ": %s", f->segs.dir, from, strerror(errno));
		return false;
	}
	f->map = p;
	f->map_from = from;
	return true;
}

struct slice
dump_files_at(struct dump_files *f, int64_t at)
{
	long i = at < 0 ? -1 : segs_index(&f->segs, at);
	int64_t from;

	if (i < 0)
		return SLICE_NONE;
	from = f->segs.from[i];
	if (from != f->map_from && !map_file(f, from))
		return SLICE_NONE;
	return (struct slice){f->map + (at - from), (size_t)(f->segs.file_bytes - (at - from))};
}

/* ---- the log */

enum rc
log_record(struct dump_files *log, int64_t at, bool check_crc, struct message *m)
{
	struct slice s = dump_files_at(log, at);
	enum rc rc;

	if (s.p == NULL)
		return RC_CLOSED;
	rc = message_decode(m, s.p, s.n, check_crc);
	if (rc == RC_NOTFOUND)
		m->size = (uint32_t)s.n;
	if (rc == RC_OK && m->physical != at)
		return RC_BADDATA;
	return rc;
}

bool
log_is_blank(struct dump_files *log, int64_t at)
{
	struct slice s = dump_files_at(log, at);
	static const char zeros[8];

	return s.p == NULL || memcmp(s.p, zeros, MIN_OF(s.n, sizeof(zeros))) == 0;
}

int64_t
log_resync(struct dump_files *log, int64_t at)
{
	static const unsigned char magic_head[] = {0xDA, 0xA3, 0x20};
	struct slice s = dump_files_at(log, at);
	const char *p = s.p, *end = s.p + s.n;
	struct message m;

	while (p != NULL && (p = memmem(p, (size_t)(end - p), magic_head, sizeof(magic_head))) != NULL) {
		int64_t start = at + (p - s.p) - MSG_OFF_MAGIC;

		if (start > at && log_record(log, start, true, &m) == RC_OK)
			return start;
		p++;
	}
	return -1;
}

/* ---- queues */

void
unit_read(struct unit *u, const char *p)
{
	u->physical = (int64_t)be64_get(p);
	u->size = (int32_t)be32_get(p + 8);
	u->tags_code = (int64_t)be64_get(p + 12);
}

bool
unit_is_blank(const struct unit *u)
{
	return u->physical == 0 && u->size == UNIT_BLANK_SIZE;
}

static int
is_dir_name(const struct dirent *ent)
{
	return ent->d_name[0] != '.' && (ent->d_type == DT_DIR || ent->d_type == DT_UNKNOWN);
}

static int
by_number(const struct dirent **a, const struct dirent **b)
{
	return atoi((*a)->d_name) - atoi((*b)->d_name);
}

static void
free_names(struct dirent **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

typedef enum rc (*queue_fn)(void *arg, const char *topic, int32_t id, const char *dir);

static enum rc
topic_each(const struct dump_opts *o, const char *topic, queue_fn each, void *arg)
{
	char dir[PATH_MAX], queue_dir[2 * PATH_MAX];
	struct dirent **names;
	enum rc rc = RC_OK;
	int count;

	snprintf(dir, sizeof(dir), "%s/consumequeue/%s", o->root, topic);
	count = scandir(dir, &names, is_dir_name, by_number);
	for (int i = 0; i < count && rc == RC_OK; i++) {
		int32_t id;

		if (str_i32(slice_of(names[i]->d_name), &id) != RC_OK || (o->queue >= 0 && id != o->queue))
			continue;
		snprintf(queue_dir, sizeof(queue_dir), "%s/%s", dir, names[i]->d_name);
		rc = each(arg, topic, id, queue_dir);
	}
	if (count >= 0)
		free_names(names, count);
	return rc;
}

enum rc
queues_each(const struct dump_opts *o, queue_fn each, void *arg, struct err *e)
{
	struct dirent **names;
	char dir[PATH_MAX];
	enum rc rc = RC_OK;
	int count;

	snprintf(dir, sizeof(dir), "%s/consumequeue", o->root);
	count = scandir(dir, &names, is_dir_name, alphasort);
	if (count < 0) {
		err_set(e, "cannot read %s: %s", dir, strerror(errno));
		return errno == ENOENT ? RC_NOTFOUND : RC_IO;
	}
	for (int i = 0; i < count && rc == RC_OK; i++)
		if (o->topic == NULL || strcmp(o->topic, names[i]->d_name) == 0)
			rc = topic_each(o, names[i]->d_name, each, arg);
	free_names(names, count);
	return rc;
}

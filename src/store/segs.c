/*
 * segs: lists, makes, takes and removes files that are named by their first offset.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/segs.h"

#define DIR_MODE  0755
#define FILE_MODE 0644

struct found { /* one file while a directory is listed */
	int64_t	from, bytes;
};

struct listing {
	struct found	*files;
	size_t		 count, cap;
};

void
segs_init(struct segs *s, const char *dir, int64_t file_bytes, const char *size_key)
{
	ensure(file_bytes > 0);
	*s = (struct segs){.dir = xstrdup(dir), .file_bytes = file_bytes, .size_key = size_key};
}

void
segs_free(struct segs *s)
{
	free(s->dir);
	free(s->from);
	*s = (struct segs){0};
}

enum rc
segs_check_path(const char *path, struct err *e)
{
	if (strchr(path, ',') == NULL)
		return RC_OK;
	err_set(e, "storePathCommitLog=%s names several directories: this version keeps the commit log in one; join the "
	    "disks below it (LVM, RAID) or move the files into one directory", path);
	return RC_INVAL;
}

enum rc
segs_parse_name(const char *name, int64_t *from)
{
	int64_t v = 0;

	if (*name == '\0')
		return RC_BADDATA;
	for (; *name != '\0'; name++) {
		if (!isdigit((unsigned char)*name) || v > (INT64_MAX - (*name - '0')) / 10)
			return RC_BADDATA;
		v = v * 10 + (*name - '0');
	}
	*from = v;
	return RC_OK;
}

void
segs_path(const struct segs *s, int64_t from, char *out, size_t n)
{
	snprintf(out, n, "%s/%020" PRId64, s->dir, from);
}

void
segs_prepare_path(const struct segs *s, int64_t from, char *out, size_t n)
{
	snprintf(out, n, "%s/" SEGS_PREPARE_DIR "/%020" PRId64, s->dir, from);
}

/* ---- listing */

static void
listing_add(struct listing *l, int64_t from, int64_t bytes)
{
	if (l->count == l->cap) {
		l->cap = l->cap == 0 ? 16 : l->cap * 2;
		l->files = xrealloc(l->files, l->cap * sizeof(*l->files));
	}
	l->files[l->count++] = (struct found){from, bytes};
}

static int
by_start(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* Only what is 20 digits wide is found again by its number: the original writes no other form. */
static enum rc
add_entry(struct listing *l, const char *dir, int dfd, const char *name, struct err *e)
{
	struct stat st;
	int64_t from;

	if (fstatat(dfd, name, &st, 0) != 0) {
		if (errno == ENOENT)
			return RC_OK; /* removed since it was listed */
		err_set(e, "cannot look at %s/%s: %s", dir, name, strerror(errno));
		return RC_IO;
	}
	if (S_ISDIR(st.st_mode))
		return RC_OK;
	if (strlen(name) != SEGS_NAME_LEN || segs_parse_name(name, &from) != RC_OK) {
		err_set(e, "%s/%s is no store file: its name is not an offset of %d digits; move it away", dir, name,
		    SEGS_NAME_LEN);
		return RC_BADDATA;
	}
	listing_add(l, from, (int64_t)st.st_size);
	return RC_OK;
}

static enum rc
list_entries(struct listing *l, const char *dir, DIR *d, struct err *e)
{
	struct dirent *ent;
	enum rc rc = RC_OK;

	while (rc == RC_OK && (errno = 0, ent = readdir(d)) != NULL)
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			rc = add_entry(l, dir, dirfd(d), ent->d_name, e);
	if (rc == RC_OK && errno != 0) {
		err_set(e, "cannot read the directory %s: %s", dir, strerror(errno));
		rc = RC_IO;
	}
	return rc;
}

static enum rc
list_dir(struct listing *l, const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	enum rc rc;

	if (d == NULL && errno == ENOENT)
		return RC_OK;
	if (d == NULL) {
		err_set(e, "cannot open the directory %s: %s", dir, strerror(errno));
		return RC_IO;
	}
	rc = list_entries(l, dir, d, e);
	closedir(d);
	if (rc == RC_OK && l->count > 0)
		qsort(l->files, l->count, sizeof(*l->files), by_start);
	return rc;
}

static enum rc
remove_empty(const struct segs *s, int64_t from, struct err *e)
{
	char path[PATH_MAX];

	segs_path(s, from, path, sizeof(path));
	log_warn("%s is empty: removed, as a file that was being made when the broker died", path);
	if (unlink(path) == 0 || errno == ENOENT)
		return RC_OK;
	err_set(e, "cannot remove the empty file %s: %s", path, strerror(errno));
	return RC_IO;
}

static enum rc
drop_empty_last(struct segs *s, struct listing *l, bool remove, struct err *e)
{
	if (l->count == 0 || l->files[l->count - 1].bytes != 0)
		return RC_OK;
	l->count--;
	return remove ? remove_empty(s, l->files[l->count].from, e) : RC_OK;
}

static enum rc
check_file(const struct segs *s, const struct found *f, struct err *e)
{
	char path[PATH_MAX];

	segs_path(s, f->from, path, sizeof(path));
	if (f->bytes != s->file_bytes) {
		err_set(e, "%s has %" PRId64 " bytes, but %s is %" PRId64 ": set %s to the size that this store was made with",
		    path, f->bytes, s->size_key, s->file_bytes, s->size_key);
		return RC_BADDATA;
	}
	if (f->from % s->file_bytes != 0 || f->from > INT64_MAX - s->file_bytes) {
		err_set(e, "%s: its name is no multiple of %s=%" PRId64 ": this file is not of this store", path, s->size_key,
		    s->file_bytes);
		return RC_BADDATA;
	}
	return RC_OK;
}

static enum rc
take_listing(struct segs *s, const struct listing *l, struct err *e)
{
	enum rc rc = RC_OK;

	s->count = 0;
	for (size_t i = 0; i < l->count && rc == RC_OK; i++) {
		rc = check_file(s, &l->files[i], e);
		if (rc == RC_OK)
			segs_add(s, l->files[i].from);
	}
	if (rc != RC_OK)
		s->count = 0;
	return rc;
}

static enum rc
list_all(struct segs *s, bool remove, struct err *e)
{
	struct listing l = {0};
	enum rc rc = list_dir(&l, s->dir, e);

	if (rc == RC_OK)
		rc = drop_empty_last(s, &l, remove, e);
	if (rc == RC_OK)
		rc = take_listing(s, &l, e);
	free(l.files);
	return rc;
}

enum rc
segs_load(struct segs *s, struct err *e)
{
	return list_all(s, true, e);
}

enum rc
segs_drop_empty(const struct segs *s, struct err *e)
{
	struct listing l = {0};
	enum rc rc = list_dir(&l, s->dir, e);

	for (size_t i = 0; i < l.count && rc == RC_OK; i++)
		if (l.files[i].bytes == 0)
			rc = remove_empty(s, l.files[i].from, e);
	free(l.files);
	return rc;
}

enum rc
segs_scan(struct segs *s, struct err *e)
{
	return list_all(s, false, e);
}

enum rc
segs_guess_bytes(const char *dir, int64_t *file_bytes, struct err *e)
{
	struct listing l = {0};
	enum rc rc = list_dir(&l, dir, e);

	*file_bytes = 0;
	for (size_t i = 0; rc == RC_OK && i < l.count; i++)
		*file_bytes = MAX_OF(*file_bytes, l.files[i].bytes);
	free(l.files);
	if (rc == RC_OK && *file_bytes == 0) {
		err_set(e, "%s holds no files", dir);
		rc = RC_NOTFOUND;
	}
	return rc;
}

/* ---- the list */

void
segs_add(struct segs *s, int64_t from)
{
	ensure(s->count == 0 || from > s->from[s->count - 1]);
	if (s->count == s->cap) {
		s->cap = s->cap == 0 ? 16 : s->cap * 2;
		s->from = xrealloc(s->from, s->cap * sizeof(*s->from));
	}
	s->from[s->count++] = from;
}

void
segs_drop_first(struct segs *s, size_t n)
{
	ensure(n <= s->count);
	if (n == 0)
		return;
	memmove(s->from, s->from + n, (s->count - n) * sizeof(*s->from));
	s->count -= n;
}

void
segs_drop_last(struct segs *s)
{
	ensure(s->count > 0);
	s->count--;
}

long
segs_index(const struct segs *s, int64_t offset)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->from[mid] <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || offset - s->from[lo - 1] >= s->file_bytes)
		return -1;
	return (long)lo - 1;
}

int64_t
segs_min(const struct segs *s)
{
	return s->count == 0 ? 0 : s->from[0];
}

int64_t
segs_end(const struct segs *s)
{
	return s->count == 0 ? 0 : s->from[s->count - 1] + s->file_bytes;
}

/* ---- files */

enum rc
segs_open(const struct segs *s, int64_t from, enum seg_mode mode, int *fd, struct err *e)
{
	char path[PATH_MAX];

	segs_path(s, from, path, sizeof(path));
	*fd = open(path, (mode == SEG_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (*fd >= 0)
		return RC_OK;
	err_set(e, "cannot open %s: %s", path, strerror(errno));
	return errno == ENOENT ? RC_NOTFOUND : RC_IO;
}

static bool
is_disk_full(int err)
{
	return err == ENOSPC || err == EDQUOT;
}

/*
 * 0 or errno. The size comes first and in one step: setting aside the blocks of a large file grows it in several, and a power cut among
 * them would leave a file of no size that can be. File systems without fallocate have a sparse file then.
 */
static int
set_size(int fd, int64_t bytes, enum seg_space space)
{
	if (ftruncate(fd, (off_t)bytes) != 0)
		return errno;
	if (space != SEG_RESERVED || fallocate(fd, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return errno;
}

static void
say_full(const struct segs *s, const char *path, struct err *e)
{
	struct statvfs v;
	uint64_t free_bytes = 0;

	if (statvfs(s->dir, &v) == 0)
		free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	err_set(e, "no space for %s: it needs %" PRId64 " bytes, its disk has %" PRIu64
	    " free; free some, or lower fileReservedTime or diskMaxUsedSpaceRatio", path, s->file_bytes, free_bytes);
}

static enum rc
open_new(const struct segs *s, const char *path, int *fd, struct err *e)
{
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	if (*fd < 0 && errno == ENOENT) {
		enum rc rc = dir_make(s->dir, e);

		if (rc != RC_OK)
			return rc;
		*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	}
	if (*fd >= 0)
		return RC_OK;
	if (is_disk_full(errno)) {
		say_full(s, path, e);
		return RC_FULL;
	}
	err_set(e, "cannot make %s: %s", path, strerror(errno));
	return RC_IO;
}

static void
add_if_last(struct segs *s, int64_t from)
{
	if (s->count == 0 || from > s->from[s->count - 1])
		segs_add(s, from);
}

enum rc
segs_create(struct segs *s, int64_t from, enum seg_space space, int *fd, struct err *e)
{
	char path[PATH_MAX];
	enum rc rc;
	int err;

	segs_path(s, from, path, sizeof(path));
	rc = open_new(s, path, fd, e);
	if (rc != RC_OK)
		return rc;
	err = set_size(*fd, s->file_bytes, space);
	if (err == 0) {
		add_if_last(s, from);
		return RC_OK;
	}
	close(*fd);
	*fd = -1;
	unlink(path);
	if (is_disk_full(err)) {
		say_full(s, path, e);
		return RC_FULL;
	}
	err_set(e, "cannot give %s its %" PRId64 " bytes: %s", path, s->file_bytes, strerror(err));
	return RC_IO;
}

enum rc
segs_take_prepared(struct segs *s, int64_t from, int *fd, struct err *e)
{
	char path[PATH_MAX], prepared[PATH_MAX];
	struct stat st;

	*fd = -1;
	segs_path(s, from, path, sizeof(path));
	segs_prepare_path(s, from, prepared, sizeof(prepared));
	/* A file of another size is left from other settings: clean removes it, segs_create makes ours. */
	if (stat(prepared, &st) != 0 || st.st_size != s->file_bytes)
		return RC_NOTFOUND;
	if (access(path, F_OK) == 0) {
		err_set(e, "%s exists already: not replaced by the prepared file", path);
		return RC_IO;
	}
	if (rename(prepared, path) != 0) {
		if (errno == ENOENT)
			return RC_NOTFOUND;
		err_set(e, "cannot rename %s to %s: %s", prepared, path, strerror(errno));
		return RC_IO;
	}
	fault_hit(FAULT_ROLL_AFTER_RENAME);
	add_if_last(s, from);
	return segs_open(s, from, SEG_WRITE, fd, e);
}

enum rc
segs_unlink(const struct segs *s, int64_t from, struct err *e)
{
	char path[PATH_MAX];

	segs_path(s, from, path, sizeof(path));
	if (unlink(path) == 0 || errno == ENOENT)
		return RC_OK;
	err_set(e, "cannot remove %s: %s", path, strerror(errno));
	return RC_IO;
}

enum rc
segs_sync_dir(const struct segs *s, struct err *e)
{
	return dir_sync(s->dir, e);
}

enum rc
dir_sync(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) != 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	/* Some file systems know no fsync of a directory: they order names by themselves. */
	if (err == 0 || err == EINVAL)
		return RC_OK;
	err_set(e, "cannot sync the directory %s: %s", dir, strerror(err));
	errno = err;
	return RC_IO;
}

static enum rc
make_one(const char *dir, struct err *e)
{
	if (mkdir(dir, DIR_MODE) == 0 || errno == EEXIST)
		return RC_OK;
	err_set(e, "cannot make the directory %s: %s", dir, strerror(errno));
	return is_disk_full(errno) ? RC_FULL : RC_IO;
}

enum rc
dir_make(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	size_t n = strlen(dir);

	if (n >= sizeof(path)) {
		err_set(e, "path too long (%zu characters): %s", n, dir);
		return RC_IO;
	}
	memcpy(path, dir, n + 1);
	for (char *p = path + 1; *p != '\0'; p++) {
		enum rc rc;

		if (*p != '/')
			continue;
		*p = '\0';
		rc = make_one(path, e);
		*p = '/';
		if (rc != RC_OK)
			return rc;
	}
	return make_one(path, e);
}

/*
 * prepare: zero-fills the next segment in chunks, and puts right what a crash left of it.
 */
#include "workers/clean/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"

#define BEHIND_WRITE 4 /* chunks whose write-out may be under way: the log's own syncs must not wait behind more */
#define EASY_MS	     10

static char zeros[PREPARE_CHUNK]; /* never written: not const, so that it is no megabyte of the program file */

void
prepare_init(struct prepare *p, const struct segs *segs)
{
	*p = (struct prepare){.segs = segs, .fd = -1};
}

static void
dir_path(const struct prepare *p, char *out, size_t n)
{
	snprintf(out, n, "%s/" SEGS_PREPARE_DIR, p->segs->dir);
}

static void
tmp_path(const struct prepare *p, char *out, size_t n)
{
	snprintf(out, n, "%s/" SEGS_PREPARE_DIR "/%020" PRId64 ".tmp", p->segs->dir, p->from);
}

/* ---- what a crash left */

static bool
is_whole(const struct prepare *p, int dfd, const char *name, int64_t from)
{
	struct stat st;
	int64_t v;

	return strlen(name) == SEGS_NAME_LEN && segs_parse_name(name, &v) == RC_OK && v == from &&
	    fstatat(dfd, name, &st, 0) == 0 && S_ISREG(st.st_mode) && st.st_size == p->segs->file_bytes;
}

static bool
is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes all but the whole file for `keep` (-1: all). True: that one is there. */
static bool
sweep(const struct prepare *p, int64_t keep)
{
	char path[PATH_MAX];
	struct dirent *ent;
	bool kept = false;
	DIR *d;

	dir_path(p, path, sizeof(path));
	d = opendir(path);
	if (d == NULL)
		return false;
	while ((ent = readdir(d)) != NULL) {
		if (is_dots(ent->d_name))
			continue;
		if (keep >= 0 && is_whole(p, dirfd(d), ent->d_name, keep))
			kept = true;
		else if (unlinkat(dirfd(d), ent->d_name, 0) != 0 && errno != ENOENT)
			log_warn("cannot remove %s/%s: %s", path, ent->d_name, strerror(errno));
	}
	closedir(d);
	return kept;
}

void
prepare_adopt(struct prepare *p, int64_t next)
{
	p->from = next;
	p->state = sweep(p, next) ? PREPARE_READY : PREPARE_NONE;
}

/* ---- when */

int64_t
prepare_active(const struct segs *segs, int64_t appended)
{
	return appended > 0 ? segs_start(segs, appended - 1) : 0;
}

int64_t
prepare_wanted(const struct prepare *p, int64_t appended, bool rolled)
{
	int64_t size = p->segs->file_bytes, active = prepare_active(p->segs, appended), next = active + size;

	if (p->state != PREPARE_NONE && p->from == next)
		return -1;
	return rolled || appended - active > size / 2 ? next : -1;
}

/* Parts of the segment in use and of the one to come, in 1/1024: a quarter ahead is enough to take it easy. */
int64_t
prepare_pause_ms(const struct prepare *p, int64_t appended)
{
	int64_t size = p->segs->file_bytes, active = p->from - size;
	int64_t used = (appended - active) * 1024 / size, made = p->done * 1024 / size;

	return made > used + 256 ? EASY_MS : 0;
}

/* ---- making one */

static enum rc
refused(const char *what, const char *path, int err, struct err *e)
{
	err_set(e, "the next segment is not made ready ahead: %s %s: %s", what, path, strerror(err));
	return err == ENOSPC || err == EDQUOT ? RC_FULL : RC_IO;
}

enum rc
prepare_begin(struct prepare *p, int64_t from, struct err *e)
{
	char path[PATH_MAX];
	bool reserved;
	enum rc rc;

	prepare_drop(p);
	dir_path(p, path, sizeof(path));
	p->from = from;
	p->state = PREPARE_GAVE_UP;
	rc = dir_make(path, e);
	if (rc != RC_OK)
		return rc;
	tmp_path(p, path, sizeof(path));
	p->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (p->fd < 0)
		return refused("cannot make", path, errno, e);
	/* Blocks in one piece, and a full disk is met now. */
	reserved = fallocate(p->fd, 0, 0, (off_t)p->segs->file_bytes) == 0;
	if (!reserved && errno != EOPNOTSUPP && errno != ENOSYS) {
		rc = refused("no space for", path, errno, e);
		prepare_drop(p);
		p->state = PREPARE_GAVE_UP;
		return rc;
	}
	(void)fault_hit(FAULT_PREPARE_FILL);
	p->state = PREPARE_FILLING;
	p->done = reserved && p->reserve_only ? p->segs->file_bytes : 0;
	return RC_OK;
}

static enum rc
give_up(struct prepare *p, const char *what, int err, struct err *e)
{
	char path[PATH_MAX];
	enum rc rc;

	tmp_path(p, path, sizeof(path));
	rc = refused(what, path, err, e);
	prepare_drop(p);
	p->state = PREPARE_GAVE_UP;
	return rc;
}

static enum rc
finish(struct prepare *p, struct err *e)
{
	char tmp[PATH_MAX], path[PATH_MAX], dir[PATH_MAX];

	if (fsync(p->fd) != 0)
		return give_up(p, "cannot sync", errno, e);
	close(p->fd);
	p->fd = -1;
	(void)fault_hit(FAULT_PREPARE_RENAME);
	tmp_path(p, tmp, sizeof(tmp));
	segs_prepare_path(p->segs, p->from, path, sizeof(path));
	if (rename(tmp, path) != 0)
		return give_up(p, "cannot rename", errno, e);
	(void)fault_hit(FAULT_PREPARE_AFTER_RENAME);
	dir_path(p, dir, sizeof(dir));
	if (dir_sync(dir, e) != RC_OK)
		log_debug("%s", e->text); /* after a power cut it is made again */
	p->state = PREPARE_READY;
	return RC_OK;
}

/* Begins the write-out of this chunk and waits for an older one, so that dirty pages never pile up. */
static void
write_out(const struct prepare *p, int64_t at, int64_t n)
{
	int64_t old = at - (int64_t)BEHIND_WRITE * PREPARE_CHUNK;

	(void)sync_file_range(p->fd, at, n, SYNC_FILE_RANGE_WRITE);
	if (old >= 0)
		(void)sync_file_range(p->fd, old, PREPARE_CHUNK, SYNC_FILE_RANGE_WAIT_BEFORE);
}

enum rc
prepare_step(struct prepare *p, struct err *e)
{
	int64_t n = MIN_OF((int64_t)PREPARE_CHUNK, p->segs->file_bytes - p->done);
	ssize_t wrote;

	ensure(p->state == PREPARE_FILLING);
	if (n == 0)
		return finish(p, e);
	wrote = pwrite(p->fd, zeros, (size_t)n, (off_t)p->done);
	if (wrote < 0 && errno == EINTR)
		return RC_AGAIN;
	if (wrote <= 0)
		return give_up(p, "cannot fill", wrote < 0 ? errno : ENOSPC, e);
	write_out(p, p->done, wrote);
	p->done += wrote;
	return RC_AGAIN;
}

/* ---- and away with it */

void
prepare_drop(struct prepare *p)
{
	char path[PATH_MAX];

	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	if (p->state == PREPARE_READY)
		segs_prepare_path(p->segs, p->from, path, sizeof(path));
	else
		tmp_path(p, path, sizeof(path));
	if (p->state != PREPARE_NONE && unlink(path) != 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
	p->state = PREPARE_NONE;
	p->done = 0;
}

void
prepare_remove_all(struct prepare *p)
{
	char path[PATH_MAX];

	prepare_drop(p);
	(void)sweep(p, -1);
	dir_path(p, path, sizeof(path));
	if (rmdir(path) != 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

/*
 * file: config files read whole and replaced whole (the file half of json.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define CONFIG_MAX (256u << 20) /* the offsets of a large cluster take some MiB */

/* Reads to the end of the file. */
static enum rc
read_all(int fd, size_t max, struct buf *b)
{
	for (;;) {
		size_t room = 16384;
		char *to = buf_room(b, room);
		ssize_t n;

		if (to == NULL)
			return RC_LIMIT;
		n = read(fd, to, room);
		if (n == 0)
			return RC_OK;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return RC_IO;
		b->len += (size_t)n;
		if (b->len > max)
			return RC_LIMIT;
	}
}

enum rc
file_read(const char *path, size_t max, struct buf *b, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum rc rc;

	if (fd < 0) {
		err_set(e, "cannot open %s: %s", path, strerror(errno));
		return errno == ENOENT ? RC_NOTFOUND : RC_IO;
	}
	rc = read_all(fd, max, b);
	if (rc == RC_LIMIT)
		err_set(e, "%s is longer than %zu bytes", path, max);
	if (rc == RC_IO)
		err_set(e, "cannot read %s: %s", path, strerror(errno));
	close(fd);
	return rc;
}

/* An empty file is what a crash of the original may leave: as unreadable as a torn one. */
static enum rc
load_one(const char *path, json_t **out, struct err *e)
{
	struct buf text = {.limit = CONFIG_MAX + 65536};
	enum rc rc = file_read(path, CONFIG_MAX, &text, e);

	if (rc == RC_OK) {
		rc = json_load_relaxed(buf_slice(&text), out, e);
		if (rc != RC_OK)
			err_prefix(e, "%s", path);
	}
	buf_free(&text);
	return rc;
}

/* *broken: path is there, and its .bak was used in its place. */
static enum rc
load_either(const char *path, json_t **out, bool *broken, struct err *e)
{
	char *bak = xasprintf("%s.bak", path);
	struct err why, why_bak;
	enum rc rc = load_one(path, out, &why), rc_bak;

	*broken = false;
	if (rc == RC_OK) {
		free(bak);
		return RC_OK;
	}
	rc_bak = load_one(bak, out, &why_bak);
	if (rc_bak == RC_OK) {
		log_warn("%s; %s is used in its place", why.text, bak);
		*broken = rc != RC_NOTFOUND;
		rc = RC_OK;
	} else if (rc == RC_NOTFOUND && rc_bak == RC_NOTFOUND)
		err_set(e, "neither %s nor its .bak is there", path);
	else {
		err_set(e, "neither %s nor %s can be used: %.120s; %.120s. Repair one, or remove both to start empty", path,
		    bak, why.text, why_bak.text);
		rc = RC_BADDATA;
	}
	free(bak);
	return rc;
}

enum rc
json_read_config(const char *path, json_t **out, struct err *e)
{
	bool broken;

	return load_either(path, out, &broken, e);
}

enum rc
json_load_config(const char *path, json_t **out, struct err *e)
{
	bool broken;
	enum rc rc = load_either(path, out, &broken, e);
	char *aside;

	if (rc != RC_OK || !broken)
		return rc;
	aside = xasprintf("%s.broken", path);
	if (rename(path, aside) == 0)
		log_warn("%s is kept as %s", path, aside);
	else
		log_warn("%s cannot be moved aside: %s; the next version of it makes it the .bak", path, strerror(errno));
	free(aside);
	return RC_OK;
}

static enum rc
sys_failed(struct err *e, const char *what, const char *path)
{
	int saved = errno;

	err_set(e, "cannot %s %s: %s", what, path, strerror(saved));
	errno = saved;
	return saved == ENOSPC || saved == EDQUOT ? RC_FULL : RC_IO;
}

static bool
write_all(int fd, struct slice text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text.p += n;
		text.n -= (size_t)n;
	}
	return true;
}

static enum rc
write_synced(const char *path, struct slice text, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	enum rc rc;

	if (fd < 0)
		return sys_failed(e, "make", path);
	rc = write_all(fd, text) && (errno = fault_hit(FAULT_CONFIG_BEFORE_SYNC)) == 0 && fsync(fd) == 0 ?
		 RC_OK :
		 sys_failed(e, "write", path);
	if (close(fd) != 0 && rc == RC_OK)
		rc = sys_failed(e, "close", path);
	return rc;
}

/* Gives the present file a second name, path.bak, without a moment in which one of them is missing. */
static enum rc
keep_old(const char *path, const char *bak, const char *bak_tmp, struct err *e)
{
	(void)unlink(bak_tmp); /* of a run that was killed here */
	if (link(path, bak_tmp) != 0)
		return errno == ENOENT ? RC_OK : sys_failed(e, "keep the old", path);
	if (rename(bak_tmp, bak) != 0)
		return sys_failed(e, "replace", bak);
	(void)unlink(bak_tmp); /* rename leaves it when both were the same file already */
	return RC_OK;
}

static enum rc
sync_dir_of(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == NULL ? xstrdup(".") : xstrndup(path, MAX_OF((size_t)(slash - path), 1));
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum rc rc = fd >= 0 && fsync(fd) == 0 ? RC_OK : sys_failed(e, "sync the directory", dir);

	if (fd >= 0)
		close(fd);
	free(dir);
	return rc;
}

enum rc
file_swap(const char *path, const char *tmp, struct err *e)
{
	char *bak = xasprintf("%s.bak", path), *bak_tmp = xasprintf("%s.bak.tmp", path);
	enum rc rc = keep_old(path, bak, bak_tmp, e);

	if (rc == RC_OK && (errno = fault_hit(FAULT_CONFIG_BEFORE_RENAME)) != 0)
		rc = sys_failed(e, "replace", path);
	if (rc == RC_OK && rename(tmp, path) != 0)
		rc = sys_failed(e, "replace", path);
	if (rc == RC_OK)
		(void)fault_hit(FAULT_CONFIG_AFTER_RENAME);
	free(bak);
	free(bak_tmp);
	return rc;
}

enum rc
file_replace(const char *path, struct slice text, struct err *e)
{
	char *tmp = xasprintf("%s.tmp", path);
	enum rc rc = write_synced(tmp, text, e);
	int saved;

	if (rc == RC_OK)
		rc = file_swap(path, tmp, e);
	if (rc == RC_OK)
		rc = sync_dir_of(path, e);
	saved = errno;
	if (rc != RC_OK)
		(void)unlink(tmp);
	free(tmp);
	errno = saved;
	return rc;
}

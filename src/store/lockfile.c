/*
 * lockfile: the fcntl lock that keeps a second process off a store.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/lockfile.h"

static const char CONTENT[] = "rmqs"; /* the original writes "lock" in its place, and never looks at it */

static struct flock
first_byte(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
}

/* 0: nobody, or it cannot be told. */
static long
holder_of(int fd)
{
	struct flock l = first_byte(F_WRLCK);

	if (fcntl(fd, F_GETLK, &l) != 0 || l.l_type == F_UNLCK || l.l_pid <= 0)
		return 0;
	return (long)l.l_pid;
}

static enum rc
refuse(const char *path, int fd, int err, long *holder, struct err *e)
{
	long pid;

	if (err != EACCES && err != EAGAIN) {
		err_set(e, "cannot lock %s: %s", path, strerror(err));
		return RC_IO;
	}
	pid = holder_of(fd);
	if (holder != NULL)
		*holder = pid;
	if (pid != 0)
		err_set(e, "the store is in use: process %ld holds %s", pid, path);
	else
		err_set(e, "the store is in use: another process holds %s", path);
	return RC_BUSY;
}

static enum rc
write_content(const char *path, int fd, struct err *e)
{
	size_t n = strlen(CONTENT);

	/* Not synced: on a busy disk that takes a second of the start, and after a power cut nobody asks what stands here. */
	if (pwrite(fd, CONTENT, n, 0) == (ssize_t)n)
		return RC_OK;
	/* A full disk must not keep the store from being opened: the lock counts, not the text. */
	if (errno == ENOSPC || errno == EDQUOT)
		return RC_OK;
	err_set(e, "cannot write %s: %s", path, strerror(errno));
	return RC_IO;
}

enum rc
lockfile_take(const char *root, int *fd, long *holder, struct err *e)
{
	struct flock l = first_byte(F_WRLCK);
	char path[PATH_MAX];
	enum rc rc;

	if (holder != NULL)
		*holder = 0;
	snprintf(path, sizeof(path), "%s/" LOCKFILE_NAME, root);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (*fd < 0) {
		err_set(e, "cannot open %s: %s", path, strerror(errno));
		return RC_IO;
	}
	if (fcntl(*fd, F_SETLK, &l) == 0)
		rc = write_content(path, *fd, e);
	else
		rc = refuse(path, *fd, errno, holder, e);
	if (rc != RC_OK)
		lockfile_release(fd);
	return rc;
}

void
lockfile_release(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool
lockfile_was_ours(const char *root)
{
	char path[PATH_MAX], content[sizeof(CONTENT)] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/" LOCKFILE_NAME, root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, content, sizeof(content) - 1);
	close(fd);
	return n == (ssize_t)sizeof(CONTENT) - 1 && memcmp(content, CONTENT, (size_t)n) == 0;
}

long
lockfile_holder(const char *root)
{
	char path[PATH_MAX];
	long pid;
	int fd;

	snprintf(path, sizeof(path), "%s/" LOCKFILE_NAME, root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	pid = holder_of(fd);
	close(fd);
	return pid;
}

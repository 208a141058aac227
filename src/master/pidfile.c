/*
 * pidfile: one instance at a time, by a locked file that holds its pid.
 *
 * The lock is the truth, not the number in the file: the system drops it with the process, so a file that a crash left
 * behind is known to be stale. Record locks (fcntl) belong to one process and tell who holds them; a fork does not take
 * them along.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "master/master.h"

#define OPEN_TRIES 5 /* the one before us may remove the file between our open and our lock */

/* Who locks it: a pid, or 0. */
static long
holder(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK ? (long)l.l_pid : 0;
}

long
pidfile_holder(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	long pid = 0;

	if (fd < 0)
		return 0; /* no file, no holder; if it is something else, taking it will say so */
	pid = holder(fd);
	close(fd);
	return pid;
}

static enum rc
busy(const char *path, long pid, struct err *e)
{
	err_set(e, "another rmqsupervisor is running with pid %ld: it holds %s", pid, path);
	return RC_BUSY;
}

enum rc
pidfile_look(const char *path, struct err *e)
{
	long pid = pidfile_holder(path);

	return pid != 0 ? busy(path, pid, e) : RC_OK;
}

static enum rc
file_error(const char *path, int fd, struct err *e)
{
	int saved = errno;

	err_set(e, "%s cannot be written: %s", path, strerror(saved));
	if (fd >= 0)
		close(fd);
	errno = saved;
	return RC_IO;
}

/* The path still leads to the file that we have locked. */
static bool
is_still_there(const char *path, int fd)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
	       mine.st_dev == there.st_dev;
}

static enum rc
take_once(const char *path, int *fd, struct err *e)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	long pid;

	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (*fd < 0)
		return file_error(path, -1, e);
	if (fcntl(*fd, F_SETLK, &l) == 0) {
		if (is_still_there(path, *fd))
			return RC_OK;
		close(*fd);
		return RC_AGAIN;
	}
	if (errno != EACCES && errno != EAGAIN)
		return file_error(path, *fd, e);
	pid = holder(*fd);
	close(*fd);
	return pid != 0 ? busy(path, pid, e) : RC_AGAIN; /* 0: the holder went away in between */
}

enum rc
pidfile_take(const char *path, int *fd, struct err *e)
{
	enum rc rc = RC_AGAIN;

	for (int i = 0; i < OPEN_TRIES && rc == RC_AGAIN; i++)
		rc = take_once(path, fd, e);
	if (rc == RC_AGAIN)
		err_set(e, "%s is being made and removed by others all the time", path);
	if (rc != RC_OK)
		*fd = -1;
	else
		pidfile_write(*fd);
	return rc;
}

void
pidfile_write(int fd)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (fchmod(fd, 0644) != 0 || ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
		log_warn("the pid file could not be written: %s", strerror(errno));
}

/* As the user we have become we may not be allowed to remove it: then it is left empty. */
void
pidfile_drop(const char *path, int *fd)
{
	if (*fd < 0)
		return;
	if (unlink(path) != 0 && ftruncate(*fd, 0) != 0)
		log_warn("%s could not be removed: %s", path, strerror(errno));
	close(*fd);
	*fd = -1;
}

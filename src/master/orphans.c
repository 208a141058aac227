/*
 * orphans: a flock(2) on the lock file, which belongs to the open file and so to all processes that have inherited it.
 */
#include "master/orphans.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define LOOK_EVERY_NS 5000000

void
orphans_mark(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		log_warn("the lock file could not be marked: %s; a supervisor that is started at once after a crash of this one may find "
		    "its ports or stores in use", strerror(errno));
}

static enum rc
wait_for(int fd, const char *path, struct err *e)
{
	struct timespec pause = {.tv_nsec = LOOK_EVERY_NS};
	int64_t end = clock_mono_us() + (int64_t)ORPHANS_PATIENCE_MS * 1000;
	bool said = false;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return RC_OK; /* a file system without these locks: ports and stores will tell */
		if (clock_mono_us() > end) {
			err_set(e, "workers of a supervisor that died have not finished after %d s: they hold %s (fuser names them)",
			    ORPHANS_PATIENCE_MS / 1000, path);
			return RC_BUSY;
		}
		if (!said)
			log_info("workers of a supervisor that died are finishing what they have begun: waiting for them");
		said = true;
		nanosleep(&pause, NULL);
	}
	return RC_OK;
}

enum rc
orphans_wait(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	enum rc rc;

	if (fd < 0)
		return RC_OK; /* no file, no earlier supervisor; if it is something else, taking it will say so */
	rc = wait_for(fd, path, e);
	close(fd);
	return rc;
}

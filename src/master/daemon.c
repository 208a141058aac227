/*
 * daemon: going to the background, for -d.
 *
 * The command returns when all workers serve, or with the reason why they do not: an init script can believe its status.
 */
#include "master/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static NORETURN void
wait_for_child(int fd)
{
	char sign;
	ssize_t n;

	do
		n = read(fd, &sign, 1);
	while (n < 0 && errno == EINTR);
	_exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE); /* what went wrong the child has said on stderr */
}

enum rc
daemon_begin(int *ready_pipe, struct err *e)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		err_set(e, "cannot go to the background: %s", strerror(errno));
		return RC_IO;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(fds[0]);
	}
	close(fds[0]);
	setsid();
	*ready_pipe = fds[1];
	return RC_OK;
}

void
daemon_detach(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	for (int std = STDIN_FILENO; std <= STDERR_FILENO; std++)
		dup2(fd, std);
	if (fd > STDERR_FILENO)
		close(fd);
}

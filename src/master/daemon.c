/*
 * daemon: going to the background, for -d.
 *
 * The command returns when all workers serve, or with the reason why they do not: an init script can believe its status.
 */
#include "master/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static NORETURN void
wait_for_child(int fd, int timeout_s)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char sign;

	if (poll(&p, 1, timeout_s * 1000) == 1)
		_exit(read(fd, &sign, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE); /* the child has said what is wrong */
	fprintf(stderr, "rmqsupervisor: not all workers serve after %d s; it goes on in the background, the log tells more\n",
	    timeout_s);
	_exit(EXIT_FAILURE);
}

enum rc
daemon_begin(int timeout_s, int *ready_pipe, struct err *e)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		err_set(e, "cannot go to the background: %s", strerror(errno));
		return RC_IO;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(fds[0], timeout_s);
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

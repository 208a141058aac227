/*
 * resolve: the address behind "host:port" without blocking the loop.
 *
 * Runs in:    the broker process, and a child of its own for each name.
 * Must not:   leave anything of the broker open in the child: a child that hangs must hold neither sockets nor locks.
 */
#include "workers/broker/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"

#define CHILD_SECONDS	20	/* more than the resolver's own patience */
#define PIPE_FD		3

struct answer {
	bool		found;
	struct addr	addr;
	struct err	e;
};

struct resolve {
	struct ev_loop	*loop;
	resolve_done	*done;
	void		*arg;
	struct answer	 got;
	int		 fd;	/* from the child; -1: none */
	ev_io		 io;
	ev_timer	 now;	/* the answer is known already */
};

static void
stop(struct resolve *r)
{
	ev_timer_stop(r->loop, &r->now);
	if (r->fd >= 0) {
		ev_io_stop(r->loop, &r->io);
		close(r->fd);
	}
}

static void
finish(struct resolve *r)
{
	stop(r);
	r->done(r->arg, r->got.found ? &r->got.addr : NULL, r->got.e.text);
	free(r);
}

static void
on_now(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop;
	(void)events;
	finish(t->data);
}

static void
on_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct resolve *r = io->data;
	struct answer got;
	ssize_t n = read(r->fd, &got, sizeof got);

	(void)loop;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* One write of less than PIPE_BUF comes whole or not at all. */
	if (n == (ssize_t)sizeof got)
		r->got = got;
	else
		err_set(&r->got.e, "the look-up of its name took longer than %d s", CHILD_SECONDS);
	finish(r);
}
_Static_assert(sizeof(struct answer) <= 4096, "one atomic write to a pipe");

static void
ask_in_child(int fd, const char *text)
{
	struct answer a = {.found = false};

	if (fd != PIPE_FD && dup2(fd, PIPE_FD) < 0)
		_exit(1);
	close_range(PIPE_FD + 1, ~0u, 0);
	alarm(CHILD_SECONDS);
	a.found = addr_parse(text, &a.addr, &a.e) == RC_OK;
	_exit(write(PIPE_FD, &a, sizeof a) == (ssize_t)sizeof a ? 0 : 1);
}

/* Twice forked: the grandchild belongs to init, nobody here has to wait for its end. */
static bool
start_child(int fd, const char *text)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (fork() == 0)
			ask_in_child(fd, text);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return pid > 0;
}

static void
look_up(struct resolve *r, const char *text)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		err_set(&r->got.e, "its name cannot be looked up: no pipe (%s)", strerror(errno));
		ev_timer_start(r->loop, &r->now);
		return;
	}
	if (start_child(fds[1], text)) {
		r->fd = fds[0];
		ev_io_init(&r->io, on_readable, r->fd, EV_READ);
		r->io.data = r;
		ev_io_start(r->loop, &r->io);
	} else {
		err_set(&r->got.e, "its name cannot be looked up: no process (%s)", strerror(errno));
		close(fds[0]);
		ev_timer_start(r->loop, &r->now);
	}
	close(fds[1]);
}

static bool
is_numeric(const char *text)
{
	return *text == '[' || text[strspn(text, "0123456789.:")] == '\0';
}

void
resolve_start(struct ev_loop *loop, const char *text, resolve_done *done, void *arg, struct resolve **out)
{
	struct resolve *r = *out = xcalloc(1, sizeof *r);

	r->loop = loop;
	r->done = done;
	r->arg = arg;
	r->fd = -1;
	ev_timer_init(&r->now, on_now, 0., 0.);
	r->now.data = r;
	if (!is_numeric(text)) {
		look_up(r, text);
		return;
	}
	r->got.found = addr_parse(text, &r->got.addr, &r->got.e) == RC_OK;
	ev_timer_start(loop, &r->now);
}

void
resolve_cancel(struct resolve **rp)
{
	struct resolve *r = *rp;

	if (r == NULL)
		return;
	stop(r);
	free(r);
	*rp = NULL;
}

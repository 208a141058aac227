/*
 * bgsync: fsync that does not block the loop.
 *
 * Runs in:    the broker process; the sync itself in the kernel.
 */
#include "workers/broker/bgsync.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/mem.h"

struct bgsync {
	struct ev_loop	*loop;
	aio_context_t	 aio;
	int		 efd;
	ev_io		 io;
	struct iocb	 request;
	bool		 under_way;
	void		(*done)(void *arg, int error);
	void		*arg;
};

/* The C library has no names for these. */
static long
aio_setup(unsigned events, aio_context_t *aio)
{
	return syscall(SYS_io_setup, events, aio);
}

static long
aio_take(aio_context_t aio, long min, struct io_event *event)
{
	return syscall(SYS_io_getevents, aio, min, 1L, event, NULL);
}

static void
on_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct bgsync *s = io->data;
	struct io_event event;
	uint64_t n;

	(void)loop;
	(void)events;
	if (read(s->efd, &n, sizeof n) != (ssize_t)sizeof n || aio_take(s->aio, 0, &event) != 1)
		return;
	s->under_way = false;
	ev_io_stop(s->loop, &s->io);
	s->done(s->arg, event.res < 0 ? (int)-event.res : 0);
}

struct bgsync *
bgsync_new(struct ev_loop *loop)
{
	struct bgsync *s = xcalloc(1, sizeof *s);

	s->loop = loop;
	s->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->efd >= 0 && aio_setup(1, &s->aio) == 0) {
		ev_io_init(&s->io, on_event, s->efd, EV_READ);
		s->io.data = s;
		return s;
	}
	if (s->efd >= 0)
		close(s->efd);
	free(s);
	return NULL;
}

void
bgsync_free(struct bgsync **sp)
{
	struct bgsync *s = *sp;
	struct io_event event;

	if (s == NULL)
		return;
	while (s->under_way && aio_take(s->aio, 1, &event) < 0 && errno == EINTR)
		continue;
	ev_io_stop(s->loop, &s->io);
	syscall(SYS_io_destroy, s->aio);
	close(s->efd);
	free(s);
	*sp = NULL;
}

enum rc
bgsync_start(struct bgsync *s, int fd, void (*done)(void *arg, int error), void *arg)
{
	struct iocb *list[1] = {&s->request};

	if (s->under_way)
		return RC_BUSY;
	memset(&s->request, 0, sizeof s->request);
	s->request.aio_lio_opcode = IOCB_CMD_FSYNC;
	s->request.aio_fildes = (uint32_t)fd;
	s->request.aio_flags = IOCB_FLAG_RESFD;
	s->request.aio_resfd = (uint32_t)s->efd;
	if (syscall(SYS_io_submit, s->aio, 1L, list) != 1)
		return RC_INVAL;
	s->under_way = true;
	s->done = done;
	s->arg = arg;
	ev_io_start(s->loop, &s->io);
	return RC_OK;
}

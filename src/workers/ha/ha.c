/*
 * ha: the place of replication. This version does not replicate: a slave that connects is told so by a closed connection and
 * a line in the log, and a node with brokerRole SLAVE gets no data.
 *
 * Runs in:    the ha process, one per broker node.
 * Owns:       shm ha.*.        Reads: broker.appended.
 * Must not:   claim a copy that nobody has: with SYNC_MASTER `replicated` stays where it is.
 * If it dies: started again; nothing is lost.
 *
 * An ASYNC_MASTER asks for no replica, so what is appended counts as replicated. That is shown once a second; nobody waits
 * for it, so this process lets nobody wake it.
 */
#include "workers/ha/ha.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sock.h"

struct ha {
	struct worker	*w;
	ev_io		 listener;
	struct log_limit refused;
};

static enum broker_role
role_now(const struct worker *w)
{
	return (enum broker_role)atomic_load(&w->shm->master.role);
}

static void
publish(struct worker *w)
{
	if (role_now(w) == ROLE_ASYNC_MASTER)
		pos_publish(&w->shm->ha.replicated, pos_read(&w->shm->broker.appended));
}

static void
refuse(struct ev_loop *loop, ev_io *io, int events)
{
	struct ha *h = io->data;
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	char text[ADDR_TEXT];
	struct addr a;
	int fd = accept4(io->fd, (struct sockaddr *)&ss, &n, SOCK_CLOEXEC);

	(void)loop, (void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && log_allowed(&h->refused, 3))
			log_warn("accept on the replication port: %s", strerror(errno));
		return;
	}
	close(fd);
	addr_from_sockaddr(&a, &ss);
	if (log_allowed(&h->refused, 3))
		log_warn("slave %s was turned away: this version does not replicate; it will try again", addr_text(&a, text));
}

static void
watch_listener(struct ha *h)
{
	int fd = h->w->listen_fds[0];

	if (fd < 0)
		return;
	ev_io_init(&h->listener, refuse, fd, EV_READ);
	h->listener.data = h;
	ev_io_start(h->w->loop, &h->listener);
}

static void
say_role(const struct worker *w)
{
	switch (role_now(w)) {
	case ROLE_ASYNC_MASTER:
		break;
	case ROLE_SYNC_MASTER:
		log_warn("brokerRole=SYNC_MASTER, but this version does not replicate: no record will be reported as copied. "
		    "Use ASYNC_MASTER until then");
		break;
	case ROLE_SLAVE:
		log_warn("brokerRole=SLAVE, but this version does not replicate: this node gets nothing from its master");
		break;
	}
}

/* Nothing that moves concerns us: not armed, the broker writes no eventfd for us. */
static void
on_wake(struct worker *w)
{
	atomic_store_explicit(&w->shm->waiters[WORKER_HA].w.armed, 0, memory_order_relaxed);
}

int
ha_run(struct worker *w)
{
	struct ha h = {.w = w};

	worker_init(w);
	w->state = &h;
	w->on_wake = on_wake;
	w->on_second = publish;
	watch_listener(&h);
	say_role(w);
	publish(w);
	worker_ready(w);
	return worker_loop(w);
}

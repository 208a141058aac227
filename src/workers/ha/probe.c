/*
 * probe: asks the other nodes of the brokerName for their epoch, so that a master that was away hears that it is none
 * any more.
 *
 * Runs in:    the ha process of a master, when the spec has failover. At the start the broker takes no sends before all
 *             have answered or ASK_MS has passed; then each is asked every PROBE_MS.
 * Must not:   hold anything up: an address is looked up once, a connection that stays silent is closed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "workers/ha/ha_int.h"
#include "workers/ha/meet.h"

#define ASK_MS    500
#define PROBE_MS  2000
#define SILENT_MS 1000
#define READ_STEP 4096

struct probe {
	struct ha *h;
	char address[HA_ADDRESS_MAX];
	struct addr addr;
	bool known;    /* addr is */
	bool answered; /* since the start, or could not be reached */
	int fd;
	ev_io io;
	bool greeted;
	struct buf got;
	int64_t since_ms;
};

static void
end(struct probe *p)
{
	p->answered = true;
	if (p->fd < 0)
		return;
	ev_io_stop(p->h->w->loop, &p->io);
	close(p->fd);
	p->fd = -1;
	p->greeted = false;
	buf_reset(&p->got, 0);
}

static void
take_answer(struct probe *p, const struct hello *a)
{
	char text[HELLO_TEXT_MAX];

	if (!meet_is_ours(&p->h->self, a, text))
		log_warn("the node at %s should be one of ours: %s", p->address, text);
	else if (meet_is_stale(&p->h->self, a))
		ha_fence(p->h, MAX_OF(a->epoch, (int64_t)epochs_last(&a->epochs)), p->address);
}

static void
greet(struct probe *p)
{
	struct buf out = {0};
	struct err e;

	if (sock_error(p->fd) != 0 || ha_fill_self(p->h, &e) != RC_OK) {
		end(p);
		return;
	}
	p->h->self.flags = HELLO_PROBE;
	hello_put(&out, &p->h->self);
	p->greeted = true;
	ev_io_stop(p->h->w->loop, &p->io);
	ev_io_set(&p->io, p->fd, EV_READ);
	ev_io_start(p->h->w->loop, &p->io);
	if (send(p->fd, out.p, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
		end(p);
	buf_free(&out);
}

static void
listen_to(struct probe *p)
{
	char *to = buf_room(&p->got, READ_STEP);
	ssize_t n = to != NULL ? read(p->fd, to, READ_STEP) : 0;
	size_t used;
	struct err e;
	enum rc rc;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(p);
		return;
	}
	p->got.len += (size_t)n;
	rc = hello_take(&p->h->other, p->got.p, p->got.len, &used, &e);
	if (rc == RC_AGAIN)
		return;
	if (rc == RC_OK)
		take_answer(p, &p->h->other);
	end(p);
}

static void
ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct probe *p = io->data;

	(void)loop, (void)events;
	if (p->greeted)
		listen_to(p);
	else
		greet(p);
}

static void
ask(struct probe *p)
{
	struct err e;

	if (p->fd >= 0)
		return;
	if (!p->known)
		p->known = addr_parse(p->address, &p->addr, &e) == RC_OK;
	if (!p->known || sock_connect(&p->addr, &p->fd, &e) != RC_OK) {
		p->answered = true;
		return;
	}
	p->since_ms = clock_mono_ms();
	ev_io_set(&p->io, p->fd, EV_WRITE);
	ev_io_start(p->h->w->loop, &p->io);
}

/* From now on sends may be taken. */
static void
note_asked(struct ha *h, int64_t now_ms)
{
	struct shm_line_ha *s = &h->w->shm->ha;
	bool all = true;

	if (atomic_load_explicit(&s->asked, memory_order_relaxed) != 0)
		return;
	for (size_t i = 0; i < h->probe_count; i++)
		all = all && h->probes[i].answered;
	if (!all && now_ms - h->probed_ms < ASK_MS)
		return;
	atomic_store(&s->asked, 1);
	worker_wake(h->w, WORKER_BROKER);
}

void
probes_tick(struct ha *h, int64_t now_ms)
{
	bool due = now_ms - h->probed_ms >= PROBE_MS;

	for (size_t i = 0; i < h->probe_count; i++) {
		struct probe *p = &h->probes[i];

		if (p->fd >= 0 && now_ms - p->since_ms > SILENT_MS)
			end(p);
		if (due)
			ask(p);
	}
	note_asked(h, now_ms);
	if (due)
		h->probed_ms = now_ms;
}

static bool
has_failover(const struct ha *h)
{
	return h->w->cluster != NULL && h->w->cluster->failover != FAILOVER_OFF;
}

void
probes_start(struct ha *h)
{
	const struct broker_spec *b = NULL;

	ensure(h->probes == NULL);
	h->probes = xcalloc(has_failover(h) ? h->w->cluster->broker_count : 1, sizeof(*h->probes));
	h->probed_ms = clock_mono_ms();
	while (has_failover(h) && (b = spec_sibling(h->w->cluster, h->w->node, b)) != NULL) {
		struct probe *p = &h->probes[h->probe_count++];

		*p = (struct probe){.h = h, .fd = -1, .got.limit = 2 * HELLO_MAX};
		spec_ha_address(b, p->address, sizeof(p->address));
		ev_io_init(&p->io, ready, -1, EV_READ);
		p->io.data = p;
		ask(p);
	}
	note_asked(h, h->probed_ms);
}

void
probes_stop(struct ha *h)
{
	for (size_t i = 0; i < h->probe_count; i++) {
		end(&h->probes[i]);
		buf_free(&h->probes[i].got);
	}
	free(h->probes);
	h->probes = NULL;
	h->probe_count = 0;
}

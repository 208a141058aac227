/*
 * ha: replicates the log.
 *
 * Runs in:    the ha process, one per broker node.
 * Owns:       shm ha.*; on a slave the files of the log from `appended` on, and `appended`. Reads: master.role and epoch,
 *             broker.appended and state, flush.flushed, clean.min.
 * Must not:   count a copy that nobody has confirmed, or write the log after it has published a master's role_epoch.
 * If it dies: on a master it is started again alone, slaves connect again; on a slave the node's workers start again
 *             together.
 *
 * A role comes from shared memory at the start and by MASTER_ALL_ROLE later. Slave to master happens here and now; master
 * to slave by a restart.
 */
#include "workers/ha/ha.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "store/paths.h"
#include "workers/ha/ha_int.h"

#define ACCEPTS_A_TURN 16

/* ---- what the parts ask for */

enum rc
ha_fill_self(struct ha *h, struct err *e)
{
	const struct node_shm *shm = h->w->shm;
	struct hello *s = &h->self;

	s->flags = 0;
	s->verdict = VERDICT_NONE;
	s->role = h->role;
	s->broker_id = h->conf->brokerId;
	s->epoch = h->epoch;
	s->max = pos_read(&shm->broker.appended);
	s->min = MIN_OF(pos_read(&shm->clean.min), s->max);
	s->segment_bytes = h->segment_bytes;
	s->start = 0;
	s->tail_at = s->max;
	s->tail_crc = 0;
	snprintf(s->cluster, sizeof(s->cluster), "%s", h->conf->brokerClusterName);
	snprintf(s->name, sizeof(s->name), "%s", h->conf->brokerName);
	s->text[0] = '\0';
	return epochs_load(&s->epochs, h->epochs_file, e);
}

bool
ha_broker_runs(const struct ha *h)
{
	int32_t state = atomic_load(&h->w->shm->broker.state);

	return state == NODE_RUNNING || state == NODE_READONLY;
}

bool
ha_serves(const struct ha *h)
{
	return ha_broker_runs(h) && epochs_last(&h->self.epochs) >= h->epoch;
}

int64_t
ha_beat_ms(const struct ha *h, bool ours)
{
	int64_t ms = MAX_OF(h->conf->haSendHeartbeatInterval, 50);

	return ours ? MIN_OF(ms, (int64_t)HA_BEAT_MS) : ms;
}

void
ha_fence(struct ha *h, int64_t epoch, const char *peer)
{
	struct shm_line_ha *s = &h->w->shm->ha;

	if (h->role == ROLE_SLAVE || epoch <= h->epoch)
		return;
	if (atomic_load(&s->fenced) == 0) {
		pos_publish(&s->fenced_epoch, epoch);
		atomic_store(&s->fenced, 1);
		worker_wake(h->w, WORKER_BROKER);
		worker_event(h->w,
			     "%s says that epoch %" PRId64 " has begun: this node, of epoch %" PRId64
			     ", is no master any more and acknowledges nothing",
			     peer, epoch, h->epoch);
	}
	if (ipc_send(h->w->control_fd, IPC_HA_MASTER_FENCED, epoch, peer) != RC_OK)
		log_debug("the master process was not told of epoch %" PRId64 ", it will be", epoch);
}

/* ---- roles */

static void
begin_master(struct ha *h)
{
	struct shm_line_ha *s = &h->w->shm->ha;

	atomic_store(&s->connected, 0);
	if (h->epoch >= pos_read(&s->fenced_epoch))
		atomic_store(&s->fenced, 0);
	probes_start(h);
	sender_count(h);
}

static void
begin_slave(struct ha *h)
{
	struct shm_line_ha *s = &h->w->shm->ha;

	atomic_store(&s->fenced, 0);
	atomic_store(&s->connected, 0);
	atomic_store(&s->slaves, 0);
	atomic_store(&s->slaves_in_sync, 0);
	atomic_store(&s->needed, 0);
	h->rx = receiver_new(h);
}

static void
begin_role(struct ha *h)
{
	if (h->role == ROLE_SLAVE)
		begin_slave(h);
	else
		begin_master(h);
	pos_publish(&h->w->shm->ha.role_epoch, h->epoch);
	worker_wake(h->w, WORKER_BROKER);
}

/* The log is let go of before role_epoch says so. */
static void
promote(struct ha *h, enum broker_role role, int64_t epoch)
{
	receiver_free(&h->rx);
	h->role = role;
	h->epoch = epoch;
	begin_role(h);
	worker_event(h->w, "master of epoch %" PRId64 " from %" PRId64 " of the log on", epoch,
		     pos_read(&h->w->shm->broker.appended));
}

static void
take_role(struct ha *h, enum broker_role role, int64_t epoch)
{
	if (role == h->role && epoch == h->epoch)
		return;
	if (h->role == ROLE_SLAVE && role != ROLE_SLAVE) {
		promote(h, role, epoch);
		return;
	}
	if (role == ROLE_SLAVE && h->role != ROLE_SLAVE)
		worker_die(h->w, "the node is a slave from epoch %" PRId64 " on: replication starts again as one",
			   epoch);
	h->role = role;
	h->epoch = epoch;
	pos_publish(&h->w->shm->ha.role_epoch, epoch);
	sender_count(h);
}

/* ---- the worker's life */

static void
accept_some(struct ev_loop *loop, ev_io *io, int events)
{
	struct ha *h = io->data;

	(void)loop, (void)events;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage ss;
		socklen_t n = sizeof(ss);
		struct addr a;
		int fd = accept4(io->fd, (struct sockaddr *)&ss, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno != EAGAIN && errno != ECONNABORTED && log_allowed(&h->refused, 3))
				log_warn("accept on the replication port: %s", strerror(errno));
			return;
		}
		addr_from_sockaddr(&a, &ss);
		sender_take(h, fd, &a);
	}
}

static void
on_tick(struct ev_loop *loop, ev_timer *t, int events)
{
	struct ha *h = t->data;
	int64_t now = clock_mono_ms();

	(void)loop, (void)events;
	sender_tick(h, now);
	if (h->rx != NULL)
		receiver_tick(h->rx, now);
	else
		probes_tick(h, now);
}

static void
on_wake(struct worker *w)
{
	struct ha *h = w->state;

	if (h->rx != NULL)
		receiver_flushed(h->rx);
	else
		sender_push_all(h);
}

static void
on_second(struct worker *w)
{
	struct ha *h = w->state;

	sender_second(h);
	if (h->rx != NULL)
		receiver_second(h->rx);
	/* The broker reads it, too, when an operator asks it for its slaves. */
	if (w->page != NULL && (worker_page_wanted(w) || h->peers != NULL || h->rx != NULL))
		ha_page_write(h);
}

static void
on_peer(struct worker *w, enum role from, struct ipc_msg *m)
{
	struct ha *h = w->state;

	ensure(from == WORKER_BROKER && m->type == IPC_BROKER_HA_MASTER);
	snprintf(h->learned, sizeof(h->learned), "%.*s", HA_ADDRESS_MAX - 1, ipc_str(m));
	ipc_end(m);
}

static void
on_master(struct worker *w, struct ipc_msg *m)
{
	int32_t role;
	int64_t epoch;

	if (m->type != IPC_MASTER_ALL_ROLE) {
		log_warn("the master sends %s, which is not for replication", ipc_name(m->type));
		return;
	}
	role = ipc_i32(m);
	epoch = ipc_i64(m);
	ipc_end(m);
	take_role(w->state, (enum broker_role)role, epoch);
}

static void
ha_init(struct ha *h, struct worker *w)
{
	char dir[PATH_MAX];

	*h = (struct ha){.w = w, .conf = &w->node->conf, .segment_bytes = w->node->conf.mappedFileSizeCommitLog};
	h->epoch = pos_read(&w->shm->master.epoch);
	h->role = (enum broker_role)atomic_load(&w->shm->master.role);
	h->flow_ms = clock_mono_ms();
	epochs_path(h->conf, h->epochs_file, sizeof(h->epochs_file));
	paths_log(h->conf, dir, sizeof(dir));
	halog_init(&h->log, dir, h->segment_bytes);
	ev_timer_init(&h->tick, on_tick, HA_TICK_S, HA_TICK_S);
	h->tick.data = h->listener.data = h;
	ev_timer_start(w->loop, &h->tick);
	if (w->listen_fds[0] < 0)
		return;
	ev_io_init(&h->listener, accept_some, w->listen_fds[0], EV_READ);
	h->listener.data = h;
	ev_io_start(w->loop, &h->listener);
}

static void
ha_free(struct ha *h)
{
	sender_close_all(h);
	probes_stop(h);
	receiver_free(&h->rx);
	halog_free(&h->log);
}

int
ha_run(struct worker *w)
{
	struct ha h;
	int status;

	worker_init(w);
	ha_init(&h, w);
	w->state = &h;
	w->on_wake = on_wake;
	w->on_second = on_second;
	w->on_peer = on_peer;
	w->on_master = on_master;
	begin_role(&h);
	worker_ready(w);
	status = worker_loop(w);
	ha_free(&h);
	return status;
}

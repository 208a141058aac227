/*
 * status: the page that all processes of the host can read: who runs here and what happened.
 */
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"

static void
set_i32(shm_i32 *at, int32_t v)
{
	atomic_store_explicit(at, v, memory_order_relaxed);
}

static void
set_i64(shm_i64 *at, int64_t v)
{
	atomic_store_explicit(at, v, memory_order_release);
}

static void
init_worker(struct shm_worker *row, const struct slot *s, int node)
{
	snprintf(row->name, sizeof(row->name), "%s", s->name);
	set_i32(&row->role, s->role);
	set_i32(&row->node, node);
	set_i32(&row->last_exit, -1);
}

void
status_init(struct master *m)
{
	struct host_shm *h = m->host;

	h->magic = SHM_MAGIC;
	h->version = SHM_VERSION;
	h->size = sizeof(*h);
	set_i64(&h->started_ms, clock_wall_ms());
	set_i32(&h->nodes, (int32_t)m->node_count);
	for (size_t i = 0; i < m->slot_count; i++) {
		const struct slot *s = &m->slots[i];

		init_worker(&h->worker[i], s, s->node != NULL ? (int)(s->node - m->nodes) : -1);
	}
	set_i32(&h->workers, (int32_t)m->slot_count);
}

void
status_worker(const struct slot *s)
{
	struct shm_worker *row = &s->m->host->worker[s->index];

	set_i32(&row->pid, (int32_t)s->pid);
	set_i32(&row->state, s->state);
	atomic_store_explicit(&row->restarts, s->restarts, memory_order_relaxed);
	if (s->state == WORKER_STARTING)
		set_i64(&row->started_ms, clock_wall_ms());
}

void
status_death(const struct slot *s, int wait_status, const char *sentence)
{
	struct shm_worker *row = &s->m->host->worker[s->index];

	snprintf(row->last_words, sizeof(row->last_words), "%s", sentence);
	set_i32(&row->last_exit, wait_status);
	set_i64(&row->last_exit_ms, clock_wall_ms());
}

void
status_event(struct master *m, const char *fmt, ...)
{
	uint64_t n = atomic_load_explicit(&m->host->events, memory_order_relaxed);
	struct shm_event *ev = &m->host->event[n % SHM_EVENTS];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ev->text, sizeof(ev->text), fmt, ap);
	va_end(ap);
	set_i64(&ev->ms, clock_wall_ms());
	atomic_store_explicit(&m->host->events, n + 1, memory_order_release);
}

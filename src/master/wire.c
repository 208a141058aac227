/*
 * wire: everything that is made before the first fork and outlives the workers: listening sockets, shared memory, channels
 * and wake-ups.
 *
 * Sockets come first: when one cannot be bound, nothing has been left behind. Channels are kept with both ends by the master,
 * so that a restarted worker goes on with them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/sock.h"
#include "master/takeover.h"

#define TURN_AWAY_MAX 4096
#define PAGE_BYTES (sizeof(struct shm_page) + SHM_PAGE_TEXT)

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- slots and nodes, as the plan has them */

static void
init_node(struct node *n, struct broker_spec *spec)
{
	n->spec = spec;
	n->listen_main = n->listen_vip = n->listen_ha = -1;
	for (int r = 0; r < ROLE_COUNT; r++)
		n->wake_fds[r] = n->channels[r][0] = n->channels[r][1] = -1;
}

static struct slot *
add_slot(struct master *m, enum role role, const char *owner)
{
	struct slot *s = &m->slots[m->slot_count];

	s->m = m;
	s->index = m->slot_count++;
	s->role = role;
	s->control[0] = s->control[1] = -1;
	for (int i = 0; i < WORKER_LISTENERS; i++)
		s->listen_fds[i] = -1;
	if (owner == NULL)
		snprintf(s->name, sizeof(s->name), "%s", role_defs[role].title);
	else if (role_defs[role].per == PER_NS)
		snprintf(s->name, sizeof(s->name), "%.60s", owner);
	else
		snprintf(s->name, sizeof(s->name), "%.48s/%s", owner, role_defs[role].title);
	return s;
}

static void
add_node_slots(struct master *m, struct node *n)
{
	for (int r = 0; r < ROLE_COUNT; r++)
		if (role_defs[r].per == PER_NODE)
			add_slot(m, (enum role)r, n->spec->name)->node = n;
}

static void
count_slots(struct master *m)
{
	struct cluster_spec *s = &m->plan.spec;

	m->nodes = xcalloc(s->broker_count + 1, sizeof(*m->nodes));
	for (size_t i = 0; i < s->broker_count; i++)
		if (s->brokers[i].here)
			init_node(&m->nodes[m->node_count++], &s->brokers[i]);
	m->slots = xcalloc(s->namesrv_count + m->node_count * ROLE_COUNT + 1, sizeof(*m->slots));
	for (size_t i = 0; i < s->namesrv_count; i++)
		if (s->namesrvs[i].here)
			add_slot(m, WORKER_NAMESRV, s->namesrvs[i].name)->ns = &s->namesrvs[i];
	for (size_t i = 0; i < m->node_count; i++)
		add_node_slots(m, &m->nodes[i]);
	if (s->console_listen != NULL)
		add_slot(m, WORKER_CONSOLE, NULL);
}

/* ---- listening sockets */

static enum rc
listen_for(const char *who, const char *ip, int port, int *fd, struct err *e)
{
	enum rc rc = sock_listen(ip, port, fd, e);

	if (rc != RC_OK)
		err_prefix(e, "%s", who);
	return rc;
}

static enum rc
listen_node(struct node *n, struct err *e)
{
	const struct broker_conf *c = &n->spec->conf;
	enum rc rc = listen_for(n->spec->name, c->bindAddress, c->listenPort, &n->listen_main, e);

	if (rc == RC_OK)
		rc = listen_for(n->spec->name, c->bindAddress, c->listenPort - 2, &n->listen_vip, e);
	if (rc == RC_OK)
		rc = listen_for(n->spec->name, c->bindAddress, c->haListenPort, &n->listen_ha, e);
	return rc;
}

static enum rc
listen_console(struct slot *s, struct err *e)
{
	char ip[64];
	int port;

	ensure(plan_split_address(s->m->plan.spec.console_listen, ip, &port) == RC_OK); /* plan.c has refused others */
	return listen_for(s->name, ip, port, &s->listen_fds[0], e);
}

static enum rc
listen_slot(struct slot *s, struct err *e)
{
	switch (s->role) {
	case WORKER_NAMESRV:
		return listen_for(s->name, s->ns->conf.bindAddress, s->ns->conf.listenPort, &s->listen_fds[0], e);
	case WORKER_CONSOLE:
		return listen_console(s, e);
	case WORKER_BROKER:
		s->listen_fds[0] = s->node->listen_main;
		s->listen_fds[1] = s->node->listen_vip;
		return RC_OK;
	case WORKER_HA:
		s->listen_fds[0] = s->node->listen_ha;
		return RC_OK;
	case WORKER_FLUSH:
	case WORKER_CLEAN:
	case WORKER_WARM:
	case ROLE_COUNT:
		break;
	}
	return RC_OK;
}

enum rc
wire_listen(struct master *m, struct err *e)
{
	enum rc rc = RC_OK;

	count_slots(m);
	for (size_t i = 0; i < m->node_count && rc == RC_OK; i++)
		rc = listen_node(&m->nodes[i], e);
	for (size_t i = 0; i < m->slot_count && rc == RC_OK; i++)
		rc = listen_slot(&m->slots[i], e);
	return rc;
}

/* ---- memory, channels, wake-ups */

static enum rc
system_error(const char *what, struct err *e)
{
	int saved = errno;

	err_set(e, "%s: %s", what, strerror(saved));
	errno = saved;
	return RC_IO;
}

static enum rc
make_pair(int fds[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0)
		return RC_OK;
	fds[0] = fds[1] = -1;
	return system_error("a channel between two processes", e);
}

static enum rc
make_channels(struct node *n, struct err *e)
{
	enum rc rc = RC_OK;

	for (int r = 0; r < ROLE_COUNT && rc == RC_OK; r++) {
		if (role_defs[r].per != PER_NODE)
			continue;
		n->wake_fds[r] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (n->wake_fds[r] < 0)
			rc = system_error("a wake-up (eventfd)", e);
		else if (r != WORKER_BROKER)
			rc = make_pair(n->channels[r], e);
	}
	return rc;
}

static enum rc
make_node(struct node *n, struct err *e)
{
	void *at;
	enum rc rc = shm_make(n->spec->name, sizeof(struct node_shm), &at, e);

	if (rc != RC_OK)
		return rc;
	n->shm = at;
	n->shm->magic = SHM_MAGIC;
	n->shm->version = SHM_VERSION;
	n->shm->size = sizeof(struct node_shm);
	snprintf(n->shm->name, sizeof(n->shm->name), "%.60s", n->spec->name);
	return make_channels(n, e);
}

static enum rc
make_slot(struct slot *s, struct err *e)
{
	void *at;
	enum rc rc = shm_make(s->name, PAGE_BYTES, &at, e);

	if (rc != RC_OK)
		return rc;
	s->page = at;
	s->m->pages[s->index] = s->page;
	return make_pair(s->control, e);
}

enum rc
wire_share(struct master *m, struct err *e)
{
	void *at;
	enum rc rc = shm_make("host", sizeof(struct host_shm), &at, e);

	if (rc != RC_OK)
		return rc;
	m->host = at;
	m->node_shms = xcalloc(m->node_count + 1, sizeof(struct node_shm *));
	m->pages = xcalloc(m->slot_count + 1, sizeof(struct shm_page *));
	for (size_t i = 0; i < m->node_count && rc == RC_OK; i++) {
		rc = make_node(&m->nodes[i], e);
		m->node_shms[i] = m->nodes[i].shm;
	}
	for (size_t i = 0; i < m->slot_count && rc == RC_OK; i++)
		rc = make_slot(&m->slots[i], e);
	if (rc == RC_OK)
		status_init(m);
	return rc;
}

/* ---- closing */

static void
unmap(void *at, size_t size)
{
	if (at != NULL)
		munmap(at, size);
}

static void
close_node(struct node *n)
{
	close_fd(&n->listen_main);
	close_fd(&n->listen_vip);
	close_fd(&n->listen_ha);
	for (int r = 0; r < ROLE_COUNT; r++) {
		close_fd(&n->wake_fds[r]);
		close_fd(&n->channels[r][0]);
		close_fd(&n->channels[r][1]);
	}
	unmap(n->shm, sizeof(struct node_shm));
}

static void
close_slot(struct slot *s)
{
	close_fd(&s->control[0]);
	close_fd(&s->control[1]);
	if (s->node == NULL)
		close_fd(&s->listen_fds[0]);
	unmap(s->page, PAGE_BYTES);
}

void
wire_close(struct master *m)
{
	for (size_t i = 0; i < m->slot_count; i++)
		close_slot(&m->slots[i]);
	for (size_t i = 0; i < m->node_count; i++)
		close_node(&m->nodes[i]);
	unmap(m->host, sizeof(struct host_shm));
	free(m->slots);
	free(m->nodes);
	free(m->node_shms);
	free(m->pages);
	m->slots = NULL;
	m->nodes = NULL;
	m->slot_count = m->node_count = 0;
}

void
wire_drain_fd(int fd)
{
	char junk[16];

	while (recv(fd, junk, sizeof(junk), MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
}

static void
turn_away(int fd)
{
	int c;

	for (int n = 0; n < TURN_AWAY_MAX && (c = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; n++)
		close(c);
}

void
wire_turn_away(struct node *n)
{
	turn_away(n->listen_main);
	turn_away(n->listen_vip);
}

/* ---- in a child */

static void
close_listeners(struct slot *s)
{
	for (int i = 0; i < WORKER_LISTENERS; i++)
		close_fd(&s->listen_fds[i]);
}

/* The broker has one end of each of its node's channels, the others the other end of their own. */
static void
keep_own_ends(struct node *n, enum role mine)
{
	for (int r = 0; r < ROLE_COUNT; r++) {
		if (mine != WORKER_BROKER)
			close_fd(&n->channels[r][0]);
		if (mine != (enum role)r)
			close_fd(&n->channels[r][1]);
	}
}

static void
close_foreign_node(struct node *n)
{
	for (int r = 0; r < ROLE_COUNT; r++) {
		close_fd(&n->wake_fds[r]);
		close_fd(&n->channels[r][0]);
		close_fd(&n->channels[r][1]);
	}
}

void
wire_keep_only(struct master *m, const struct slot *mine)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct slot *s = &m->slots[i];

		close_fd(&s->control[0]);
		if (s == mine)
			continue;
		close_fd(&s->control[1]);
		close_listeners(s);
	}
	for (size_t i = 0; i < m->node_count; i++) {
		if (&m->nodes[i] == mine->node)
			keep_own_ends(&m->nodes[i], mine->role);
		else
			close_foreign_node(&m->nodes[i]);
	}
	m->lock_fd = -1; /* stays open, and is not ours to drop: see orphans.h */
	close_fd(&m->pid_fd);
	close_fd(&m->ready_pipe);
	close_fd(&m->signals.fd);
	ctl_close(m);
}

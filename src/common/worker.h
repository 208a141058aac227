/*
 * worker: what every worker process is given by the master, and its common life: loop, control channel, stop.
 */
#ifndef COMMON_WORKER_H
#define COMMON_WORKER_H

#include <ev.h>

#include "common/ipc.h"
#include "common/shm.h"
#include "common/spec.h"

#define WORKER_LISTENERS 4

struct worker {
	enum role	role;
	char		name[SHM_NAME_MAX];	/* as in shm_worker.name */
	const struct cluster_spec *cluster;
	struct broker_spec *node;	/* PER_NODE, else NULL. This process' own copy: LIVE parameters are changed in it */
	struct namesrv_spec *ns;	/* PER_NS, else NULL */
	struct host_shm	*host;
	size_t		index;		/* of this worker in host->worker */
	struct node_shm	*shm;		/* of the node, or NULL */
	struct node_shm	**nodes;	/* all nodes of this host, host->nodes of them, in the order of the spec's `here` ones (console) */
	struct shm_page	*page;		/* this worker's own page */
	struct shm_page	**pages;	/* all workers' pages by their index in host->worker (console) */
	int		control_fd;	/* to the master */
	/* Listening sockets, opened by the master. broker: 0 listenPort, 1 VIP port; ha: 0; namesrv: 0; console: 0. -1: none */
	int		listen_fds[WORKER_LISTENERS];
	/* By enum role: the node's channels between this process and the one of that role (-1: none) and its wake-up eventfd */
	int		peer_fds[ROLE_COUNT];
	int		wake_fds[ROLE_COUNT];
	/* Set by the worker before worker_run. */
	struct ev_loop	*loop;		/* made by worker_init */
	void		*state;
	/* Told to stop: begin to drain; call worker_exit when done. NULL: exit at once. */
	void		(*on_stop)(struct worker *w);
	/* A LIVE parameter was changed in w->node->conf (or ns->conf). May be NULL. */
	void		(*on_param)(struct worker *w, const struct param *p);
	/* Somebody moved a position and woke us. May be NULL. */
	void		(*on_wake)(struct worker *w);
	/* A message from the worker of that role. Fields are to be read, then ipc_end(). May be NULL. */
	void		(*on_peer)(struct worker *w, enum role from, struct ipc_msg *m);
	/* Any other message from the master. May be NULL. */
	void		(*on_master)(struct worker *w, struct ipc_msg *m);
	/* Once a second. May be NULL. */
	void		(*on_second)(struct worker *w);
	/* private to worker.c */
	struct worker_priv *priv;
};

/* Makes the loop, watches control channel, peers and eventfd. Call first in a role's run function. */
void	worker_init(struct worker *w);
/* Serving now: tells the master. */
void	worker_ready(struct worker *w);
/* Runs the loop until worker_exit, or until the master has gone (then on_stop is called). Returns the exit status. */
int	worker_loop(struct worker *w);
void	worker_exit(struct worker *w, int status);
/* Cannot go on: the sentence goes to the log and to the master; exits with status 1. Nothing else is run. */
void	worker_die(struct worker *w, const char *fmt, ...) PRINTF_LIKE(2, 3) NORETURN;
/* A line for the log and for /status (failover, disk full, recovered ...). */
void	worker_event(struct worker *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* True if somebody looked at /status in the last 15 s: then the page is worth writing. */
bool	worker_page_wanted(const struct worker *w);
/* Wakes the node's worker of that role if it sleeps. Cheap when it does not. */
void	worker_wake(struct worker *w, enum role role);
/* Called by loops that sleep on positions, just before they block; returns after arming. worker_loop does it by itself. */

#endif

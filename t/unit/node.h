/*
 * node: a made broker node for tests of the workers beside the broker: a store directory, shared memory, channels and
 * eventfds, and one worker forked on them. The test plays broker and master.
 *
 * Waiting is always for something: node_until looks at a condition, with a deadline that only a broken worker reaches.
 */
#ifndef T_UNIT_NODE_H
#define T_UNIT_NODE_H

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/worker.h"
#include "t/unit/test.h"

#define NODE_DEADLINE_MS 20000

struct node {
	char		dir[64];
	struct broker_spec spec;
	struct node_shm	*shm;
	struct worker	w;		/* as the worker gets it */
	int		control;	/* the master's end */
	int		peer;		/* the broker's end */
	pid_t		pid;
};

static inline void
node_pair(int fds[2])
{
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

static inline void
node_init(struct node *n, enum role role)
{
	int pair[2];
	struct err e;

	memset(n, 0, sizeof(*n));
	snprintf(n->dir, sizeof(n->dir), "%s", "/tmp/test_node.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(n->dir));
	broker_conf_init(&n->spec.conf);
	free(n->spec.conf.storePathRootDir);
	n->spec.conf.storePathRootDir = xstrdup(n->dir);
	n->spec.conf.mappedFileSizeCommitLog = 1 << 20;
	n->spec.dir = n->dir;
	CU_ASSERT_EQUAL_FATAL(shm_make("test", sizeof(*n->shm), (void **)&n->shm, &e), RC_OK);
	n->w.role = role;
	n->w.node = &n->spec;
	n->w.shm = n->shm;
	for (int r = 0; r < ROLE_COUNT; r++) {
		n->w.peer_fds[r] = -1;
		n->w.wake_fds[r] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	for (int i = 0; i < WORKER_LISTENERS; i++)
		n->w.listen_fds[i] = -1;
	node_pair(pair);
	n->control = pair[0];
	n->w.control_fd = pair[1];
	node_pair(pair);
	n->peer = pair[0];
	n->w.peer_fds[WORKER_BROKER] = pair[1];
}

static inline void
node_path(const struct node *n, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", n->dir, name);
}

/* A file of that size below the store; returns its descriptor. */
static inline int
node_file(const struct node *n, const char *name, off_t bytes)
{
	char path[PATH_MAX], dir[PATH_MAX];
	int fd;

	node_path(n, name, path);
	snprintf(dir, sizeof(dir), "%s", path);
	for (char *p = dir + strlen(n->dir) + 1; *p != '\0'; p++)
		if (*p == '/') {
			*p = '\0';
			mkdir(dir, 0700);
			*p = '/';
		}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CU_ASSERT_TRUE_FATAL(fd >= 0 && ftruncate(fd, bytes) == 0);
	return fd;
}

static inline bool
node_has(const struct node *n, const char *name)
{
	char path[PATH_MAX];

	node_path(n, name, path);
	return access(path, F_OK) == 0;
}

/* Forks the worker; of its log lines only errors are shown. */
static inline void
node_start(struct node *n, int (*run)(struct worker *w))
{
	fflush(stdout);
	n->pid = fork();
	CU_ASSERT_TRUE_FATAL(n->pid >= 0);
	if (n->pid == 0) {
		log_level_now = LOG_LV_ERROR;
		_exit(run(&n->w));
	}
}

/* Waits up to the deadline for a message of the worker to the broker or master; others before it are passed over. */
static inline bool
node_message(int fd, enum ipc_type type, struct ipc_msg *m)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, NODE_DEADLINE_MS) == 1) {
		enum rc rc = ipc_recv(fd, m);

		if (rc == RC_OK && m->type == type)
			return true;
		if (rc != RC_OK && rc != RC_AGAIN)
			return false;
	}
	return false;
}

static inline void
node_ready(struct node *n)
{
	struct ipc_msg m;

	CU_ASSERT_TRUE_FATAL(node_message(n->control, IPC_ALL_MASTER_READY, &m));
}

/* As the broker: publishes, and wakes the worker. */
static inline void
node_append(struct node *n, int64_t to, int64_t store_ms)
{
	pos_publish(&n->shm->broker.appended, to);
	pos_publish(&n->shm->broker.appended_store_ms, store_ms);
	wake_send(&n->shm->waiters[n->w.role].w, n->w.wake_fds[n->w.role]);
}

/* Sleeps on the broker's eventfd until *pos has reached `to`. */
static inline bool
node_until_pos(struct node *n, const shm_i64 *pos, int64_t to)
{
	struct pollfd p = {.fd = n->w.wake_fds[WORKER_BROKER], .events = POLLIN};

	for (;;) {
		wake_arm(&n->shm->waiters[WORKER_BROKER].w);
		if (pos_read(pos) >= to)
			return true;
		if (poll(&p, 1, NODE_DEADLINE_MS) != 1)
			return false;
		wake_drain(p.fd);
	}
}

/* For what has no wake-up: looks again and again, giving the processor away. */
#define node_until(cond)                                                                                               \
	do {                                                                                                           \
		int64_t until_ = clock_mono_ms() + NODE_DEADLINE_MS;                                                   \
		while (!(cond) && clock_mono_ms() < until_)                                                            \
			usleep(200);                                                                                   \
		CU_ASSERT(cond);                                                                                       \
	} while (0)

/*
 * Waits for the worker's end: its wait status, or -1 when it does not come; then it is killed.
 * RMQ_FAULTS is read once in a process and inherited by a fork: a test must not pass through a fault point itself before.
 */
static inline int
node_died(struct node *n)
{
	int64_t until = clock_mono_ms() + NODE_DEADLINE_MS;
	int status = -1;

	while (waitpid(n->pid, &status, WNOHANG) == 0 && clock_mono_ms() < until)
		usleep(200);
	if (status == -1) {
		kill(n->pid, SIGKILL);
		waitpid(n->pid, NULL, 0);
	}
	return status;
}

/* Asks the worker to stop; its exit status. */
static inline int
node_stop(struct node *n)
{
	CU_ASSERT_EQUAL(ipc_send(n->control, IPC_MASTER_ALL_STOP), RC_OK);
	return node_died(n);
}

static inline void
node_free(struct node *n)
{
	char cmd[128];

	for (int r = 0; r < ROLE_COUNT; r++)
		close(n->w.wake_fds[r]);
	close(n->control);
	close(n->w.control_fd);
	close(n->peer);
	close(n->w.peer_fds[WORKER_BROKER]);
	munmap(n->shm, sizeof(*n->shm));
	broker_conf_free(&n->spec.conf);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", n->dir);
	CU_ASSERT_EQUAL(system(cmd), 0);
}

#endif

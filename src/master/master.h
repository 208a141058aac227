/*
 * master: the supervisor's state: one slot per worker process of this host, one node per broker of this host.
 *
 * Runs in:    the master (rmqsupervisor).
 * Owns:       listening sockets, shared memory, channels, wake-ups, pid file; host_shm but for wanted_ms; node_shm.master.
 * Must not:   touch log bytes, serve clients, or block.
 * If it dies: the workers see the closed pipe, drain and leave; systemd or init starts it again.
 *
 * The master converges: each turn it starts what should run and does not (monitor.c). Whatever has to happen is written
 * down as a slot's state and done there.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <ev.h>
#include <sys/types.h>

#include "common/role.h"
#include "common/shm.h"
#include "common/worker.h"
#include "master/plan.h"

struct master;
struct takeover;
struct ctl;

/* A broker of this host, its memory and what its workers share. All of it survives the workers. */
struct node {
	struct broker_spec *spec;	/* LIVE parameters are kept up to date in it, for workers that start later */
	struct node_shm	*shm;
	int		 wake_fds[ROLE_COUNT];		/* -1: no such role in a node */
	int		 channels[ROLE_COUNT][2];	/* broker's end, that role's end; -1 */
	int		 listen_main, listen_vip, listen_ha;
	bool		 failed;	/* a sync failed: seen and said; final */
	struct takeover	*takeover;	/* of its brokerName; NULL before takeover_make */
	int		 member;	/* its index there */
	bool		 led;		/* it has served as master of this epoch */
	int64_t		 matched_epoch;	/* a slave: its log was last found to be one with the master's in that epoch; -1 never */
	int64_t		 cut_us;	/* when its group was last started again for a cut */
};

/* One worker: what it is, and how its process is doing. */
struct slot {
	struct master	*m;
	size_t		 index;		/* in host_shm.worker */
	enum role	 role;
	char		 name[SHM_NAME_MAX];
	struct node	*node;		/* NULL if it belongs to none */
	struct namesrv_spec *ns;	/* NULL if it is none */
	struct shm_page	*page;
	int		 control[2];	/* ours, the worker's */
	int		 listen_fds[WORKER_LISTENERS];

	enum worker_state state;
	pid_t		 pid;		/* 0: no process */
	int64_t		 started_us;
	int64_t		 backoff_ms;	/* before the next restart; 0: at once */
	unsigned	 restarts;
	unsigned	 deaths;	/* that we did not want, each soon after the one before */
	bool		 expected;	/* we ended it: its death is no news */
	const char	*why;		/* what we ended it for, or NULL */
	char		 last_words[SHM_TEXT_MAX];
	int64_t		 progress;	/* dispatched position at the last look, while the store recovers */
	ev_timer	 deadline;	/* for READY */
	ev_timer	 restart;	/* runs while in WORKER_BACKOFF */
};

struct master {
	struct plan	 plan;
	const char	*host_option;	/* --host */
	struct host_shm	*host;
	struct node	*nodes;
	size_t		 node_count;
	struct slot	*slots;
	size_t		 slot_count;
	struct node_shm	**node_shms;	/* for the console */
	struct shm_page	**pages;
	struct ev_loop	*loop;
	ev_io		 signals;
	ev_io		*controls;	/* by slot */
	ev_prepare	 turn;		/* converge */
	ev_timer	 second, stop_deadline;
	struct takeover	*takeovers;
	size_t		 takeover_count;
	ev_timer	 look;		/* at what makes no event: heartbeats, positions */
	struct ctl	*ctl;
	int64_t		 begun_us;
	bool		 foreground, said_ready;
	int		 ready_pipe;	/* to the process that waits for -d to succeed; -1 */
	int		 lock_fd, pid_fd;
	bool		 stopping, killing;	/* asked to; no longer waiting */
	int		 stop_phase;
	int64_t		 stop_asked_us;
	int		 status;	/* exit status */
};

/* wire.c: everything that is made before the first fork. RC_IO: sentence in e; all is closed again by master_close. */
enum rc	wire_listen(struct master *m, struct err *e) MUST_CHECK;
enum rc	wire_share(struct master *m, struct err *e) MUST_CHECK;
void	wire_close(struct master *m);
/* Takes out what a dead worker has not read, or what is left in the channels between two of a node. */
void	wire_drain_fd(int fd);
/* Closes the connections that wait for the node's broker, which has no process: who looks for a master is to ask again. */
void	wire_turn_away(struct node *n);
/* In a child: closes what is not this worker's. */
void	wire_keep_only(struct master *m, const struct slot *mine);

/* spawn.c */
enum rc	spawn_slot(struct slot *s, struct err *e) MUST_CHECK;
/* Runs the worker in this process (-r); its exit status. */
int	spawn_here(struct slot *s);

/* monitor.c */
void	monitor_start(struct master *m);
/* Starts what should run and does not. */
void	monitor_converge(struct master *m);
/* After SIGCHLD. */
void	monitor_reap(struct master *m);
void	monitor_ready(struct slot *s);
/* Ends a worker that is not to be trusted or has a part in a group's end. why is said with its death; static text. */
void	monitor_kill(struct slot *s, const char *why);
/* Ends all of the node's workers that start with its broker; they start again together, at once. */
void	monitor_end_group(struct node *n, struct master *m, const char *why);
size_t	monitor_running(const struct master *m);

/* control.c: signals, messages of the workers, stopping. */
void	control_start(struct master *m);
void	control_drain(struct slot *s);
void	control_stop(struct master *m, const char *why);
/* Goes on with the stop when a phase's workers have left. */
void	control_stop_step(struct master *m);

/* reload.c: SIGHUP. */
void	reload_spec(struct master *m);
/* A parameter that a broker was told to change: its siblings and later starts get it, too. */
void	reload_param(struct slot *from, const char *key, const char *value);

/* failed.c: a node whose sync failed. */
void	failed_look(struct master *m);

/* status.c: host_shm. */
void	status_init(struct master *m);
void	status_worker(const struct slot *s);
void	status_death(const struct slot *s, int wait_status, const char *sentence);
void	status_event(struct master *m, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* notify.c: systemd's readiness protocol; nothing happens without NOTIFY_SOCKET. */
void	notify_systemd(const char *state);

/* title.c: what ps shows. */
void	title_init(int argc, char **argv);
void	title_set(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* pidfile.c */
/* RC_BUSY: another instance holds it, the sentence names its pid; RC_IO. */
enum rc	pidfile_take(const char *path, int *fd, struct err *e) MUST_CHECK;
/* The same without taking it; RC_OK if there is no such file. */
enum rc	pidfile_look(const char *path, struct err *e) MUST_CHECK;
/* The pid of who has locked any part of the file; 0: nobody, or no file. */
long	pidfile_holder(const char *path);
void	pidfile_write(int fd);
void	pidfile_drop(const char *path, int *fd);

#endif

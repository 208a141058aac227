/*
 * takeover: the hands of failover: one struct takeover for each brokerName that has a node on this host.
 *
 * Runs in:    the master.
 * Owns:       node_shm.master but `stopping`, host_shm.failover, the state files <dir>/failover/<brokerName>.json.
 * If it dies: a change under way is taken up from the state file: what is in it is what the nodes start as.
 */
#ifndef MASTER_TAKEOVER_H
#define MASTER_TAKEOVER_H

#include "master/failover.h"
#include "master/master.h"

#define TAKEOVER_MEMBERS 32

struct takeover {
	struct failover	 f;
	struct master	*m;
	const char	*name;	/* brokerName */
	char		*path;	/* of its state file */
	size_t		 index;	/* in host_shm.failover */
	int		 n;
	struct broker_spec *specs[TAKEOVER_MEMBERS];
	struct node	*nodes[TAKEOVER_MEMBERS];	/* NULL: on another host */
	struct fo_member facts[TAKEOVER_MEMBERS];	/* as last seen */
	enum broker_role lead;	/* what its master is: ASYNC_MASTER or SYNC_MASTER */
	pid_t		 keeper;	/* writes the state file; 0: none */
	bool		 keep_again;	/* the state has changed since it was forked */
	pid_t		 script;	/* 0: none */
	int		 script_fd;	/* its standard output; -1 */
	char		 answer[64];	/* the first bytes of that */
	size_t		 answer_len;
	int64_t		 promoted_us;	/* when the last FO_PROMOTE was done */
	struct ctl_client *asker;	/* who wants a switch and waits for its end, or NULL */
	int		 wanted;	/* the member that asker wants to be master */
};

/* Reads the state files and sets each node's role, epoch and brokerId. RC_BADDATA, RC_IO: sentence in e. */
enum rc	takeover_make(struct master *m, struct err *e) MUST_CHECK;
void	takeover_free(struct master *m);
/* Begins to look. The loop is there. */
void	takeover_start(struct master *m);
/* Looks, and does what follows; in each turn of the loop, before workers are started. */
void	takeover_turn(struct master *m);
/* The node's group must not be started now. */
bool	takeover_holds(const struct node *n);
/* A child of the master that is no worker has ended. False: it was none of ours. */
bool	takeover_child(struct master *m, pid_t pid, int status);
/* After SIGHUP: the settings of the spec hold from now on. */
void	takeover_reload(struct master *m);
/* An event line about this brokerName, for the log, /status and whoever asked for the change. */
void	takeover_say(struct takeover *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Messages of the workers. */
void	takeover_role_taken(struct slot *broker, int32_t role, int64_t epoch);
void	takeover_cut(struct slot *ha, int64_t position, const char *why);
void	takeover_fenced(struct slot *ha, int64_t epoch, const char *peer);

/* takeover_facts.c */
void	takeover_look(struct takeover *t);
/* A worker of the node that is no master's broker and whose loop does not turn is ended, so that it starts again. */
void	takeover_end_frozen(struct takeover *t);

/* takeover_state.c */
/* RC_NOTFOUND: there is none. RC_BADDATA, RC_IO: sentence in e. */
enum rc	takeover_load(struct takeover *t, struct err *e) MUST_CHECK;
/* Writes it in a process of its own; failover_kept is called when it has ended. */
void	takeover_keep(struct takeover *t);
void	takeover_keeper_ended(struct takeover *t, int status);

/* takeover_script.c */
void	takeover_ask(struct takeover *t, int about);
void	takeover_script_ended(struct takeover *t, int status);
/* Its time is over, or nobody wants to know any more. */
void	takeover_script_stop(struct takeover *t);

/* ctl.c: the Unix socket for `rmqsupervisor --switch`. */
struct ctl_client;
/* A line for the client. */
void	ctl_tell(struct ctl_client *c, const char *line);
/* The last one: RC_OK or not, then it is closed. *c is NULL afterwards. */
void	ctl_end(struct ctl_client **c, bool ok, const char *line);
/* Begins to listen; what is wrong is said in the log: the cluster works without. */
void	ctl_start(struct master *m);
void	ctl_stop(struct master *m);
/* Closes its descriptors only: in a child. */
void	ctl_close(struct master *m);
/* The other side: asks the running supervisor and prints what it says; the exit status. */
int	ctl_switch(const struct plan *p, const char *node, bool unclean);
/* The node of that name is to be master. Messages go to c, which is taken. */
void	takeover_switch(struct master *m, const char *node, bool unclean, struct ctl_client **c);

#endif

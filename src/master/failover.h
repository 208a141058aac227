/*
 * failover: who is master of a brokerName, and when that changes: the decisions alone.
 *
 * It knows no process, file or clock. takeover.c looks (struct fo_member), asks what is to be done (failover_next),
 * does it and reports what came of it. Each change takes the same way, so that there is never a second master:
 *
 *   WATCHING -> [ASKING: the script] or [DRAINING: by hand, the slave catches up] -> FENCING: the old master's
 * processes are ended -> the slave's log is compared with what the old one may have acknowledged -> KEEPING: the new
 * master and its epoch are on disk -> PROMOTING: the slave is told, and answers that it serves as master -> WATCHING,
 * the old one follows.
 *
 * What is refused at the comparison goes back: the old master is started again as it was (REFUSED until it serves).
 */
#ifndef MASTER_FAILOVER_H
#define MASTER_FAILOVER_H

#include "common/base.h"
#include "common/spec.h"

#define FO_TEXT 256

enum fo_health {
	FO_AWAY, /* runs on another host: nothing is known */
	FO_DOWN, /* its broker has no process, or is ending */
	FO_STARTING,
	FO_SERVING,
	FO_FROZEN, /* processes exist, their loops do not turn */
	FO_FAILED  /* a sync failed: final */
};

/* One node of the brokerName, as it was seen just now. */
struct fo_member {
	const char	*name;
	int64_t		 id;	/* the brokerId that the spec gives it */
	enum fo_health	 health;
	bool		 gone;	/* no process of it exists that could acknowledge or write the log */
	unsigned	 deaths;	/* of its processes, each soon after the one before */
	int64_t		 end;	/* of its log */
	int64_t		 acked;	/* a master: it has acknowledged nothing beyond; -1: not known */
	bool		 matched;	/* a slave: its log was found to be that of this epoch's master, as far as it goes */
	int64_t		 epoch;	/* the highest that it knows of */
	int64_t		 silent_ms;	/* a slave: how long it has not heard the master */
	int64_t		 master_end;	/* a slave: its master's end as last told */
};

enum fo_phase { FO_WATCHING, FO_ASKING, FO_DRAINING, FO_FENCING, FO_KEEPING, FO_PROMOTING, FO_REFUSED };
const char	*failover_phase_name(enum fo_phase p);

/* What takeover.c is to do next with failover.member. */
enum fo_act {
	FO_NOTHING,
	FO_ASK,      /* run the script; its answer goes to failover_answered */
	FO_HANDOVER, /* the master takes no more records */
	FO_RESUME,   /* it takes them again */
	FO_FENCE,    /* kill its processes; they are not started until FO_FOLLOW or FO_RELEASE */
	FO_KEEP,     /* write epoch and master to the disk; then failover_kept */
	FO_PROMOTE,  /* it is master from now on: tell it or let it start as such; then failover_promoted */
	FO_FOLLOW,   /* it is a slave from now on, and may start */
	FO_RELEASE   /* it may start as it was */
};

struct fo_settings {
	enum failover_mode mode;
	bool		 unclean;	/* promote what may lack acknowledged records */
	bool		 sync;	/* the master is a SYNC_MASTER */
	uint32_t	 restarts;	/* deaths in a row that are answered by starting again */
	int32_t		 master_timeout_ms;
};

struct failover {
	struct fo_settings set;
	void		 (*say)(void *arg, const char *text);	/* an event line */
	void		*arg;
	/* kept on disk */
	int64_t		 epoch;
	int64_t		 master_id;	/* -1: somewhere else, it is not known which */
	int64_t		 since_ms;	/* wall clock; set by takeover.c */
	char		 why[FO_TEXT];
	/* now */
	enum fo_phase	 phase;
	int		 member;	/* that the act is about */
	int		 old, target;	/* of the change under way; -1 none */
	bool		 by_hand, forced;	/* an operator asked; and takes the loss */
	bool		 returning;	/* target was master before: the promotion of another came to nothing */
	bool		 yielding;	/* the new master is on another host: old only has to follow */
	bool		 answered;	/* the script said promote */
	bool		 served;	/* the master has served since it is master */
	int64_t		 down_since_ms;	/* the master does not serve since then; 0 it does */
	int64_t		 until_ms;	/* the phase's end at the latest */
	int64_t		 ask_after_ms;	/* the script said wait */
	int64_t		 still_end, still_ms;	/* DRAINING: the master's end, and since when it stands still */
	char		 reason[FO_TEXT];	/* of the change under way, or of the refusal */
	char		 why_not[FO_TEXT];	/* why nobody was promoted, as it was last said; "" if all is well */
	struct {
		int act, member;
	} todo[4];
	unsigned	 todo_first, todo_count;
};

/* All in f but set, say, arg and what is kept on disk. */
void	failover_init(struct failover *f);
/* What is to be done now; call again until FO_NOTHING, and whenever something may have changed. m: the n members, in
 * the same order each time. now_ms: a clock that only grows. */
enum fo_act	failover_next(struct failover *f, const struct fo_member *m, int n, int64_t now_ms);

/* Reports. */
void	failover_answered(struct failover *f, bool promote, int64_t now_ms);
void	failover_kept(struct failover *f, int64_t now_ms);
void	failover_promoted(struct failover *f, const struct fo_member *m, int n, int member, int64_t epoch);
/* Somebody has an epoch above ours; peer: the member that it is, -1 not known. */
void	failover_superseded(struct failover *f, const struct fo_member *m, int n, int member, int peer, int64_t epoch,
			 int64_t now_ms);
/* An operator wants `member` to be master. RC_INVAL, RC_BUSY: sentence in e. RC_OK: begun, or it is so already. */
enum rc	failover_switch(struct failover *f, const struct fo_member *m, int n, int member, bool unclean, int64_t now_ms,
			struct err *e) MUST_CHECK;

/* Whether the one that would be promoted now has all that may have been acknowledged; which one it is, -1 none. */
bool	failover_in_sync(struct failover *f, const struct fo_member *m, int n, int *candidate);
/* The member is being fenced, or waits for the end of a change: its group is not started. */
bool	failover_holds(const struct failover *f, int member);
/* The index of the master; -1: it is none of them. */
int	failover_master(const struct failover *f, const struct fo_member *m, int n);

#endif

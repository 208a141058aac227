/*
 * shm_layout: what the processes of one host share. Positions and counters, not messages.
 *
 * Rules: each field has one writer, named beside it; each writer has its own cache lines; positions only grow within an
 * epoch; offsets, never pointers. To change a struct: raise SHM_VERSION. All processes come from one binary, so no reader
 * of an old version exists except across an upgrade, where the master makes new memory anyway.
 */
#ifndef COMMON_SHM_LAYOUT_H
#define COMMON_SHM_LAYOUT_H

#include <stdatomic.h>

#include "common/base.h"

#define SHM_MAGIC	0x524d5153u /* "RMQS" */
#define SHM_VERSION	2
#define SHM_LINE	64
#define SHM_WORKERS_MAX	512
#define SHM_NAME_MAX	64
#define SHM_TEXT_MAX	256

typedef _Atomic int64_t shm_i64;
typedef _Atomic uint64_t shm_u64;
typedef _Atomic int32_t shm_i32;
typedef _Atomic uint32_t shm_u32;

enum node_state {
	NODE_STARTING,
	NODE_RECOVERING,
	NODE_RUNNING,
	NODE_READONLY, /* disk full: writes are refused, reads go on */
	NODE_FAILED,   /* a sync failed: final until restarted */
	NODE_STOPPING
};
const char	*node_state_name(enum node_state s);

/* Sleeping on an eventfd: set armed, look at the positions once more, sleep. The waker writes only if it was armed. */
struct shm_waiter {
	shm_u32	armed;
};

struct shm_line_broker { /* writer: broker (on a slave ha writes appended) */
	_Alignas(SHM_LINE) shm_i64	appended;	/* end of the log; of its last whole record where the role is a master's */
	shm_i64		dispatched;	/* queues and index hold everything below */
	shm_i64		appended_store_ms; /* store time of the last appended record */
	shm_i64		dispatched_store_ms;
	shm_i32		state;		/* enum node_state as the broker sees it */
	shm_i64		connections, producers, consumers, topics, groups;
	shm_i64		started_ms;
	shm_i64		cq_sync_asked, cq_sync_ms; /* see ipc BROKER_FLUSH_QUEUES */
};

struct shm_line_flush { /* writer: flush */
	_Alignas(SHM_LINE) shm_i64	flushed;	/* on stable storage */
	shm_i64		flushed_store_ms;
	shm_u64		syncs, sync_bytes, sync_us, sync_max_us;
	shm_i32		failed_errno;	/* not 0: a sync failed; final */
	shm_i64		life;		/* one more with each start of the process: it knows nothing of what was told to the one before */
};

struct shm_line_ha { /* writer: ha */
	_Alignas(SHM_LINE) shm_i64	replicated;	/* held by as many copies as are needed; never beyond `appended` */
	/*
	 * A master's slaves: those whose first report was a valid one, and those of them that are close enough behind to be waited
	 * for. needed: copies, the master's own included, that SYNC_MASTER asks for now; with enableAutoInSyncReplicas it follows
	 * slaves_in_sync, never below minInSyncReplicas. slaves_in_sync + 1 < needed: nobody waits, SLAVE_NOT_AVAILABLE.
	 */
	shm_i32		slaves, slaves_in_sync, needed;
	/* A slave's view of its master. */
	shm_i32		connected;	/* 1: it sends, and what it sends fits our log */
	shm_i64		master_max;	/* its log's end as it was last told */
	shm_i64		master_seen_ms;	/* monotonic: when the last byte came from it; 0 never */
	shm_i64		written;	/* bytes from `appended` up to here are in the file, but no whole record yet; promotion clears them */
	/* Roles. */
	shm_i32		asked;		/* 1: the other nodes of the name were asked for their epochs, or failover is off: sends may be taken */
	shm_i64		role_epoch;	/* the master.epoch that ha has acted upon: it writes the log only below its own role SLAVE */
	shm_i32		fenced;		/* 1: another node has a higher epoch: nothing may be acknowledged here any more */
	shm_i64		fenced_epoch;	/* which; written before `fenced` */
};

struct shm_line_clean { /* writer: clean */
	_Alignas(SHM_LINE) shm_i64	min;		/* first log byte still on disk */
	shm_i64		prepared;	/* end of the last segment that is ready for the writer */
	shm_i32		disk_full;	/* refuse writes */
	shm_i32		log_disk_permille, queue_disk_permille;
	shm_i64		disk_free_bytes, disk_total_bytes;
	shm_i64		disk_full_in_s;	/* until writes are refused, at the rate of the last minutes; -1 never */
	shm_u64		segments_removed, queues_removed, index_removed;
};

struct shm_line_warm { /* writer: warm */
	_Alignas(SHM_LINE) shm_u64	asked, warmed_bytes, read_us;
};

struct shm_line_master { /* writer: master */
	_Alignas(SHM_LINE) shm_i64	epoch;	/* of the role: grows with each promotion; 0 where failover is off and never was on */
	shm_i32		role;		/* enum broker_role now; written after `epoch`, and may change while workers run */
	shm_i32		stopping;
	/*
	 * 1: the role is about to move to another node: no record may be appended, so that the log's end stands still and the slave
	 * reaches it. Sends are answered with SERVICE_NOT_AVAILABLE. Lasts fractions of a second; back to 0 if it comes to nothing.
	 */
	shm_i32		handover;
	shm_i64		broker_id;	/* the brokerId to register with now: 0 on a master, whatever the spec calls the node */
};

/* Counters of one node: rows of counters.tbl, all written by the broker. */
struct shm_counters {
#define COUNTER(name, metric, type, help) shm_u64 name;
#include "common/counters.tbl"
#undef COUNTER
};

struct node_shm {
	uint32_t	magic, version, size, pad;
	char		name[SHM_NAME_MAX];
	struct shm_line_master	master;
	struct shm_line_broker	broker;
	struct shm_line_flush	flush;
	struct shm_line_ha	ha;
	struct shm_line_clean	clean;
	struct shm_line_warm	warm;
	/* one waiter per process, in lines of their own */
	struct { _Alignas(SHM_LINE) struct shm_waiter w; } waiters[8]; /* by enum role */
	_Alignas(SHM_LINE) struct shm_counters counters;
};
_Static_assert(offsetof(struct node_shm, broker) % SHM_LINE == 0, "own line");

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_READY, WORKER_STOPPING, WORKER_BACKOFF, WORKER_DEAD };
const char	*worker_state_name(enum worker_state s);

/* One line per worker of this host; writer: master. */
struct shm_worker {
	char		name[SHM_NAME_MAX];	/* "broker-a/flush", "namesrv-9876", "console" */
	shm_i32		role;			/* enum role */
	shm_i32		node;			/* index of the node, or -1 */
	shm_i32		pid, state;
	shm_u32		restarts;
	shm_i64		started_ms;
	shm_i32		last_exit;		/* wait status of the last death; -1 none */
	shm_i64		last_exit_ms;
	char		last_words[SHM_TEXT_MAX]; /* the sentence in the log for it; written before last_exit_ms */
};

/* What happened last, for the operator: event n is in [n % SHM_EVENTS], written before `events` counts it. */
#define SHM_EVENTS 64
struct shm_event {
	shm_i64		ms;
	char		text[SHM_TEXT_MAX];
};

/* A worker's loop turns: the time at which it last did, written every SHM_BEAT_MS. One line each, for its writer: that worker. */
#define SHM_BEAT_MS 200
struct shm_beat {
	_Alignas(SHM_LINE) shm_i64	mono_ms;	/* 0: not yet in this life (the master clears it before the start) */
};

/* Who is master of a brokerName, as this host knows it. Writer: master; changes is raised after the rest. */
#define SHM_FAILOVERS_MAX 64
struct shm_failover {
	char		broker_name[SHM_NAME_MAX];
	char		master[SHM_NAME_MAX];	/* the node; "" unknown, or on another host */
	char		phase[32];		/* "watching", "fencing", ...: see failover.h */
	char		why[SHM_TEXT_MAX];	/* of the last change, or of what keeps one from being made */
	shm_i32		mode;			/* enum failover_mode */
	shm_i64		epoch, since_ms;
	shm_u64		changes;
};

struct host_shm {
	uint32_t	magic, version, size, pad;
	shm_i64		started_ms;		/* writer: master */
	shm_i32		workers, nodes;		/* writer: master */
	shm_i32		failovers;		/* writer: master */
	shm_u64		events;			/* writer: master */
	struct shm_event event[SHM_EVENTS];
	_Alignas(SHM_LINE) shm_i64 wanted_ms;	/* writer: console: somebody asked for /status then */
	struct shm_worker worker[SHM_WORKERS_MAX];
	struct shm_beat	beat[SHM_WORKERS_MAX];	/* by the same index */
	struct shm_failover failover[SHM_FAILOVERS_MAX];
};

/*
 * A page of JSON text that one worker writes (once a second while host_shm.wanted_ms is less than 15 s old) and the console
 * reads. seq is odd while it is written. The memory is sparse: what is not used does not exist.
 */
#define SHM_PAGE_TEXT	(8u << 20)
struct shm_page {
	shm_u32		seq;
	shm_u32		len;
	shm_i64		written_ms;
	char		text[];
};

#endif

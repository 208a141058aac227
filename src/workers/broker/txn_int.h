/*
 * txn_int: the parts of transactions to each other. Inside of txn*.c and req_txn.c only.
 */
#ifndef BROKER_TXN_INT_H
#define BROKER_TXN_INT_H

#include "workers/broker/table.h"
#include "workers/broker/txn.h"
#include "workers/broker/txn_window.h"

#define TXN_GROUP	   "CID_RMQ_SYS_TRANS"
#define TXN_GIVEN_UP_TOPIC "TRANS_CHECK_MAX_TIME_TOPIC"

#define PROP_GROUP	 "PGROUP"
#define PROP_REAL_TOPIC	 "REAL_TOPIC"
#define PROP_REAL_QUEUE	 "REAL_QID"
#define PROP_CHECKS	 "TRANSACTION_CHECK_TIMES"
#define PROP_FIRST	 "TRAN_PREPARED_QUEUE_OFFSET"
#define PROP_IMMUNITY	 "CHECK_IMMUNITY_TIME_IN_SECONDS"

enum settle_kind {
	SETTLE_COMMIT,
	SETTLE_ROLLBACK,
	SETTLE_CHECKED,		/* a newer copy stands behind it */
	SETTLE_MOVED,		/* the same, but nobody was asked */
	SETTLE_GIVEN_UP,	/* checked too often or too old: it stands in TXN_GIVEN_UP_TOPIC */
	SETTLE_BAD		/* it cannot be read */
};

/* One half message on its way to being settled: from the request, or the check, until its op message is safe. */
struct settle {
	struct settle	*next;
	struct txn	*txn;
	enum settle_kind kind;
	int64_t		 named;		/* half queue offset that the request named */
	int64_t		 newest;	/* that of its newest copy: `named`, unless it was copied */
	int64_t		 first;		/* what it had when it was sent */
	struct conn	*conn;		/* a reference; NULL: nobody waits for an answer */
	struct request_id id;
	bool		 stored;	/* its copy is */
	bool		 failed;	/* its copy was not stored: there is nothing to settle */
};

/* An op message that is on its way. */
struct op {
	struct op	*next;
	struct txn	*txn;
	struct settle	*settles;
	int64_t		 highest;
};

/* An undecided one that was copied. */
struct copied {
	int64_t		 first, newest;
	UT_hash_handle	 hh;
};

enum txn_phase {
	TXN_OFF,		/* not a master */
	TXN_READ_OPS,		/* after the start: which ones are settled */
	TXN_READ_HALVES,	/* after the start: which ones are copies */
	TXN_READ_TAIL,		/* after the start: which ones were committed by a turn that a kill has cut */
	TXN_IDLE,
	TXN_CHECK
};

struct txn_metrics;

struct txn {
	struct broker	*b;
	struct txn_window w;
	enum txn_phase	 phase;
	bool		 waits;		/* for warm to read a record */
	bool		 warmed;	/* it has: the next one is read as it is */
	int64_t		 at;		/* the phase's place in its queue */
	int64_t		 read_until;	/* log position that must be dispatched before the first phases end */
	int64_t		 began_ms;	/* wall time when this check began */
	int64_t		 last_check_ms;	/* monotonic */
	struct settle	*pending, **pending_end; /* their op message is not staged yet */
	bool		 ops_due;
	struct op	*flying, **flying_end;
	struct copied	*copied;
	struct txn_metrics *metrics;
	struct end	*parked, **parked_end; /* requests that came before the first phases were over */
	size_t		 parked_count;
	unsigned	 turns;		/* whose turn it is to be asked */
	struct buf	 text;		/* of the record being made */
};

/* A request to end a transaction, while it waits: for warm, or for the first phases. */
struct end {
	struct end	*next;
	struct broker	*b;
	struct conn	*conn;		/* a reference */
	struct request_id id;
	char		*group;
	int64_t		 half, physical; /* places of the half message: in its queue, in the log */
	int32_t		 what;		/* MSG_SYS_TRAN_COMMIT or MSG_SYS_TRAN_ROLLBACK */
	bool		 from_check, warmed;
};

/* txn.c */
struct copied *txn_copied(struct txn *t, int64_t first);
void	txn_note_copy(struct txn *t, int64_t first, int64_t newest);
void	txn_forget_copy(struct txn *t, int64_t first);
/* The half message's own idea of its first offset; its place in the queue if it has none. */
int64_t	txn_first_offset(const struct message *half);
/* The record at that place, if it is a half message. RC_NOTFOUND: it is not. */
enum rc	txn_half_at(struct txn *t, int64_t physical, struct message *half) MUST_CHECK;

/* txn_settle.c */
struct settle *settle_new(struct txn *t, enum settle_kind kind, int64_t named, int64_t newest, int64_t first);
/* Who is to be answered. */
void	settle_for(struct settle *s, struct conn *c, const struct request_id *id);
/* Stages m, and when it is stored the settle goes on. Other than RC_OK: nothing happened, the settle is still the caller's. */
enum rc	settle_append(struct settle **s, struct message *m) MUST_CHECK;
/* Without a copy. */
void	settle_begin(struct settle **s);
void	settle_free(struct settle **s);
void	settle_put_ops(struct txn *t);
/* No half message from there on is known to be settled for good: what is on its way may fail. */
int64_t	settle_lowest_flying(const struct txn *t);
void	settles_free(struct txn *t);

/* txn_tail.c */
void	txn_begin_tail(struct txn *t);
/* One bounded step. True: more is to be done at once. *over: all is read. */
bool	txn_read_tail(struct txn *t, bool *over);

/* txn_metrics.c */
struct txn_metrics *txn_metrics_new(struct broker *b);
void	txn_metrics_load(struct txn_metrics *m);
void	txn_metrics_free(struct txn_metrics **m);
void	txn_metrics_add(struct txn_metrics *m, struct slice topic, int n);

/* req_txn.c */
/* The first phases are over. */
void	ends_run_parked(struct txn *t);
void	ends_free(struct txn *t);

/* txn_check.c */
/* One bounded step. True: more is to be done at once. */
bool	txn_step(struct txn *t);
void	txn_begin_reading(struct txn *t);
void	txn_begin_check(struct txn *t);
void	txn_warm_has_read(void *arg, int error); /* cold_done of a txn that waits */
/* Code 39 for the half message whose record stands there. */
void	txn_ask(struct txn *t, int64_t physical);
/* From its birth on it is not asked for so long. */
int64_t	txn_immunity_ms(const struct txn *t, const struct message *half);
/* The properties of a copy that says that it was checked so often: into t->text. */
void	txn_copy_props(struct txn *t, const struct message *half, int64_t checks);

#endif

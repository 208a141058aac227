/*
 * txn: transactional messages.
 *
 * A half message is an ordinary message of RMQ_SYS_TRANS_HALF_TOPIC, which nobody consumes. Code 37 settles it: a commit appends a copy
 * to its real topic and queue, and commit and rollback alike append its offset to RMQ_SYS_TRANS_OP_HALF_TOPIC (an op message). Both go
 * into the log with one write, the op message behind the copy: a crash leaves both, or the copy alone, or none. What has
 * no op message is undecided: it is asked for, by code 39 to its producers, after transactionTimeOut.
 *
 * Each time it is asked for it is copied to the end of the half queue, as the original does, with one more in
 * TRANSACTION_CHECK_TIMES; the old one gets its op message at once. TRAN_PREPARED_QUEUE_OFFSET says which offset it had first, so an
 * end that names the old one settles the newest copy.
 */
#ifndef BROKER_TXN_H
#define BROKER_TXN_H

#include "workers/broker/append.h"

#define TXN_HALF_TOPIC "RMQ_SYS_TRANS_HALF_TOPIC"
#define TXN_OP_TOPIC   "RMQ_SYS_TRANS_OP_HALF_TOPIC"

struct txn;

struct txn	*txn_new(struct broker *b);
void		 txn_free(struct txn **t);
/* Store and offsets are there. */
void		 txn_start(struct txn *t);
/* Makes m a half message. The properties that this adds go to the end of out, which may hold others of m. */
void		 txn_make_half(struct message *m, struct slice unique_key, struct buf *out);
/* One was staged that is for that topic. */
void		 txn_opened(struct txn *t, struct slice real_topic);
/* Before the turn's commit: the op messages of what was settled in this turn, and a step of the check. True: more is to be done at once. */
bool		 txn_turn(struct txn *t);
void		 txn_second(struct txn *t);
/* At a clean stop, before the offsets are saved. */
void		 txn_note_progress(struct txn *t);

/* Is it known which transactions were committed before the start? Until then the log's tail is needed. */
bool		 txn_knows(const struct txn *t);

struct txn_state {
	int64_t		undecided;
	int64_t		oldest_ms;	/* when the first undecided one in the half queue was born; -1: none, or not known now */
};
void		 txn_state(struct txn *t, struct txn_state *s);

#endif

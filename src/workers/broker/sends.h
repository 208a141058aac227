/*
 * sends: the sends of one turn, between store_stage and the answer.
 *
 * Each staged message leaves a line in a flat array. sends_commit writes them all with one store_commit; then each is answered, or
 * moves to `waiters` when its acknowledgement waits for flush or ha; or all are refused when the commit failed.
 */
#ifndef BROKER_SENDS_H
#define BROKER_SENDS_H

#include "workers/broker/append.h"
#include "workers/broker/topics.h"

struct reply; /* req_reply: a reply message that is stored and pushed */

struct pending {
	struct conn	*conn;		/* lives until the turn's end */
	struct request_id id;
	struct slice	 uniq_key;	/* in the frame or the turn's arena */
	struct slice	 recall;	/* handle of a timer message, likewise; else SLICE_NONE */
	struct topic	*topic;		/* NULL: not counted */
	int32_t		 queue_id;
	bool		 no_wait;
	bool		 internal;	/* the broker's own: `to` is told, nobody is answered */
	unsigned	 count;		/* messages: 1, or those of a batch */
	uint32_t	 bytes;
	int64_t		 queue_offset, physical, end;
	struct store_put_result *batch;	/* count results, in the turn's arena; NULL: a single message */
	struct reply	*reply;		/* told instead of an answer; NULL: a send */
	struct append_to to;
};

struct sends	*sends_new(struct broker *b);
void		 sends_free(struct sends **s);
/*
 * Stages m; on RC_OK *p is a new line with the places filled in, and the caller fills the rest. When the turn's buffer is
 * full it commits and stages again. Results as store_stage, never RC_AGAIN.
 */
enum rc		 sends_stage(struct sends *s, struct message *m, struct pending **p) MUST_CHECK;
enum rc		 sends_stage_batch(struct sends *s, struct message *m, size_t n, struct pending **p) MUST_CHECK;
/* Pieces that live until the end of the turn. */
struct arena	*sends_arena(struct sends *s);
struct buf	*sends_scratch(struct sends *s); /* emptied; for one message */
/* Commits what is staged and answers it. Whoever is told of a message of its own may stage more: see sends_staged. */
void		 sends_commit(struct sends *s);
bool		 sends_staged(const struct sends *s);
/* After the turn's output was flushed: the frames are gone. */
void		 sends_turn_over(struct sends *s);

/* One whole answer of a stored message; ids: text of msgId. */
struct sent {
	struct slice	msg_id, transaction_id, recall;
	int32_t		queue_id;
	int64_t		queue_offset;
};
void	sent_answer(struct broker *b, struct conn *c, const struct request_id *id, int code, const struct sent *sent);
/* msgId of one message, or of all of a batch joined by commas, into out. */
void	sent_put_ids(struct broker *b, const struct pending *p, struct buf *out);

#endif

/*
 * answer: answers with header fields; those without are conn_answer and conn_answer_body.
 *
 *	if (answer_begin(&f, c, &id, RES_SUCCESS)) {
 *		frame_field_i64(&f, "offset", offset);
 *		answer_end(&f, c);
 *	}
 */
#ifndef BROKER_ANSWER_H
#define BROKER_ANSWER_H

#include "remoting/conn.h"

/* False: nobody waits for one. */
static inline bool
answer_begin(struct frame_out *f, struct conn *c, const struct request_id *id, int code)
{
	if (id->oneway || c->closed)
		return false;
	frame_begin_response(f, &c->out, id, code);
	return true;
}

static inline void
answer_end(struct frame_out *f, struct conn *c)
{
	frame_end(f, 0);
	conn_kick(c);
}

/* A body that was built in a buf, which is freed. One that grew beyond its limit is an error of ours to the peer. */
static inline void
answer_buf(struct conn *c, const struct request_id *id, struct buf *body)
{
	if (body->failed)
		conn_answer(c, id, RES_SYSTEM_ERROR, "the answer is larger than this broker can send");
	else
		conn_answer_body(c, id, RES_SUCCESS, buf_slice(body));
	buf_free(body);
}

#endif

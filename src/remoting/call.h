/*
 * call: requests of ours and the answers to them, on connections opened by us or by the peer.
 */
#ifndef REMOTING_CALL_H
#define REMOTING_CALL_H

#include "remoting/conn.h"

/* Called once: cmd is the answer, or NULL with a sentence why there is none (timed out, connection closed). */
typedef void call_done(void *arg, struct command *cmd, const char *why);

/* One table of open calls per process. */
struct calls;
struct calls	*calls_new(struct ev_loop *loop);
void		 calls_free(struct calls **c);

/*
 * Begins a request on c: put remark, fields with frame_*, then call_end, which takes the body and sends it all. done may
 * be NULL: one-way. The codec is JSON. Nothing else may be put into c->out in between.
 */
struct call_out {
	struct frame_out f;
	struct conn	*conn;
	struct calls	*calls;
	call_done	*done;
	void		*arg;
	int64_t		 timeout_ms;
	int32_t		 opaque;
};
void	call_begin(struct call_out *o, struct calls *cs, struct conn *c, int code, int64_t timeout_ms, call_done *done,
	    void *arg);
void	call_end(struct call_out *o, struct slice body);
/* From on_command: an answer. True: it belonged to a call, which is done now. */
bool	call_answered(struct calls *cs, struct conn *c, struct command *cmd);
/* From on_close: the calls of this connection end now. */
void	call_conn_closed(struct calls *cs, struct conn *c, const char *why);

#endif

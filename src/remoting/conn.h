/*
 * conn: one TCP connection that carries frames both ways, accepted or opened by us.
 *
 * In:  one read(2) of as much as the socket has; the frames are walked in place and given to on_command one by one. A
 *      frame and its slices are valid until the end of the loop turn.
 * Out: answers are put into `out`; bytes of the log are sent by reference. Everything goes out with one writev at the
 *      end of the turn (conn_set_flush); what the socket does not take by then is copied and waits for it. Over the
 *      high mark the connection is not read any more, until its output is below the low mark; a peer that takes nothing
 *      for CONN_STALL_MS is closed.
 * End: conn_close is the one way. on_close is called once, from conn_set_flush; the memory goes when the last reference
 *      does.
 */
#ifndef REMOTING_CONN_H
#define REMOTING_CONN_H

#include <ev.h>

#include "common/sock.h"
#include "remoting/command.h"

#define CONN_IDLE_MS	120000	/* no traffic in either direction; the original's */
#define CONN_STALL_MS	30000	/* a peer that takes none of our bytes */
#define CONN_PARTIAL_MS	30000	/* a frame that does not become whole; longer for large ones, see conn_in.c */
#define CONN_CONNECT_MS	5000	/* a connect of ours that is not answered */
#define CONN_PARTIAL_TOTAL ((size_t)512 << 20)
#define CONN_OUT_HIGH	(4u << 20)
#define CONN_OUT_LOW	(1u << 20)

struct conn;
struct conn_set;

struct conn_ops {
	/* A request, or a response that no call waits for. The command lives until the end of the turn. */
	void	(*on_command)(struct conn *c, struct command *cmd);
	/* The connection was accepted, or our connect succeeded. May be NULL. */
	void	(*on_open)(struct conn *c);
	/* It has gone; `why` is a sentence. Drop what refers to it. May be NULL. */
	void	(*on_close)(struct conn *c, const char *why);
};

/* All connections of a process (or of one listener). */
struct conn_set {
	struct ev_loop		*loop;
	const struct conn_ops	*ops;
	void			*owner;		/* the worker's own struct */
	size_t			 count, limit;	/* limit: further connections are accepted and closed with a log line */
	int64_t			 idle_ms;	/* CONN_IDLE_MS; 0: never */
	size_t			 partial_limit;	/* bytes of unfinished frames of all together; over it the largest goes */
	uint64_t		 accepted, bytes_in, bytes_out, bad_frames;
	struct conn_set_priv	*priv;
};

void	conn_set_init(struct conn_set *s, struct ev_loop *loop, const struct conn_ops *ops, void *owner);
/* Closes all and frees. */
void	conn_set_free(struct conn_set *s);
/* Accepts on fd (opened by the master; not closed). tag is kept in each connection (which listener it came by). */
void	conn_set_listen(struct conn_set *s, int fd, int tag);
void	conn_set_stop_listening(struct conn_set *s);
/* Sends what this turn put out; frees what has gone. The worker calls it at the end of its turn (from ev_prepare). */
void	conn_set_flush(struct conn_set *s);
/* Calls each open connection. */
void	conn_set_each(struct conn_set *s, void (*each)(struct conn *c, void *arg), void *arg);

struct conn {
	struct conn_set	*set;
	uint64_t	 id;		/* never used twice in a process */
	int		 tag;
	bool		 outgoing;
	bool		 closed;
	struct addr	 peer;
	char		 peer_text[ADDR_TEXT];	/* "127.0.0.1:46534" */
	struct buf	 out;		/* put answers here, then conn_kick() */
	void		*user;		/* the worker's */
	struct conn_priv *priv;
};

void	conn_ref(struct conn *c);
void	conn_unref(struct conn **c);	/* sets it to NULL */
/* Output was put into c->out: send it at the end of the turn. */
void	conn_kick(struct conn *c);
/*
 * Bytes behind what is in c->out now, sent without a copy if the socket takes them this turn. p must stay valid to its
 * end.
 */
void	conn_put_ref(struct conn *c, const void *p, size_t n);
/* How many bytes wait to be sent. */
size_t	conn_out_pending(const struct conn *c);
/* Stop or go on reading requests of this connection (a bound elsewhere is full). */
void	conn_pause(struct conn *c, bool paused);
/*
 * The one way to end it. Output of this turn is still tried. The reason goes to on_close, and to the log at debug level.
 */
void	conn_close(struct conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* As conn_close, for what the peer did wrong: counted and logged (limited) with its address. */
void	conn_bad(struct conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Opens one; on_open or on_close follows. The caller gets a reference. RC_IO: not even started, sentence in e. */
enum rc	conn_open(struct conn_set *s, const struct addr *a, struct conn **out, struct err *e) MUST_CHECK;

/*
 * Whole answers in one call. The remark may be NULL; body SLICE_NONE. Nothing is sent for a one-way request or a closed
 * connection.
 */
void	conn_answer(struct conn *c, const struct request_id *id, int code, const char *remark_fmt, ...) PRINTF_LIKE(4, 5);
void	conn_answer_body(struct conn *c, const struct request_id *id, int code, struct slice body);

#endif

/*
 * conn_priv: what conn.c (life), conn_in.c (reading) and conn_out.c (writing) share. Nobody else includes it.
 */
#ifndef REMOTING_CONN_PRIV_H
#define REMOTING_CONN_PRIV_H

#include "remoting/conn.h"

/* Why a connection is not read at the moment; reading goes on when no bit is left. */
#define PAUSE_USER	1 /* conn_pause */
#define PAUSE_OUT	2 /* output over the high mark */
#define PAUSE_CONNECT	4 /* our connect is not done */

/* Bytes of somebody else, to be sent when `at` bytes of conn.out have been. */
struct out_ref {
	size_t		 at;
	const char	*p;
	size_t		 n;
};

/* Lists a connection hangs on; each holds a reference. The first two are walked at the end of the turn. */
enum conn_list {
	LIST_KICKED,	/* has output */
	LIST_CLOSING,
	LIST_RESUMED,	/* read again after a pause, with frames left from before it: handled in the next turn */
	CONN_LISTS
};

struct conn_priv {
	ev_io		 read_io, write_io;
	struct conn	*prev, *next;		/* all of the set that have not been freed */
	struct conn	*listed[CONN_LISTS];	/* next in that list */
	bool		 in_list[CONN_LISTS];
	bool		 write_blocked;		/* the socket took less than we had: write_io runs */
	bool		 seen_frame;		/* one whole frame at least came in */
	bool		 gone;			/* on_close was called; somebody still holds a reference */
	uint8_t		 paused;		/* PAUSE_* */
	int		 fd;
	unsigned	 refs;
	int64_t		 last_ms;		/* traffic in either direction */
	int64_t		 progress_ms;		/* write_blocked: when the peer last took bytes */
	int64_t		 partial_ms;		/* when the unfinished frame began to come in */
	char		*tail;			/* begin of an unfinished frame, or whole ones that a pause left */
	size_t		 tail_len, tail_cap;
	size_t		 out_sent;		/* bytes of conn.out that have gone already */
	struct out_ref	*out_refs;
	unsigned	 ref_count, ref_cap;
	size_t		 ref_bytes;
	char		*why;			/* the reason, from conn_close to on_close */
};

struct conn_full {
	struct conn		c;
	struct conn_priv	p;
};

/* Memory that lives to the end of the turn: what was read, and the commands. */
struct turn_chunk {
	struct turn_chunk	*next;
	size_t			 used, size;
	char			 p[];
};

struct listener {
	struct listener	*next;
	struct conn_set	*set;
	ev_io		 io;
	int		 fd, tag;
	bool		 paused;	/* no file descriptors left: tried again by the sweep */
};

#define OUT_POOL 16

struct conn_set_priv {
	struct conn		*first;		/* all, `gone` ones too */
	struct conn		*lists[CONN_LISTS];
	struct conn		*dead;		/* no reference left: freed at the turn's end */
	struct listener		*listeners;
	ev_timer		 sweep, resume;
	int64_t			 now_ms;	/* of this turn; 0: not asked yet */
	size_t			 turn_bytes;	/* read in this turn */
	size_t			 partial_bytes;	/* of all tails */
	struct turn_chunk	*chunks;	/* in use, the current one first */
	struct turn_chunk	*spare;
	size_t			 spare_count;
	char			**spent;	/* tails whose frames are in use until the turn's end */
	size_t			 spent_count, spent_cap;
	struct buf		 out_pool[OUT_POOL];
	unsigned		 out_pooled;
};

int64_t	conn_turn_ms(struct conn_set *s);
void	conn_list_add(struct conn *c, enum conn_list which);
/* What the timer does each second: idle, stalled and slow connections, paused listeners. */
void	conn_set_sweep(struct conn_set *s);
/* Starts or stops read_io by `paused`. */
void	conn_set_paused(struct conn *c, uint8_t why, bool on);

/* conn_in.c */
void	conn_in_readable(struct conn *c);
void	conn_in_resume(struct conn *c);	/* handles the frames that a pause left */
void	conn_in_free(struct conn *c);
void	conn_in_turn_end(struct conn_set *s);
void	conn_in_set_free(struct conn_set *s);
/* True: an unfinished frame has had its time. */
bool	conn_in_overdue(const struct conn *c, int64_t now_ms);

/* conn_out.c */
void	conn_out_prepare(struct conn *c);	/* a buffer of the pool before answers are put */
void	conn_out_flush(struct conn *c);
void	conn_out_writable(struct conn *c);
void	conn_out_free(struct conn *c);
void	conn_out_set_free(struct conn_set *s);

#endif

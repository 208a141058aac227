/*
 * timer_mark: which timer messages have been delivered: config/timercheck, and what the log says beyond it.
 *
 * Delivered copies say in the record which place of the timer queue they are from, as those of delay levels do. The file says
 * up to which due time all was delivered, and the end of the log at that moment; so after a crash the copies that were appended later are
 * found by walking the log from there, and what still waits by reading the timer queue from the lowest place that did. The file
 * is only written when the log is flushed up to its end: it never knows of a copy that a power failure can take away.
 *
 * The first 56 bytes are the original's own, so that it can take the store over: it reads the timer queue again from the lowest
 * place that waits. Ours stand behind them in the page that the file has, with a checksum over all; without it (the
 * original has written since) its position counts: what it had read by then, and was due, is delivered.
 *
 * What is promised: with a file that this broker wrote, a timer message is delivered exactly once, whatever is killed and
 * whenever. With one of the original, what it delivered after its last write is delivered again.
 */
#ifndef BROKER_TIMER_MARK_H
#define BROKER_TIMER_MARK_H

#include "workers/broker/broker.h"

#define TIMER_TOPIC	 "rmq_sys_wheel_timer"
#define TIMER_ASIDE_MAX	 256	/* messages that may wait for warm while later ones are delivered */
#define TIMER_CHECK_BODY 56	/* bytes that the original knows */

/* All that stands in the queue below read_to and was due at (done_ms, done_at) or before has been delivered, but for those excepted. */
struct timer_place {
	int64_t	read_to, low;	/* queue offsets; nothing below low waits */
	int64_t	done_ms, done_at;
	int64_t	log_end;
	bool	left;		/* a timer log is left (timer_log.h): the original goes on behind read_to, and looks from read_ms on */
	int64_t	read_ms;
	int64_t	except[TIMER_ASIDE_MAX];
	unsigned excepted;
};

struct timer_mark;

struct timer_mark	*timer_mark_new(struct broker *b);
/* RC_IO: the file is there and cannot be read, sentence in e. */
enum rc			 timer_mark_load(struct timer_mark *m, struct err *e) MUST_CHECK;
void			 timer_mark_free(struct timer_mark **m);
/* What the file said, or what follows from there being none. */
const struct timer_place *timer_mark_place(const struct timer_mark *m);
/* Walks over at most so many records of the log's tail. False: all is known. */
bool			 timer_mark_scan(struct timer_mark *m, unsigned max);
/* Was this one, which is read at the start, delivered in an earlier life? out_ms: its TIMER_OUT_MS. */
bool			 timer_mark_delivered(const struct timer_mark *m, int64_t at, int64_t due_ms, int64_t out_ms);
/* That is not asked any more: all that was there at the start has been read. */
void			 timer_mark_settle(struct timer_mark *m);

/* Once a second. True: a place is wanted, if there is one now. */
bool			 timer_mark_second(struct timer_mark *m);
/* p->log_end is filled in. It is written when the log is flushed that far. */
void			 timer_mark_take(struct timer_mark *m, const struct timer_place *p);
/* Is a place on the disk that was taken since the start? One that is to be written is written now. */
bool			 timer_mark_on_disk(struct timer_mark *m);
/* Now, for the end; the log is or will be synced as it is. RC_FULL, RC_IO. */
enum rc			 timer_mark_save(struct timer_mark *m, const struct timer_place *p, struct err *e) MUST_CHECK;
/* Body of code 60, and the whole page for a slave of ours. */
void			 timer_mark_put_body(const struct timer_mark *m, struct buf *out);
void			 timer_mark_put_page(const struct timer_mark *m, struct buf *out);
/*
 * A slave takes over either of them and keeps it in its file; false: it is no such thing. timer_mark_begin when it becomes the
 * master itself: the walk over the log's tail starts by the place that was named last.
 */
bool			 timer_mark_follow(struct timer_mark *m, struct slice page);
void			 timer_mark_begin(struct timer_mark *m);

/* What a copy's record has in preparedTransactionOffset. */
int64_t			 timer_mark_of(int64_t queue_offset);
/* False: this is no delivered copy. */
bool			 timer_mark_read(int64_t prepared_offset, int64_t *queue_offset);

#endif

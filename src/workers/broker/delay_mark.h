/*
 * delay_mark: how far each delay level has been delivered: delayOffset.json, and what the log says beyond it.
 *
 * Delivered copies say in the record where they come from (level and offset in its queue), in a field that is unused in
 * them otherwise. The file says how far each level was, and the end of the log at that moment; so after a crash the copies that
 * were appended later are found by walking the log from there. A position is only written when the log is flushed up to
 * its end: the file never knows of a copy that a power failure can take away.
 *
 * What is promised: with a file that this broker wrote, a delayed message is delivered exactly once, whatever is killed and whenever.
 * With a file of the original (it has no log end), or none, what was delivered after its last write is delivered again.
 */
#ifndef BROKER_DELAY_MARK_H
#define BROKER_DELAY_MARK_H

#include "workers/broker/broker.h"

#define DELAY_LEVELS 64 /* most that messageDelayLevel may have; level n is [n] of an array, [0] is unused */

struct delay_mark;

/* done: the caller's array of DELAY_LEVELS + 1 queue offsets: below them all is delivered. Filled by load and scan. */
struct delay_mark	*delay_mark_new(struct broker *b, int64_t *done);
enum rc			 delay_mark_load(struct delay_mark *m, struct err *e) MUST_CHECK;
void			 delay_mark_free(struct delay_mark **m);
/* Walks over at most so many records of the log's tail. False: all is known, *done is exact; nothing may be delivered before. */
bool			 delay_mark_scan(struct delay_mark *m, unsigned max);
/* Once a second, when nothing is staged. */
void			 delay_mark_second(struct delay_mark *m);
/* Now, for the end; the log is or will be synced as it is. */
enum rc			 delay_mark_save(struct delay_mark *m, struct err *e) MUST_CHECK;
/* As it is now: the log of a slave that asks may be behind it, and the slave finds that out by the log's end when it takes over. */
void			 delay_mark_put_json(const struct delay_mark *m, struct buf *out);

/*
 * A slave takes over what its master says (the body of code 45) and keeps it in its file; false: it is no such thing.
 * delay_mark_begin when it becomes the master itself: the walk over the log's tail starts at the end that was named last.
 */
bool			 delay_mark_follow(struct delay_mark *m, const json_t *said);
void			 delay_mark_begin(struct delay_mark *m);
/* A slave, at the end: what the master said last goes into the file. */
enum rc			 delay_mark_keep(struct delay_mark *m, struct err *e) MUST_CHECK;

/* The end of the log that the file names; 0: none. */
int64_t			 delay_mark_saved_end(const struct delay_mark *m);

/* What a copy's record has in preparedTransactionOffset: below zero, which no transaction has. */
int64_t			 delay_mark_of(int level, int64_t queue_offset);
/* False: this is no delivered copy. */
bool			 delay_mark_read(int64_t prepared_offset, int *level, int64_t *queue_offset);

#endif

/*
 * timer_log: the timer log of the original, left for it at a clean stop.
 *
 * The original knows of a timer message by a unit of 52 bytes in timerlog/, which is in a chain with the others of its second; this
 * broker reads the queue again instead and needs no such file. So that the original can take the store over and delivers each
 * message once, a clean stop writes a unit for each message that waits, and one at the end that says up to where the queue was
 * read. While this broker runs no timer log is there: then the original, after a kill -9 of ours, reads the queue again from the lowest
 * place that waits. The wheel is left out: the original makes it from the log.
 *
 * Runs in:    the broker process of a master.
 * If it dies: in the middle of it the directory timerlog.new is left, which the original passes over and the next stop removes.
 */
#ifndef BROKER_TIMER_LOG_H
#define BROKER_TIMER_LOG_H

#include "workers/broker/timer_heap.h"
#include "workers/broker/timer_int.h"

/*
 * Writes the log of `count` entries, which are sorted by it, and of the queue up to read_to; *read_ms: the time from which the original is
 * to look for due messages. What was there before is replaced. RC_FULL, RC_IO: sentence in e, no timer log is there.
 */
enum rc	timer_log_leave(struct timer *t, struct timer_entry *v, size_t count, int64_t read_to, int64_t *read_ms,
	    struct err *e) MUST_CHECK;
/* Removes timer log and wheel, which would tell the original of messages that this broker has delivered since. */
void	timer_log_remove(const struct broker *b);

#endif

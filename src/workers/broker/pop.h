/*
 * pop: consumption of 5.x in which the broker hands out messages one by one: a popped message is invisible to the group
 * until it is acked, or its time is over; then it comes again, by way of the group's retry topic.
 *
 * What is in flight is in pop_state.h, which is rebuilt from the revive log (pop_log.c) at the start. Ordered pops are
 * in pop_order.h.
 *
 * What is promised: a message that was popped and not acked comes again, whatever dies; none is handed out twice within
 * its invisible time while this broker's files hold, also over kill -9 of it. After a loss of power what was not
 * flushed is handed out again.
 */
#ifndef BROKER_POP_H
#define BROKER_POP_H

#include "workers/broker/append.h"

struct pop;

struct pop *pop_new(struct broker *b);
/* Store, topics and offsets are there: a master reads what is in flight, once. RC_BADDATA, RC_IO: sentence in e. */
enum rc pop_load(struct pop *p, struct err *e) MUST_CHECK;
void pop_free(struct pop **p);

/* Something was dispatched to q (store_ops.on_arrival). */
void pop_arrived(struct pop *p, struct store_queue *q, int64_t tags_code, struct slice props);
void pop_conn_closed(struct pop *p, struct conn *c);
/* The turn's part: pops that were woken or whose time is over, messages that are to be revived. True: more is to be
 * done at once. */
bool pop_turn(struct pop *p);
/* Is there something for another turn? */
bool pop_wanted(const struct pop *p);
void pop_second(struct pop *p);
/* The broker stops: the waiting pops are answered that there is nothing. */
void pop_answer_all(struct pop *p);
/* At the end, when the log is synced: the offsets take in all that was popped. Before offsets_save. */
void pop_note_progress(struct pop *p);
void pop_put_json(const struct pop *p, struct buf *out); /* for the status page */
/* Ordered pops, as in the file: from a master to a slave, which keeps them for the day when it becomes the master. */
void pop_put_order(const struct pop *p, struct buf *out);
uint64_t pop_order_version(const struct pop *p); /* another one when they have changed */
void pop_follow_order(struct pop *p, const json_t *said);
/* The topic is deleted: order information of it goes. */
void pop_remove_topic(struct pop *p, struct slice topic);
void pop_remove_group(struct pop *p, struct slice group);

#endif

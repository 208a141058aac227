/*
 * slave_take: what a master said goes into a slave's tables.
 */
#ifndef BROKER_SLAVE_TAKE_H
#define BROKER_SLAVE_TAKE_H

#include "workers/broker/broker.h"

/*
 * The body of an answer to SLAVE_SYNC. is_copy: our log is a copy of that master's, so topics that it does not have may
 * go. RC_BADDATA: it is no JSON object, sentence in e; nothing was taken. Members that are not what they must be are
 * left out.
 */
enum rc slave_take_changes(struct broker *b, struct slice body, bool is_copy, struct err *e) MUST_CHECK;
/* The body of an answer of a stock master to that request. RC_BADDATA: it is not what it must be. */
enum rc slave_take_table(struct broker *b, int code, struct slice body, bool is_copy, struct err *e) MUST_CHECK;

#endif

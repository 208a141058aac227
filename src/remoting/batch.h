/*
 * batch: the body of a batch send: messages one after another.
 */
#ifndef REMOTING_BATCH_H
#define REMOTING_BATCH_H

#include "common/base.h"

struct batch_item {
	int32_t		flag;
	struct slice	body, props;
};

/* Takes the next message off *rest. RC_NOTFOUND: no more. RC_BADDATA: lengths that do not fit. */
enum rc	batch_next(struct slice *rest, struct batch_item *item) MUST_CHECK;

#endif

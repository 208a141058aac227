/*
 * modes: config/messageRequestMode.json: how a group wants to get the messages of a topic (401): PULL or POP.
 */
#ifndef BROKER_MODES_H
#define BROKER_MODES_H

#include "workers/broker/broker.h"

struct modes	*modes_new(struct broker *b);
enum rc		 modes_load(struct modes *m, struct err *e) MUST_CHECK;
void		 modes_free(struct modes **m);
/* Saved before it returns. */
enum rc		 modes_set(struct modes *m, const char *topic, const char *group, const char *mode, int32_t share_queues,
		    struct err *e) MUST_CHECK;
/* Moves on with each change; of this process' life only. */
int64_t		 modes_version(const struct modes *m);
/* A slave: the body of code 402 of its master. */
void		 modes_take(struct modes *m, const json_t *wrapper);
struct request_mode {
	bool	pop;
	int32_t	share_queues;	/* pop: clients of the group that share a client's queues; below 1: all share all */
};
/* What was set, or the defaults of the configuration. */
struct request_mode	modes_get(const struct modes *m, const char *topic, const char *group);
void		 modes_put_json(struct modes *m, struct buf *out); /* file, and body of code 402 */

#endif

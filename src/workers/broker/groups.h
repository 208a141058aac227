/*
 * groups: config/subscriptionGroup.json: the consumer groups of this broker. Written on each change.
 */
#ifndef BROKER_GROUPS_H
#define BROKER_GROUPS_H

#include "workers/broker/topics.h"

struct group {
	char		*name;
	bool		 consume_enable, broadcast_enable, from_min_enable, notify_ids_changed, orderly;
	int32_t		 retry_queues, retry_max, sys_flag, timeout_minutes;
	int64_t		 broker_id, slow_broker_id;	/* whichBrokerWhenConsumeSlowly */
	json_t		*rest;		/* members that are kept and shown only: attributes, groupRetryPolicy, subscriptionDataSet */
};

struct groups	*groups_new(struct broker *b);
enum rc		 groups_load(struct groups *g, struct err *e) MUST_CHECK;
void		 groups_free(struct groups **g);
struct group	*group_find(struct groups *g, struct slice name);
/* Found, or made with defaults when auto creation (or being a system group) allows. NULL: not known and not to be made. */
struct group	*group_find_or_make(struct groups *g, struct slice name);
/* One SubscriptionGroupConfig as code 200 brings it. RC_INVAL: sentence in e. */
enum rc		 group_update(struct groups *g, json_t *config, struct err *e) MUST_CHECK;
bool		 group_remove(struct groups *g, struct slice name);
/* A slave: the body of code 201 of its master. Groups that the master does not have are dropped. */
void		 groups_take(struct groups *g, const json_t *wrapper);
void		 groups_each(struct groups *g, void (*each)(void *arg, struct group *group), void *arg);
size_t		 groups_count(const struct groups *g);
const struct data_version *groups_version(const struct groups *g);
void		 group_put_json(const struct group *group, struct buf *out);
void		 groups_put_wrapper_json(struct groups *g, struct buf *out);	/* body of code 201 */
/* Bits of what a group may not do with a topic (353); bit 2: read. */
int32_t		 group_forbidden(struct groups *g, struct slice group, struct slice topic);
void		 group_set_forbidden(struct groups *g, struct slice group, struct slice topic, int bit, bool forbidden);

#endif

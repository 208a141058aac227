/*
 * system_topics: the topics that every broker has, and the names that nobody may change or send to. What topics.h offers of
 * them goes through here.
 */
#ifndef BROKER_SYSTEM_TOPICS_H
#define BROKER_SYSTEM_TOPICS_H

#include "common/buf.h"
#include "common/conf.h"

typedef void system_topic_each(void *arg, struct slice name, int32_t queues, int32_t perm);

/* Each that a broker of this configuration must have. */
void	system_topics_each(const struct broker_conf *c, system_topic_each *each, void *arg);
bool	system_topic_is(const struct broker_conf *c, struct slice name);
bool	system_topic_is_send_forbidden(struct slice name);
/* {"topicList":[..]}: body of code 305. */
void	system_topics_put_json(const struct broker_conf *c, struct buf *out);

#endif

/*
 * brstats: how much goes in and out per topic and group, in the sampling of the original (10 s, minute, hour, day), for
 * codes 315 and 28, topicPutTps, consumeTps, and the status page.
 */
#ifndef BROKER_BRSTATS_H
#define BROKER_BRSTATS_H

#include "workers/broker/broker.h"

struct brstats	*brstats_new(struct broker *b);
void		 brstats_free(struct brstats **s);
/* Hot path: one call per topic and commit (of so many requests), per pull answer. */
void		 brstats_put(struct brstats *s, struct slice topic, uint64_t requests, uint64_t msgs, uint64_t bytes);
void		 brstats_get(struct brstats *s, struct slice topic, struct slice group, uint64_t msgs, uint64_t bytes);
void		 brstats_second(struct brstats *s);	/* samples when it is time */
void		 brstats_remove_topic(struct brstats *s, struct slice topic);
void		 brstats_remove_group(struct brstats *s, struct slice group);
/* {"statsDay":..} of one item (name "TOPIC_PUT_NUMS", key "topic" ...), or RC_NOTFOUND. */
enum rc		 brstats_put_json(struct brstats *s, struct slice name, struct slice key, struct buf *out) MUST_CHECK;
double		 brstats_topic_put_tps(struct brstats *s, struct slice topic);
double		 brstats_group_get_tps(struct brstats *s, struct slice topic, struct slice group);
/* What went through since the broker started: zeros if nothing did. For /metrics. */
struct brstats_total {
	uint64_t	msgs, bytes;
};
struct brstats_total	brstats_topic_put_total(struct brstats *s, struct slice topic);
struct brstats_total	brstats_group_get_total(struct brstats *s, struct slice topic, struct slice group);
/* Node-wide rates over 10 s, 1 min, 10 min as far as samples exist: "0.19 0.28 ". */
void		 brstats_put_tps_text(struct brstats *s, bool put, struct buf *out);

#endif

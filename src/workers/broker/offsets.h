/*
 * offsets: config/consumerOffset.json: how far each group has consumed each queue. Kept in memory, written every
 * flushConsumerOffsetInterval and at a clean stop; what a crash loses is delivered again.
 */
#ifndef BROKER_OFFSETS_H
#define BROKER_OFFSETS_H

#include "workers/broker/broker.h"

struct offsets	*offsets_new(struct broker *b);
enum rc		 offsets_load(struct offsets *o, struct err *e) MUST_CHECK;
/* Now, if anything has changed: at a clean stop. While running the file is written by itself. */
enum rc		 offsets_save(struct offsets *o, struct err *e) MUST_CHECK;
void		 offsets_free(struct offsets **o);
/* -1: none is stored. */
int64_t		 offset_get(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id);
/* On behalf of a client: dropped while a reset is pending for that queue (false). `who` is for the log. */
bool		 offset_commit(struct offsets *o, const char *who, struct slice group, struct slice topic, int32_t queue_id, int64_t offset);
/* An operator's reset: sets it and remembers that the next pull must be told (OFFSET_RESET). */
void		 offset_reset(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id, int64_t offset);
/* The pending reset of that queue, taken away; -1: none. Cheap when there is none anywhere. */
int64_t		 offset_take_reset(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id);
/* The last offset a pull asked for (shown as pullOffset); -1 none. Not stored. */
void		 offset_note_pull(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id, int64_t offset);
int64_t		 offset_last_pull(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id);
void		 offsets_each_topic_of(struct offsets *o, struct slice group, void (*each)(void *arg, struct slice topic), void *arg);
void		 offsets_each_group_of(struct offsets *o, struct slice topic, void (*each)(void *arg, struct slice group), void *arg);
void		 offsets_each_group(struct offsets *o, void (*each)(void *arg, struct slice group), void *arg);
/* dest gets what src has for the topic. */
void		 offsets_clone(struct offsets *o, struct slice src, struct slice dest, struct slice topic);
void		 offsets_remove_topic(struct offsets *o, struct slice topic);
void		 offsets_remove_group(struct offsets *o, struct slice group);
void		 offsets_put_json(struct offsets *o, struct buf *out);	/* file, and body of code 43 */

#endif

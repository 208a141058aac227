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
/*
 * The place in the log up to which pops have moved the offsets goes into the file, as "popLogOffset"; the original passes over it. mark
 * is called when the file is written; NULL: none any more.
 */
void		 offsets_set_log_mark(struct offsets *o, int64_t (*mark)(void *arg), void *arg);
/* What the file said when it was loaded; -1: nothing, the original has written it; 0: there was none. */
int64_t		 offsets_log_mark(const struct offsets *o);
/* Is the queue's first message its number 0, and near the log's end? By the original's rule it is in memory then. */
bool		 offset_first_is_near(struct broker *b, struct store_queue *q);
void		 offsets_put_json(struct offsets *o, struct buf *out);	/* file, and body of code 43 */

/*
 * ---- between master and slave (offsets_sync.c). Merging moves an offset forward only: whichever side is behind was not told
 * yet, or has lost its last seconds in a crash. What went back on the master on purpose (a reset, a consumer that seeks) is
 * told apart from that, and so is what was removed.
 */
/* Grows with each change; never 0. Of this process' life only. */
uint64_t	 offsets_clock(const struct offsets *o);
/* What changed since the clock said `since` (0: all there is), as members of a JSON object: "offsets", "back", "gone", "pending". */
void		 offsets_put_changes(struct offsets *o, uint64_t since, struct buf *out);
/* The slave's side of it. Members may be missing, other content is left out. */
void		 offsets_take_changes(struct offsets *o, const json_t *changes);
/* Merges a table as it stands in the file and in the body of code 43. */
void		 offsets_merge(struct offsets *o, const json_t *table);
/* A slave: {"topic@group":{"0":5}} of what clients have committed here and the master is not known to have. False: nothing. */
bool		 offsets_put_own(struct offsets *o, struct buf *out);
/* The master has that table now. */
void		 offsets_own_told(struct offsets *o, const json_t *table);

#endif

/*
 * topic_attrs: attributes of topics: what exists, and changes to them: "+message.type=FIFO,-reserve.time".
 */
#ifndef BROKER_TOPIC_ATTRS_H
#define BROKER_TOPIC_ATTRS_H

#include "common/json.h"

/*
 * Applies a change to current (NULL: the topic is new). *out is the caller's, bare names. RC_INVAL: the original's words in e,
 * and *out is NULL.
 */
enum rc	topic_attrs_alter(const json_t *current, struct slice change, json_t **out, struct err *e) MUST_CHECK;
/* {"+a":"b","-c":""} as bodies have it, to the text form. */
void	topic_attrs_change_text(const json_t *change, struct buf *out);

#endif

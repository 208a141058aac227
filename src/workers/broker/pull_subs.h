/*
 * pull_subs: the subscriptions that pulls bring along, of groups that send no heartbeat.
 */
#ifndef BROKER_PULL_SUBS_H
#define BROKER_PULL_SUBS_H

#include "workers/broker/clients.h"

struct pull_subs;

struct pull_subs	*pull_subs_new(void);
void		 pull_subs_free(struct pull_subs **s);
/* Copied if it is another than before. Nothing is kept beyond a bound. */
void		 pull_subs_note(struct pull_subs *s, struct slice group, const struct subscription *sub);
/* NULL: none. Valid until the turn ends. */
const struct subscription *pull_subs_find(struct pull_subs *s, struct slice group, struct slice topic);
/* Those of groups that have not pulled for ten minutes. */
void		 pull_subs_expire(struct pull_subs *s);

#endif

/*
 * daily: how many messages had been stored and read at the last two midnights (local time), for code 28.
 */
#ifndef BROKER_DAILY_H
#define BROKER_DAILY_H

#include "workers/broker/broker.h"

struct daily	*daily_new(struct broker *b);
void		 daily_free(struct daily **d);
/* Totals since the broker's start: now, this morning, yesterday morning. */
struct daily_totals {
	uint64_t	now, today, yesterday;
};
struct daily_totals	daily_put(const struct daily *d);
struct daily_totals	daily_get(const struct daily *d);

#endif

/*
 * cold: pulls, and whatever else reads records, whose bytes may have to come from the disk: warm reads them first, this loop
 * never does.
 */
#ifndef BROKER_COLD_H
#define BROKER_COLD_H

#include "workers/broker/pull.h"

#define COLD_MAX	1024	/* ranges that are waited for at the same time */

struct cold	*cold_new(struct broker *b);
void		 cold_free(struct cold **c);
/*
 * Copies the pull and asks warm for all of the list. RC_FULL: too many wait, or warm is behind; RC_CLOSED: there is no warm, or
 * it was asked often enough: the caller reads as it is.
 */
enum rc		 cold_add(struct cold *c, struct conn *conn, const struct request_id *id, const struct pull *p,
		    const struct cold_list *l) MUST_CHECK;
/*
 * The same for anything else that reads the store: ready is called once, later, with 0 (read it now) or an errno; ECANCELED: the broker
 * ends. Results as cold_add: then ready is not called.
 */
typedef void	 cold_ready(void *arg, int error);
enum rc		 cold_wait_list(struct cold *c, const struct cold_list *l, cold_ready *ready, void *arg) MUST_CHECK;
enum rc		 cold_wait(struct cold *c, int64_t at, int64_t len, cold_ready *ready, void *arg) MUST_CHECK; /* one range of the log */
/* Asks for it and does not wait: what is asked again in a while will be there. */
void		 cold_prefetch(struct cold *c, const struct cold_list *l);
/* warm's answer: the pull goes on, or is refused when the disk could not be read. */
void		 cold_done(struct cold *c, int64_t id, int32_t error);
/* Once a second: pulls of connections that have gone, and asks that were never answered (warm was restarted). */
void		 cold_second(struct cold *c);
size_t		 cold_count(const struct cold *c);

#endif

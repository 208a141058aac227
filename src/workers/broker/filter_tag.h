/*
 * filter_tag: which messages a subscription lets through: TAG by the hash in the queue's unit alone, SQL92 by the properties.
 */
#ifndef BROKER_FILTER_TAG_H
#define BROKER_FILTER_TAG_H

#include "workers/broker/filters.h"

/* A view of a subscription; borrowed, small enough to be copied beside a held pull (which keeps a reference of sql). */
struct tag_filter {
	bool		 all;		/* each tag passes; so with SQL92 */
	unsigned	 count;
	const int32_t	*codes;
	struct sql_filter *sql;		/* NULL: properties do not matter */
	/* filterSupportRetry: messages of a retry topic by the filter of the topic that they come from; NULL: not so */
	struct filters	*retried;
	struct slice	 group;		/* whose retry topic it is */
};

struct tag_filter	tag_filter_of(const struct subscription *s);
bool		 tag_filter_passes(const struct tag_filter *f, int64_t tags_code);
bool		 tag_filter_passes_props(const struct tag_filter *f, struct slice props);
/* For store_get. f must live as long as the result is used. NULL members when everything passes. */
struct store_filter	tag_filter_for_store(const struct tag_filter *f);

#endif

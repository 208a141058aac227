/*
 * filter_tag: which messages a TAG subscription lets through, by the hash in the queue's unit alone.
 */
#ifndef BROKER_FILTER_TAG_H
#define BROKER_FILTER_TAG_H

#include "workers/broker/clients.h"

/* A view of a subscription's codes; borrowed, small enough to be copied beside a held pull. */
struct tag_filter {
	bool		 all;
	unsigned	 count;
	const int32_t	*codes;
};

struct tag_filter	tag_filter_of(const struct subscription *s);
bool		 tag_filter_passes(const struct tag_filter *f, int64_t tags_code);
/* For store_get. f must live as long as the result is used. NULL members when everything passes. */
struct store_filter	tag_filter_for_store(const struct tag_filter *f);

#endif

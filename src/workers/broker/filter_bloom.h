/*
 * filter_bloom: the bits that a group's filter has in the original's bloom filters.
 *
 * We evaluate each message and need no such filter. But the original drops a whole consumerFilter.json whose bits are not those
 * that its own settings give, so what we write must have them.
 */
#ifndef BROKER_FILTER_BLOOM_H
#define BROKER_FILTER_BLOOM_H

#include "common/base.h"

#define BLOOM_BITS_MAX 32	/* of one name */

struct bloom {
	int32_t		 bit_num;	/* of the whole filter */
	unsigned	 count;
	int32_t		 bits[BLOOM_BITS_MAX];
};

/* error_percent: 1 to 99; names: how many the filter is made for, above 0. name: "group#topic". False: settings out of range. */
bool	bloom_of(int32_t error_percent, int32_t names, struct slice name, struct bloom *out);

#endif

/*
 * table: uthash as the broker's tables use it: memory by xmalloc, keys that are slices.
 *
 * The entry holds a key of its own; the caller's slice is only looked at.
 */
#ifndef BROKER_TABLE_H
#define BROKER_TABLE_H

#include "common/mem.h"

#define uthash_malloc(n) xmalloc(n)
#define uthash_free(p, n) free(p)
#include <uthash.h>

#define TABLE_FIND(head, key, out) HASH_FIND(hh, head, (key).p, (key).n, out)
/* keyfield: a char * in the entry, terminated. */
#define TABLE_ADD(head, keyfield, entry) HASH_ADD_KEYPTR(hh, head, (entry)->keyfield, strlen((entry)->keyfield), entry)

#endif

/*
 * foreign: is this the store of a kind that this broker does not read?
 *
 * The original has kinds of store whose log or queues stand elsewhere or in another form: RocksDB, DLedger, compacted
 * topics, batch queues, extended queues. Such a store opened by the plain files alone would look empty or lose what
 * stands there, so it is refused by name, before anything is changed.
 */
#ifndef STORE_FOREIGN_H
#define STORE_FOREIGN_H

#include "common/base.h"

/* RC_INVAL: it is; the sentence in e says of which kind, by what that is seen, and what to do. Changes nothing. */
enum rc foreign_check(const char *root, struct err *e) MUST_CHECK;

#endif

/*
 * txn_window: which half messages are settled, by their offsets in the half queue; and how far the op messages are needed.
 *
 * The window begins at the first half message that is not known to be settled. One bit for each one behind it: with hundreds of
 * thousands of transactions between two checks that is some 100 KiB. An op message is needed as long as it names an offset
 * in the window.
 */
#ifndef BROKER_TXN_WINDOW_H
#define BROKER_TXN_WINDOW_H

#include "common/base.h"

#define TXN_WINDOW_MAX ((int64_t)1 << 30) /* offsets: 128 MiB of bits; what lies beyond is not noted, and checked again */

struct txn_window {
	int64_t		 next;		/* all below are settled, or copied behind */
	int64_t		 settled;	/* how many in the window are */
	int64_t		 base;		/* of bits: a multiple of 64, not above next */
	uint64_t	*bits;
	size_t		 words, cap;	/* used, allocated */
	int64_t		 op_next;	/* op messages below are not needed any more */
	int64_t		*op_highest;	/* of the op messages from op_next on: the highest offset each names; INT64_MAX: not known */
	size_t		 op_head, op_end, op_cap;
};

void	txn_window_begin(struct txn_window *w, int64_t next, int64_t op_next);
void	txn_window_free(struct txn_window *w);
/* Settled or below the window. */
bool	txn_window_is_settled(const struct txn_window *w, int64_t offset);
void	txn_window_set(struct txn_window *w, int64_t offset);
/* It was not settled after all. */
void	txn_window_clear(struct txn_window *w, int64_t offset);
/* The first offset in from..end that is not settled; end if there is none. */
int64_t	txn_window_open_from(const struct txn_window *w, int64_t from, int64_t end);
/* The op message at op_offset names offsets up to `highest`. Known ones may be told again. */
void	txn_window_op(struct txn_window *w, int64_t op_offset, int64_t highest);
/* The window's begin moves over what is settled, at most to `end`, and op_next over what is not needed any more. */
void	txn_window_advance(struct txn_window *w, int64_t end);

#endif

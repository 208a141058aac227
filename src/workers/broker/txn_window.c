/*
 * txn_window: which half messages are settled. See txn_window.h.
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/txn_window.h"

#include "common/mem.h"

#define WORD_BITS   64
#define WASTE_WORDS 1024 /* words below the window before they are given up */

void
txn_window_begin(struct txn_window *w, int64_t next, int64_t op_next)
{
	txn_window_free(w);
	w->next = next;
	w->base = next / WORD_BITS * WORD_BITS;
	w->op_next = op_next;
}

void
txn_window_free(struct txn_window *w)
{
	free(w->bits);
	free(w->op_highest);
	*w = (struct txn_window){0};
}

/* ---- bits */

static bool
is_set(const struct txn_window *w, int64_t offset)
{
	size_t at = (size_t)(offset - w->base);

	return at / WORD_BITS < w->words && (w->bits[at / WORD_BITS] >> (at % WORD_BITS) & 1) != 0;
}

bool
txn_window_is_settled(const struct txn_window *w, int64_t offset)
{
	return offset < w->next || is_set(w, offset);
}

static void
reach(struct txn_window *w, size_t words)
{
	if (words > w->cap) {
		w->cap = MAX_OF(words, MAX_OF(w->cap * 2, 64));
		w->bits = xrealloc(w->bits, w->cap * sizeof(w->bits[0]));
	}
	if (words > w->words) {
		memset(w->bits + w->words, 0, (words - w->words) * sizeof(w->bits[0]));
		w->words = words;
	}
}

void
txn_window_set(struct txn_window *w, int64_t offset)
{
	size_t at;

	if (offset < w->next || offset - w->next >= TXN_WINDOW_MAX || is_set(w, offset))
		return;
	at = (size_t)(offset - w->base);
	reach(w, at / WORD_BITS + 1);
	w->bits[at / WORD_BITS] |= (uint64_t)1 << (at % WORD_BITS);
	w->settled++;
}

void
txn_window_clear(struct txn_window *w, int64_t offset)
{
	size_t at;

	if (offset < w->next || !is_set(w, offset))
		return;
	at = (size_t)(offset - w->base);
	w->bits[at / WORD_BITS] &= ~((uint64_t)1 << (at % WORD_BITS));
	w->settled--;
}

int64_t
txn_window_open_from(const struct txn_window *w, int64_t from, int64_t end)
{
	int64_t at = MAX_OF(from, w->next);

	while (at < end) {
		size_t word = (size_t)(at - w->base) / WORD_BITS;
		unsigned bit = (unsigned)((at - w->base) % WORD_BITS);
		uint64_t open;

		if (word >= w->words)
			return at;
		open = ~w->bits[word] >> bit;
		if (open != 0)
			return MIN_OF(at + __builtin_ctzll(open), end);
		at += WORD_BITS - bit;
	}
	return end;
}

/* ---- op messages */

static void
make_op_room(struct txn_window *w, size_t at)
{
	if (w->op_head > 0 && w->op_head >= w->op_end / 2) {
		memmove(w->op_highest, w->op_highest + w->op_head, (w->op_end - w->op_head) * sizeof(w->op_highest[0]));
		w->op_end -= w->op_head;
		w->op_head = 0;
	}
	if (w->op_head + at < w->op_cap)
		return;
	w->op_cap = MAX_OF(w->op_head + at + 1, MAX_OF(w->op_cap * 2, 64));
	w->op_highest = xrealloc(w->op_highest, w->op_cap * sizeof(w->op_highest[0]));
}

void
txn_window_op(struct txn_window *w, int64_t op_offset, int64_t highest)
{
	size_t at;

	if (op_offset < w->op_next || op_offset - w->op_next >= TXN_WINDOW_MAX)
		return;
	at = (size_t)(op_offset - w->op_next);
	make_op_room(w, at);
	while (w->op_end <= w->op_head + at)
		w->op_highest[w->op_end++] = INT64_MAX;
	w->op_highest[w->op_head + at] = highest;
}

/* ---- moving on */

static void
drop_words(struct txn_window *w)
{
	size_t below = (size_t)(w->next - w->base) / WORD_BITS, gone;

	if (below < WASTE_WORDS && below < w->words)
		return;
	gone = MIN_OF(below, w->words);
	if (gone < w->words)
		memmove(w->bits, w->bits + gone, (w->words - gone) * sizeof(w->bits[0]));
	w->words -= gone;
	w->base += (int64_t)below * WORD_BITS;
}

void
txn_window_advance(struct txn_window *w, int64_t end)
{
	int64_t to = txn_window_open_from(w, w->next, end);

	if (to > w->next) {
		w->settled -= to - w->next;
		w->next = to;
		drop_words(w);
	}
	while (w->op_head < w->op_end && w->op_highest[w->op_head] < w->next) {
		w->op_head++;
		w->op_next++;
	}
}

/*
 * hello: writing and reading hellos and frame heads; see hello.h.
 */
#include "workers/ha/hello.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/crc.h"

#define WORD        8
#define WORD_TEXT   7
#define HEAD_CRC_AT (HEAD_OURS_BYTES - 4)
#define HEAD_WORDS  2 /* magic, bytes of text */

static const char magic[WORD] = {'\xff', 'R', 'M', 'Q', 'S', 'H', 'A', '\n'};

const char *
verdict_name(enum verdict v)
{
	switch (v) {
	case VERDICT_NONE:
		return "none";
	case VERDICT_GO:
		return "go";
	case VERDICT_CUT:
		return "cut";
	case VERDICT_AFRESH:
		return "afresh";
	case VERDICT_AHEAD:
		return "ahead";
	case VERDICT_STALE:
		return "stale";
	case VERDICT_DIFFERENT:
		return "different";
	case VERDICT_FOREIGN:
		return "foreign";
	case VERDICT_NO_MASTER:
		return "no master";
	case VERDICT_LATER:
		return "later";
	}
	return "unknown";
}

/* ---- the text */

static void
put_text(struct buf *out, const char *s)
{
	size_t n = strlen(s);

	buf_put_be16(out, (uint16_t)n);
	buf_put(out, s, n);
}

static void
put_fields(struct buf *out, const struct hello *h)
{
	buf_put_be32(out, HELLO_VERSION);
	buf_put_be32(out, h->flags);
	buf_put_be32(out, (uint32_t)h->role);
	buf_put_be32(out, (uint32_t)h->verdict);
	buf_put_be64(out, (uint64_t)h->broker_id);
	buf_put_be64(out, (uint64_t)h->epoch);
	buf_put_be64(out, (uint64_t)h->min);
	buf_put_be64(out, (uint64_t)h->max);
	buf_put_be64(out, (uint64_t)h->segment_bytes);
	buf_put_be64(out, (uint64_t)h->start);
	buf_put_be64(out, (uint64_t)h->tail_at);
	buf_put_be32(out, h->tail_crc);
	put_text(out, h->cluster);
	put_text(out, h->name);
	put_text(out, h->text);
	buf_put_be32(out, (uint32_t)h->epochs.count);
	for (size_t i = 0; i < h->epochs.count; i++) {
		buf_put_be32(out, (uint32_t)h->epochs.entry[i].epoch);
		buf_put_be64(out, (uint64_t)h->epochs.entry[i].start);
	}
}

struct reader { /* takes fields off; once it failed all are 0 */
	const char *p;
	size_t n;
	bool failed;
};

static const char *
take(struct reader *r, size_t n)
{
	const char *p = r->p;

	if (r->failed || n > r->n) {
		r->failed = true;
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return p;
}

static uint32_t
take32(struct reader *r)
{
	const char *p = take(r, 4);

	return p != NULL ? be32_get(p) : 0;
}

static int64_t
take64(struct reader *r)
{
	const char *p = take(r, 8);

	return p != NULL ? (int64_t)be64_get(p) : 0;
}

static void
take_text(struct reader *r, char *out, size_t size)
{
	const char *p = take(r, 2);
	size_t n = p != NULL ? be16_get(p) : 0;

	p = take(r, n);
	if (p == NULL || n >= size || memchr(p, '\0', n) != NULL) {
		r->failed = true;
		n = 0;
	}
	if (n > 0)
		memcpy(out, p, n);
	out[n] = '\0';
}

static void
take_epochs(struct reader *r, struct epochs *l)
{
	uint32_t n = take32(r);

	l->count = 0;
	if (n > EPOCHS_MAX)
		r->failed = true;
	for (uint32_t i = 0; i < n && !r->failed; i++) {
		struct epoch_entry e = {(int32_t)take32(r), take64(r)};

		if (e.epoch < 0 || e.start < 0 ||
		    (i > 0 && (e.epoch <= l->entry[i - 1].epoch || e.start < l->entry[i - 1].start)))
			r->failed = true;
		l->entry[l->count++] = e;
	}
}

static bool
is_possible(const struct hello *h)
{
	return (unsigned)h->role <= ROLE_SLAVE && (unsigned)h->verdict < VERDICTS && h->broker_id >= 0 &&
	       h->epoch >= 0 && h->epoch <= INT32_MAX && h->min >= 0 && h->min <= h->max && h->segment_bytes > 0 &&
	       h->start >= 0 && h->tail_at >= 0 && h->tail_at <= h->max;
}

static enum rc
take_fields(struct hello *h, struct reader *r, struct err *e)
{
	uint32_t version = take32(r);

	if (!r->failed && version != HELLO_VERSION) {
		err_set(e,
			"a hello of version %" PRIu32 ", ours is %d: both sides must run releases that know each other",
			version, HELLO_VERSION);
		return RC_LIMIT;
	}
	h->flags = take32(r);
	h->role = (enum broker_role)take32(r);
	h->verdict = (enum verdict)take32(r);
	h->broker_id = take64(r);
	h->epoch = take64(r);
	h->min = take64(r);
	h->max = take64(r);
	h->segment_bytes = take64(r);
	h->start = take64(r);
	h->tail_at = take64(r);
	h->tail_crc = take32(r);
	take_text(r, h->cluster, sizeof(h->cluster));
	take_text(r, h->name, sizeof(h->name));
	take_text(r, h->text, sizeof(h->text));
	take_epochs(r, &h->epochs);
	if (!r->failed && is_possible(h))
		return RC_OK;
	err_set(e, "a hello that says what cannot be");
	return RC_BADDATA;
}

/* ---- words */

static void
put_word(struct buf *out, const char *p, size_t n)
{
	char word[WORD] = {'\xff'};

	memcpy(word + 1, p, n);
	buf_put(out, word, WORD);
}

void
hello_put(struct buf *out, const struct hello *h)
{
	struct buf text = {.limit = HELLO_MAX};
	char length[WORD];

	put_fields(&text, h);
	buf_put_be32(&text, crc32_of(text.p, text.len));
	ensure(!text.failed);
	buf_put(out, magic, WORD);
	be64_put(length, text.len);
	put_word(out, length + 1, WORD_TEXT);
	for (size_t at = 0; at < text.len; at += WORD_TEXT)
		put_word(out, text.p + at, MIN_OF(text.len - at, (size_t)WORD_TEXT));
	buf_put_be64(out, UINT64_MAX);
	buf_free(&text);
}

bool
hello_begins(const char *p, size_t n)
{
	return memcmp(p, magic, MIN_OF(n, (size_t)WORD)) == 0;
}

/* Bytes of text that the hello at p has, of which at least the first two words are there. -1: no hello says that. */
static int64_t
text_bytes(const char *p)
{
	int64_t n = (int64_t)(be64_get(p + WORD) & ((UINT64_C(1) << 56) - 1));

	return p[WORD] == '\xff' && n <= HELLO_MAX ? n : -1;
}

static bool
unpack(const char *p, size_t words, char *out)
{
	for (size_t i = 0; i < words; i++, p += WORD) {
		if (*p != '\xff')
			return false;
		memcpy(out + i * WORD_TEXT, p + 1, WORD_TEXT);
	}
	return be64_get(p) == UINT64_MAX;
}

static enum rc
no_hello(struct err *e)
{
	err_set(e, "what came is no hello");
	return RC_BADDATA;
}

enum rc
hello_take(struct hello *h, const char *p, size_t n, size_t *used, struct err *e)
{
	char text[HELLO_MAX + WORD_TEXT];
	int64_t bytes;
	size_t words;

	if (n > 0 && !hello_begins(p, n))
		return no_hello(e);
	if (n < HEAD_WORDS * WORD)
		return RC_AGAIN;
	bytes = text_bytes(p);
	if (bytes < 0)
		return no_hello(e);
	words = ((size_t)bytes + WORD_TEXT - 1) / WORD_TEXT;
	*used = (HEAD_WORDS + words + 1) * WORD;
	if (n < *used)
		return RC_AGAIN;
	if (!unpack(p + (size_t)HEAD_WORDS * WORD, words, text))
		return no_hello(e);
	if (bytes < 4 || crc32_of(text, (size_t)bytes - 4) != be32_get(text + bytes - 4)) {
		err_set(e, "a hello that was damaged on the way");
		return RC_BADDATA;
	}
	return take_fields(h, &(struct reader){text, (size_t)bytes - 4, false}, e);
}

/* ---- frames */

size_t
head_put(char *out, const struct head *h, bool ours, struct slice data)
{
	be64_put(out, (uint64_t)h->at);
	be32_put(out + 8, (uint32_t)h->bytes);
	if (!ours)
		return HEAD_PLAIN_BYTES;
	be64_put(out + 12, (uint64_t)h->epoch);
	be64_put(out + 20, (uint64_t)h->replicated);
	be64_put(out + 28, (uint64_t)h->max);
	be32_put(out + 36, data.n > 0 ? crc32_of(data.p, data.n) : 0);
	be32_put(out + HEAD_CRC_AT, crc32_of(out, HEAD_CRC_AT));
	return HEAD_OURS_BYTES;
}

enum rc
head_take(struct head *h, const char *p, bool ours, int64_t segment_bytes)
{
	*h = (struct head){.at = (int64_t)be64_get(p), .bytes = (int32_t)be32_get(p + 8)};
	if (ours && crc32_of(p, HEAD_CRC_AT) != be32_get(p + HEAD_CRC_AT))
		return RC_BADDATA;
	if (h->at < 0 || h->bytes < 0 || h->at > INT64_MAX - segment_bytes ||
	    h->bytes > segment_bytes - h->at % segment_bytes)
		return RC_BADDATA;
	if (!ours)
		return RC_OK;
	h->epoch = (int64_t)be64_get(p + 12);
	h->replicated = (int64_t)be64_get(p + 20);
	h->max = (int64_t)be64_get(p + 28);
	h->crc = be32_get(p + 36);
	return h->epoch >= 0 && h->replicated >= 0 && h->max >= h->at + h->bytes ? RC_OK : RC_BADDATA;
}

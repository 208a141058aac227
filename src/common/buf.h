/*
 * buf: a growing byte buffer in which failure sticks: put everything, look once at the end.
 *
 * A buffer has a limit; a put beyond it sets `failed` and is dropped, as is all that follows, until buf_reset.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/base.h"

struct buf {
	char	*p;
	size_t	 len, cap;
	size_t	 limit; /* 0: 64 MiB */
	bool	 failed;
};

void	buf_free(struct buf *b);
/* Empties it; gives memory above `keep` bytes back. */
void	buf_reset(struct buf *b, size_t keep);
/* Room for n more bytes at b->p + b->len, or NULL (failed is set). The caller adds to len what it used. */
char	*buf_room(struct buf *b, size_t n);
void	buf_put_be16(struct buf *b, uint16_t v);
void	buf_put_be32(struct buf *b, uint32_t v);
void	buf_put_be64(struct buf *b, uint64_t v);
void	buf_put_i64(struct buf *b, int64_t v); /* decimal */
void	buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void	buf_put_json(struct buf *b, struct slice s);
/* Takes the first n bytes away. */
void	buf_consume(struct buf *b, size_t n);
/* A terminated string owned by the caller; the buffer is empty afterwards. NULL if it failed. */
char	*buf_steal(struct buf *b);

/* The common case is here, so that the compiler sees it: the bytes fit. */
static inline void
buf_put(struct buf *b, const void *p, size_t n)
{
	char *to;

	if (n == 0)
		return;
	if (LIKELY(n <= b->cap - b->len && !b->failed))
		to = b->p + b->len;
	else if ((to = buf_room(b, n)) == NULL)
		return;
	memcpy(to, p, n);
	b->len += n;
}

static inline void
buf_put_slice(struct buf *b, struct slice s)
{
	buf_put(b, s.p, s.n);
}

static inline void
buf_put_str(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

static inline void
buf_put_char(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){b->p, b->len};
}

#endif

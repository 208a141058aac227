/*
 * mem: allocation that stops the worker when it fails, and arenas.
 */
#include "common/mem.h"

#include <stdalign.h>
#include <stdio.h>

#include "common/log.h"

#define ARENA_BLOCK 4096	/* bytes of the first block; later ones double */
#define ARENA_BLOCK_MAX (1u << 20)
#define ARENA_ALIGN 16

static void *
checked(void *p, size_t n)
{
	if (p != NULL || n == 0)
		return p;
	log_error("no memory for %zu bytes, this process stops", n);
	abort();
}

void *
xmalloc(size_t n)
{
	return checked(malloc(n), n);
}

void *
xcalloc(size_t n, size_t size)
{
	return checked(calloc(n, size), n * size);
}

void *
xrealloc(void *p, size_t n)
{
	return checked(realloc(p, n), n);
}

char *
xstrdup(const char *s)
{
	return s == NULL ? NULL : xstrndup(s, strlen(s));
}

char *
xstrndup(const char *s, size_t n)
{
	char *copy;

	n = strnlen(s, n);
	copy = xmalloc(n + 1);
	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

char *
xslicedup(struct slice s)
{
	char *copy = xmalloc(s.n + 1);

	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return checked(n < 0 ? NULL : text, 1);
}

struct arena_block {
	struct arena_block *next;
	size_t size, used; /* of data */
	alignas(ARENA_ALIGN) char data[];
};

static struct arena_block *
add_block(struct arena *a, size_t need)
{
	size_t size = a->head == NULL ? ARENA_BLOCK : MIN_OF(a->head->size * 2, ARENA_BLOCK_MAX);
	struct arena_block *b;

	size = MAX_OF(size, need);
	b = xmalloc(sizeof(*b) + size);
	b->next = a->head;
	b->size = size;
	b->used = 0;
	a->head = b;
	return b;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->head;
	void *p;

	ensure(n < SIZE_MAX / 2);
	n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (b == NULL || b->size - b->used < n)
		b = add_block(a, n);
	p = b->data + b->used;
	b->used += n;
	return p;
}

char *
arena_slicedup(struct arena *a, struct slice s)
{
	char *copy = arena_alloc(a, s.n + 1);

	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

/* Frees the blocks behind b. */
static void
free_behind(struct arena_block *b)
{
	for (struct arena_block *next; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
}

void
arena_reset(struct arena *a)
{
	struct arena_block *kept = a->head;

	if (kept == NULL)
		return;
	if (kept->size > ARENA_BLOCK_MAX) { /* one huge request must not be kept for ever */
		arena_free(a);
		return;
	}
	free_behind(kept->next);
	kept->next = NULL;
	kept->used = 0;
}

void
arena_free(struct arena *a)
{
	free_behind(a->head);
	a->head = NULL;
}

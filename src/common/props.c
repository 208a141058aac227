/*
 * props: the properties of a message, as text: name 0x01 value 0x02 name 0x01 value ...
 *
 * The original's rule: a pair counts only with a name and a value, both not empty; the last of equal names wins.
 */
#include "common/message.h"

#define PAIR_END '\x02'
#define NAME_END '\x01'

struct slice
props_get(struct slice props, const char *name)
{
	size_t name_len = strlen(name);
	const char *end = props.n > 0 ? props.p + props.n : NULL;

	/* from the end, since the last one wins */
	while (props.n > name_len + 1) {
		const char *sep = memrchr(props.p, PAIR_END, props.n);
		const char *pair = sep == NULL ? props.p : sep + 1;
		size_t n = (size_t)(end - pair);

		if (n > name_len + 1 && pair[name_len] == NAME_END && memcmp(pair, name, name_len) == 0)
			return (struct slice){pair + name_len + 1, n - name_len - 1};
		if (sep == NULL)
			break;
		end = sep;
		props.n = (size_t)(sep - props.p);
	}
	return SLICE_NONE;
}

/* Cuts the next piece up to the pair separator off *rest. */
static struct slice
cut_pair(struct slice *rest)
{
	const char *sep = memchr(rest->p, PAIR_END, rest->n);
	struct slice pair = {rest->p, sep == NULL ? rest->n : (size_t)(sep - rest->p)};
	size_t gone = pair.n + (sep != NULL);

	rest->p += gone;
	rest->n -= gone;
	return pair;
}

bool
props_next(struct slice *rest, struct slice *name, struct slice *value)
{
	while (rest->n > 0) {
		struct slice pair = cut_pair(rest);
		const char *sep = pair.n < 3 ? NULL : memchr(pair.p, NAME_END, pair.n);
		size_t n = sep == NULL ? 0 : (size_t)(sep - pair.p);

		if (n == 0 || n + 1 == pair.n)
			continue;
		*name = (struct slice){pair.p, n};
		*value = (struct slice){sep + 1, pair.n - n - 1};
		return true;
	}
	return false;
}

/* One allocation check for the whole pair. */
static void
put_pair(struct buf *b, struct slice name, struct slice value)
{
	char *p = buf_room(b, name.n + value.n + 2);

	if (p == NULL)
		return;
	memcpy(p, name.p, name.n);
	p += name.n;
	*p++ = NAME_END;
	if (value.n > 0)
		memcpy(p, value.p, value.n);
	p[value.n] = PAIR_END;
	b->len += name.n + value.n + 2;
}

void
props_put(struct buf *b, const char *name, struct slice value)
{
	put_pair(b, slice_of(name), value);
}

void
props_put_without(struct buf *b, struct slice props, const char *name)
{
	struct slice without = slice_of(name), n, v;

	while (props_next(&props, &n, &v))
		if (!slice_eq(n, without))
			put_pair(b, n, v);
}

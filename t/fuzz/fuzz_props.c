/*
 * fuzz_props: any bytes as the properties of a message. Walking and looking up must agree.
 */
#include "common/mem.h"
#include "common/message.h"
#include "fuzz.h"

/* The value that a walk finds last for the name. */
static struct slice
last_of(struct slice props, struct slice name)
{
	struct slice n, v, found = SLICE_NONE;

	while (props_next(&props, &n, &v))
		if (slice_eq(n, name))
			found = v;
	return found;
}

static void
check_lookup(struct slice props, struct slice name)
{
	char *text = xslicedup(name);
	struct slice v = props_get(props, text);

	must(fuzz_within(v, props.p, props.n));
	if (strlen(text) == name.n)
		must(slice_eq(v, last_of(props, name)));
	free(text);
}

static void
check_without(struct slice props, struct slice name)
{
	char *text = xslicedup(name);
	struct buf b = {0};

	props_put_without(&b, props, text);
	must(b.len <= props.n + 1);
	if (strlen(text) == name.n)
		must(props_get(buf_slice(&b), text).n == 0);
	buf_free(&b);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = fuzz_copy(data, size);
	struct slice props = {p, size}, rest = props, n, v;
	int checked = 0;

	while (props_next(&rest, &n, &v)) {
		must(fuzz_within(n, p, size) && fuzz_within(v, p, size));
		must(n.n > 0 && v.n > 0);
		if (checked++ < 20) {
			check_lookup(props, n);
			check_without(props, n);
		}
	}
	props_get(props, "TAGS");
	message_tags_code(props);
	free(p);
	return 0;
}

/*
 * filter_tag: which messages a TAG subscription lets through.
 *
 * Runs in:    the broker process.
 * Must not:   look at the tag's text: clients compare it again, so a foreign message is harmless and a missing one is not.
 */
#include "workers/broker/filter_tag.h"

struct tag_filter
tag_filter_of(const struct subscription *s)
{
	return (struct tag_filter){s->all || s->class_filter, s->code_count, s->codes};
}

bool
tag_filter_passes(const struct tag_filter *f, int64_t tags_code)
{
	if (f->all)
		return true;
	for (unsigned i = 0; i < f->count; i++)
		if (f->codes[i] == (int32_t)tags_code)
			return true;
	return false;
}

static bool
passes_code(void *arg, int64_t tags_code)
{
	return tag_filter_passes(arg, tags_code);
}

struct store_filter
tag_filter_for_store(const struct tag_filter *f)
{
	if (f->all)
		return (struct store_filter){NULL, NULL, NULL};
	return (struct store_filter){passes_code, NULL, (void *)(uintptr_t)f};
}

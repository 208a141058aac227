/*
 * filter_tag: which messages a subscription lets through.
 *
 * Runs in:    the broker process.
 * Must not:   look at the tag's text: clients compare it again, so a foreign message is harmless and a missing one is not.
 */
#include "workers/broker/filter_tag.h"

struct tag_filter
tag_filter_of(const struct subscription *s)
{
	return (struct tag_filter){.all = s->all || s->class_filter, .count = s->code_count, .codes = s->codes};
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

/* Where the message's own filter is gone, it passes. */
static const struct sql_filter *
filter_of_message(const struct tag_filter *f, struct slice props)
{
	const struct group_filter *own;

	if (f->retried == NULL)
		return f->sql;
	own = filters_find(f->retried, props_get(props, "RETRY_TOPIC"), f->group);
	return own != NULL ? own->sql : NULL;
}

bool
tag_filter_passes_props(const struct tag_filter *f, struct slice props)
{
	const struct sql_filter *sql = filter_of_message(f, props);

	return sql == NULL || sql_filter_passes(sql, props);
}

static bool
passes_code(void *arg, int64_t tags_code)
{
	return tag_filter_passes(arg, tags_code);
}

static bool
passes_props(void *arg, struct slice props)
{
	return tag_filter_passes_props(arg, props);
}

struct store_filter
tag_filter_for_store(const struct tag_filter *f)
{
	return (struct store_filter){
	    .by_code = f->all ? NULL : passes_code,
	    .by_props = f->sql != NULL || f->retried != NULL ? passes_props : NULL,
	    .arg = (void *)(uintptr_t)f,
	};
}

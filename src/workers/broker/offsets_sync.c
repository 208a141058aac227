/*
 * offsets_sync: consumed offsets between master and slave: what changed, and merging it.
 *
 * Runs in:    the broker process.
 * Must not:   move an offset back because the other side knows less.
 * If it dies: the clock of changes begins anew and the slave asks for the whole table.
 */
#include "workers/broker/offsets_int.h"

uint64_t
offsets_clock(const struct offsets *o)
{
	return o->clock;
}

/* ---- what is noted while it happens */

void
offsets_note_own(struct offsets *o, struct offset_entry *e, int32_t id)
{
	if (e->own == NULL)
		e->own = offsets_grow_array(NULL, 0, e->slots);
	e->own[id] = e->offset[id];
	o->owns = true;
}

static char *
text_or_null(struct slice s)
{
	return s.n > 0 ? xslicedup(s) : NULL;
}

static void
free_gone(struct offsets_gone *g)
{
	free(g->group);
	free(g->topic);
	*g = (struct offsets_gone){0};
}

void
offsets_note_gone(struct offsets *o, struct slice group, struct slice topic)
{
	struct offsets_gone *g = &o->gone[o->gone_count++ % OFFSETS_GONE_MAX];

	free_gone(g);
	*g = (struct offsets_gone){++o->clock, text_or_null(group), text_or_null(topic)};
}

void
offsets_forget_gone(struct offsets *o)
{
	for (size_t i = 0; i < OFFSETS_GONE_MAX; i++)
		free_gone(&o->gone[i]);
	o->gone_count = 0;
}

/* ---- the master's side */

static void
comma(struct buf *out)
{
	if (out->len > 0 && out->p[out->len - 1] != '{' && out->p[out->len - 1] != '[')
		buf_put_char(out, ',');
}

static void
put_changed(const struct offsets *o, uint64_t since, struct buf *out)
{
	buf_put_str(out, "\"offsets\":{");
	for (const struct offset_entry *e = o->newest; e != NULL && (e->changed > since || since == 0); e = e->older) {
		if (e->stored == 0)
			continue;
		comma(out);
		offsets_put_entry(e, e->offset, -1, out);
	}
	buf_put_char(out, '}');
}

static bool
any_above(const struct offset_entry *e, const int64_t *of, int64_t above)
{
	for (int32_t i = 0; of != NULL && i < e->slots; i++)
		if (of[i] > above)
			return true;
	return false;
}

/* A slave that knows nothing takes all as it is: nothing of it can be seen to have gone back. */
static void
put_back(const struct offsets *o, uint64_t since, struct buf *out)
{
	buf_put_str(out, ",\"back\":{");
	for (const struct offset_entry *e = o->newest; e != NULL && e->changed > since && since > 0; e = e->older) {
		if (!any_above(e, e->back, (int64_t)since))
			continue;
		comma(out);
		offsets_put_entry(e, e->back, (int64_t)since, out);
	}
	buf_put_char(out, '}');
}

static void
put_gone(const struct offsets *o, uint64_t since, struct buf *out)
{
	uint64_t first = o->gone_count > OFFSETS_GONE_MAX ? o->gone_count - OFFSETS_GONE_MAX : 0;

	buf_put_str(out, ",\"gone\":[");
	for (uint64_t n = first; n < o->gone_count && since > 0; n++) {
		const struct offsets_gone *g = &o->gone[n % OFFSETS_GONE_MAX];

		if (g->at <= since)
			continue;
		comma(out);
		buf_put_str(out, "{\"group\":");
		buf_put_json(out, slice_of(g->group != NULL ? g->group : ""));
		buf_put_str(out, ",\"topic\":");
		buf_put_json(out, slice_of(g->topic != NULL ? g->topic : ""));
		buf_put_char(out, '}');
	}
	buf_put_char(out, ']');
}

/* All of them: there are few, and an absent one has been taken. */
static void
put_pending(const struct offsets *o, struct buf *out)
{
	buf_put_str(out, ",\"pending\":{");
	for (const struct offset_entry *e = o->newest; e != NULL && o->resets > 0; e = e->older) {
		if (!any_above(e, e->reset, -1))
			continue;
		comma(out);
		offsets_put_entry(e, e->reset, -1, out);
	}
	buf_put_char(out, '}');
}

void
offsets_put_changes(struct offsets *o, uint64_t since, struct buf *out)
{
	put_changed(o, since, out);
	put_back(o, since, out);
	put_gone(o, since, out);
	if (o->resets_at > since || since == 0)
		put_pending(o, out);
	offsets_put_log_mark(o, out);
}

/* ---- the slave's side */

typedef void take_one(struct offsets *o, struct offset_entry *e, int32_t id, int64_t offset);

static void
take_queues(struct offsets *o, const char *key, const json_t *queues, take_one *take)
{
	struct slice group, topic;
	const char *number;
	json_t *v;

	if (!offsets_read_key(key, &group, &topic))
		return;
	json_object_foreach ((json_t *)(uintptr_t)queues, number, v) {
		struct offset_entry *e;
		int32_t id;

		if (str_i32(slice_of(number), &id) != RC_OK || !json_is_integer(v) || json_integer_value(v) < 0)
			continue;
		e = offsets_place(o, group, topic, id);
		if (e != NULL)
			take(o, e, id, json_integer_value(v));
	}
}

static void
take_table(struct offsets *o, const json_t *table, take_one *take)
{
	const char *key;
	json_t *queues;

	json_object_foreach ((json_t *)(uintptr_t)table, key, queues)
		take_queues(o, key, queues, take);
}

static void
forget_own(struct offsets *o, struct offset_entry *e, int32_t id, int64_t known)
{
	(void)o;
	if (e->own != NULL && e->own[id] <= known)
		e->own[id] = -1;
}

static void
take_forward(struct offsets *o, struct offset_entry *e, int32_t id, int64_t offset)
{
	forget_own(o, e, id, offset);
	if (offset > e->offset[id])
		offsets_store(o, e, id, offset);
}

/* On purpose: what a client committed here is from before it. */
static void
take_exactly(struct offsets *o, struct offset_entry *e, int32_t id, int64_t offset)
{
	forget_own(o, e, id, INT64_MAX);
	offsets_store(o, e, id, offset);
}

static void
take_reset(struct offsets *o, struct offset_entry *e, int32_t id, int64_t offset)
{
	if (e->reset == NULL)
		e->reset = offsets_grow_array(NULL, 0, e->slots);
	o->resets += e->reset[id] < 0;
	e->reset[id] = offset;
}

static void
drop_resets(struct offsets *o)
{
	for (struct offset_entry *e = o->newest; e != NULL && o->resets > 0; e = e->older)
		for (int32_t i = 0; e->reset != NULL && i < e->slots; i++) {
			o->resets -= e->reset[i] >= 0;
			e->reset[i] = -1;
		}
}

static void
take_gone(struct offsets *o, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *g = json_array_get(list, i);

		offsets_remove_topic(o, slice_of(json_get_str(g, "topic", "")));
		offsets_remove_group(o, slice_of(json_get_str(g, "group", "")));
	}
}

void
offsets_merge(struct offsets *o, const json_t *table)
{
	take_table(o, table, take_forward);
}

void
offsets_take_changes(struct offsets *o, const json_t *changes)
{
	const json_t *pending = json_object_get(changes, "pending");

	take_gone(o, json_object_get(changes, "gone"));
	take_table(o, json_object_get(changes, "back"), take_exactly);
	offsets_merge(o, json_object_get(changes, "offsets"));
	o->loaded_mark = json_get_i64(changes, "popLogOffset", o->loaded_mark);
	if (pending == NULL)
		return;
	drop_resets(o);
	take_table(o, pending, take_reset);
}

/* ---- what clients committed at a slave */

bool
offsets_put_own(struct offsets *o, struct buf *out)
{
	bool any = false;

	if (LIKELY(!o->owns))
		return false;
	buf_put_char(out, '{');
	for (const struct offset_entry *e = o->newest; e != NULL; e = e->older) {
		if (!any_above(e, e->own, -1))
			continue;
		comma(out);
		offsets_put_entry(e, e->own, -1, out);
		any = true;
	}
	buf_put_char(out, '}');
	o->owns = any;
	return any;
}

void
offsets_own_told(struct offsets *o, const json_t *table)
{
	take_table(o, table, forget_own);
}

/*
 * topic_attrs: attributes of topics.
 *
 * The sentences are the original's: mqadmin and the dashboard show them.
 */
#include "workers/broker/topic_attrs.h"

#include "common/str.h"

struct attr {
	const char	*name;
	bool		 changeable;
	const char	*values;	/* blank-separated; NULL: a number from min to INT64_MAX */
	const char	*shown;		/* in the refusal */
	int64_t		 min;
};

static const struct attr known[] = {
    {"queue.type", false, "BatchCQ SimpleCQ", "[BatchCQ, SimpleCQ]", 0},
    {"cleanup.policy", false, "DELETE COMPACTION", "[COMPACTION, DELETE]", 0},
    {"message.type", true, "UNSPECIFIED TRANSACTION FIFO MIXED DELAY NORMAL",
     "[UNSPECIFIED, TRANSACTION, FIFO, MIXED, DELAY, NORMAL]", 0},
    {"reserve.time", true, NULL, NULL, -1},
};

static const struct attr *
attr_find(struct slice name)
{
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (slice_is(name, known[i].name))
			return &known[i];
	return NULL;
}

static enum rc
check_number(const struct attr *a, struct slice value, struct err *e)
{
	int64_t v;

	if (str_i64(value, &v) != RC_OK) {
		err_set(e, "For input string: \"%.*s\"", (int)value.n, value.p);
		return RC_INVAL;
	}
	if (v < a->min) {
		err_set(e, "value is not in range(%lld, %lld)", (long long)a->min, (long long)INT64_MAX);
		return RC_INVAL;
	}
	return RC_OK;
}

static enum rc
check_value(const struct attr *a, struct slice value, struct err *e)
{
	struct slice rest = slice_of(a->values), piece;

	if (a->values == NULL)
		return check_number(a, value, e);
	while (str_next(&rest, ' ', &piece))
		if (slice_eq(piece, value))
			return RC_OK;
	err_set(e, "value is not in set: %s", a->shown);
	return RC_INVAL;
}

/* One piece of the change: sign, name, value. */
struct step {
	bool		plus;
	struct slice	name, value;
};

static enum rc
fault(struct err *e, const char *what, struct slice about)
{
	err_set(e, "%s%.*s", what, (int)about.n, about.n ? about.p : "");
	return RC_INVAL;
}

static enum rc
parse_step(struct slice piece, struct step *s, struct err *e)
{
	const char *eq = memchr(piece.p, '=', piece.n);
	struct slice key = piece;

	s->value = SLICE_NONE;
	if (eq != NULL) {
		key.n = (size_t)(eq - piece.p);
		s->value = (struct slice){eq + 1, piece.n - key.n - 1};
	}
	s->plus = eq != NULL;
	if (eq != NULL && !slice_starts(key, "+"))
		return fault(e, "add/alter attribute format is wrong: ", key);
	if (eq == NULL && !slice_starts(key, "-"))
		return fault(e, "delete attribute format is wrong: ", key);
	s->name = (struct slice){key.p + 1, key.n - 1};
	if (s->name.n == 0)
		return fault(e, "kv string format wrong.", SLICE_NONE);
	return RC_OK;
}

static enum rc
check_step(const struct step *s, const json_t *current, struct err *e)
{
	const struct attr *a = attr_find(s->name);

	if (!s->plus && current == NULL)
		return fault(e, "only add attribute is supported while creating topic. key: ", s->name);
	if (!s->plus && json_object_getn(current, s->name.p, s->name.n) == NULL)
		return fault(e, "attempt to delete a nonexistent key: ", s->name);
	if (a == NULL)
		return fault(e, "unsupported key: ", s->name);
	if (current != NULL && !a->changeable)
		return fault(e, "attempt to update an unchangeable attribute. key: ", s->name);
	if (s->plus && slice_is(s->name, "queue.type") && slice_is(s->value, "BatchCQ"))
		return fault(e, "queue.type=BatchCQ is not supported by this broker: batches get a queue entry for each message, as with SimpleCQ",
		    SLICE_NONE);
	return s->plus ? check_value(a, s->value, e) : RC_OK;
}

static enum rc
apply(struct slice piece, const json_t *current, json_t *seen, json_t *result, struct err *e)
{
	struct step s;
	enum rc rc = parse_step(piece, &s, e);

	if (rc == RC_OK && json_object_getn(seen, s.name.p, s.name.n) != NULL)
		rc = fault(e, "key duplication: +", s.name);
	if (rc == RC_OK)
		rc = check_step(&s, current, e);
	if (rc != RC_OK)
		return rc;
	json_object_setn_new(seen, s.name.p, s.name.n, json_true());
	if (s.plus)
		json_object_setn_new(result, s.name.p, s.name.n, json_stringn(s.value.p, s.value.n));
	else
		json_object_deln(result, s.name.p, s.name.n);
	return RC_OK;
}

enum rc
topic_attrs_alter(const json_t *current, struct slice change, json_t **out, struct err *e)
{
	json_t *result = current != NULL ? json_deep_copy(current) : json_object();
	json_t *seen = json_object();
	struct slice piece;
	enum rc rc = RC_OK;

	while (rc == RC_OK && str_next(&change, ',', &piece))
		if (piece.n > 0)
			rc = apply(piece, current, seen, result, e);
	json_decref(seen);
	if (rc != RC_OK) {
		json_decref(result);
		result = NULL;
	}
	*out = result;
	return rc;
}

void
topic_attrs_change_text(const json_t *change, struct buf *out)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)change, key, value) {
		if (out->len > 0)
			buf_put_char(out, ',');
		buf_put_str(out, key);
		if (*key != '-') {
			buf_put_char(out, '=');
			buf_put_str(out, json_is_string(value) ? json_string_value(value) : "");
		}
	}
}

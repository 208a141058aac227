/*
 * subscription: what a group wants of a topic: the part of clients.h that knows nothing of connections.
 */
#include "common/message.h"
#include "workers/broker/clients.h"

const char *const consume_type_names[3] = {"CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"};
const char *const message_model_names[2] = {"BROADCASTING", "CLUSTERING"};
const char *const consume_from_names[6] = {"CONSUME_FROM_LAST_OFFSET", "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET", "CONSUME_FROM_MAX_OFFSET", "CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_TIMESTAMP"};

/* Cuts the next tag off *rest: parted by ||, blanks around it taken off, empty ones passed over. */
static bool
next_tag(struct slice *rest, struct slice *tag)
{
	while (rest->n > 0) {
		const char *bar = memmem(rest->p, rest->n, "||", 2);
		size_t n = bar != NULL ? (size_t)(bar - rest->p) : rest->n;
		size_t skip = bar != NULL ? n + 2 : n;

		*tag = str_trim((struct slice){rest->p, n});
		rest->p += skip;
		rest->n -= skip;
		if (tag->n > 0)
			return true;
	}
	return false;
}

static bool
is_tag_type(struct slice type)
{
	return type.n == 0 || slice_is(type, "TAG");
}

static struct subscription *
make_plain(struct slice topic, struct slice text, struct slice type, int64_t version)
{
	struct subscription *s = xcalloc(1, sizeof *s);

	s->topic = (struct slice){xslicedup(topic), topic.n};
	s->text = xslicedup(text);
	s->expression_type = is_tag_type(type) ? xstrdup("TAG") : xslicedup(type);
	s->version = version;
	return s;
}

static void
add_code(struct subscription *s, int32_t code)
{
	for (unsigned i = 0; i < s->code_count; i++)
		if (s->codes[i] == code)
			return;
	s->codes = xrealloc(s->codes, (s->code_count + 1) * sizeof *s->codes);
	s->codes[s->code_count++] = code;
}

static void
add_codes_of_text(struct subscription *s)
{
	struct slice rest = slice_of(s->text), tag;

	while (next_tag(&rest, &tag))
		add_code(s, str_java_hash(tag));
}

enum rc
subscription_make(struct slice topic, struct slice text, struct slice type, int64_t version, struct subscription **out)
{
	struct subscription *s;

	if (is_tag_type(type) && text.n == 0)
		text = SLICE_LIT("*");
	s = *out = make_plain(topic, text, type, version);
	if (!is_tag_type(type))
		return RC_OK;
	s->all = slice_is(text, "*");
	if (!s->all)
		add_codes_of_text(s);
	if (s->all || s->code_count > 0)
		return RC_OK;
	subscription_free(out);
	return RC_INVAL;
}

void
subscription_free(struct subscription **sp)
{
	struct subscription *s = *sp;

	if (s == NULL)
		return;
	free((char *)s->topic.p);
	free(s->text);
	free(s->expression_type);
	free(s->codes);
	free(s);
	*sp = NULL;
}

/* The Go client sends its codes as text. */
static int32_t
code_from_json(const json_t *code)
{
	int32_t v = (int32_t)json_integer_value(code);

	if (json_is_string(code) && str_i32(slice_of(json_string_value(code)), &v) != RC_OK)
		return 0;
	return v;
}

struct subscription *
subscription_from_json(const json_t *o)
{
	struct slice topic = slice_of(json_get_str(o, "topic", ""));
	struct slice text = slice_of(json_get_str(o, "subString", "*"));
	struct slice type = slice_of(json_get_str(o, "expressionType", "TAG"));
	const json_t *codes = json_object_get(o, "codeSet");
	struct subscription *s;

	if (topic.n == 0 || subscription_make(topic, text, type, json_get_i64(o, "subVersion", 0), &s) != RC_OK)
		return NULL;
	s->class_filter = json_get_bool(o, "classFilterMode", false);
	/* The client's own codes count; they are the text's codes unless the client computes them in another way. */
	if (!s->all && json_array_size(codes) > 0) {
		s->code_count = 0;
		for (size_t i = 0; i < json_array_size(codes); i++)
			add_code(s, code_from_json(json_array_get(codes, i)));
	}
	return s;
}

bool
subscription_matches_code(const struct subscription *s, int64_t tags_code)
{
	if (s->all || s->class_filter)
		return true;
	for (unsigned i = 0; i < s->code_count; i++)
		if (s->codes[i] == tags_code)
			return true;
	return false;
}

static void
put_tags(const struct subscription *s, struct buf *out)
{
	struct slice rest = slice_of(s->text), tag;
	bool first = true;

	if (s->all || strcmp(s->expression_type, "TAG") != 0)
		return;
	while (next_tag(&rest, &tag)) {
		if (!first)
			buf_put_char(out, ',');
		first = false;
		buf_put_json(out, tag);
	}
}

void
subscription_put_json(const struct subscription *s, struct buf *out)
{
	buf_printf(out, "{\"classFilterMode\":%s,\"codeSet\":[", s->class_filter ? "true" : "false");
	for (unsigned i = 0; i < s->code_count; i++)
		buf_printf(out, "%s%d", i > 0 ? "," : "", s->codes[i]);
	buf_put_str(out, "],\"expressionType\":");
	buf_put_json(out, slice_of(s->expression_type));
	buf_put_str(out, ",\"subString\":");
	buf_put_json(out, slice_of(s->text));
	buf_printf(out, ",\"subVersion\":%lld,\"tagsSet\":[", (long long)s->version);
	put_tags(s, out);
	buf_put_str(out, "],\"topic\":");
	buf_put_json(out, s->topic);
	buf_put_char(out, '}');
}

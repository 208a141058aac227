/*
 * command: reading one frame, and the getters of its ext fields.
 *
 * Nothing here allocates; every length from the wire is compared with what is there before it is used.
 */
#include "remoting/command.h"

#include <stdlib.h>

#include "common/mem.h"
#include "common/str.h"
#include "remoting/header.h"

static const char *const language_names[LANGUAGES] = {"JAVA",   "CPP",  "DOTNET", "PYTHON", "DELPHI",
						      "ERLANG", "RUBY", "OTHER",  "HTTP",   "GO",
						      "PHP",    "OMS",  "RUST",   "NODE_JS"};

const char *
language_name(int language)
{
	if (language < 0 || language >= LANGUAGES)
		return "OTHER";
	return language_names[language];
}

/* Says what a person may have sent to our port instead of a frame. */
static const char *
not_a_frame(const char *p)
{
	if (p[0] == 0x16)
		return " (it looks like TLS, which is not enabled)";
	if (memcmp(p, "GET ", 4) == 0 || memcmp(p, "POST", 4) == 0 || memcmp(p, "HEAD", 4) == 0)
		return " (it looks like HTTP)";
	return "";
}

enum rc
frame_length(const char *p, size_t n, size_t *total, struct err *e)
{
	uint32_t rest;

	if (n < 4)
		return RC_AGAIN;
	rest = be32_get(p);
	if (rest < 4) {
		err_set(e, "frame length %u is too small for a header length", rest);
		return RC_BADDATA;
	}
	if (rest > FRAME_MAX - 4) {
		err_set(e, "frame length %u is over the limit of %u bytes%s", rest, FRAME_MAX - 4, not_a_frame(p));
		return RC_LIMIT;
	}
	*total = (size_t)rest + 4;
	return RC_OK;
}

static void
command_clear(struct command *c)
{
	memset(c, 0, offsetof(struct command, fields));
}

enum rc
command_decode(struct command *c, char *p, size_t total, struct err *e)
{
	size_t header;
	uint32_t mark;

	command_clear(c);
	if (total < FRAME_PREFIX) {
		err_set(e, "frame of %zu bytes has no room for a header", total);
		return RC_BADDATA;
	}
	mark = be32_get(p + 4);
	header = mark & 0xffffff;
	if (header > total - FRAME_PREFIX) {
		err_set(e, "header length %zu is beyond the frame of %zu bytes", header, total);
		return RC_BADDATA;
	}
	if (header > HEADER_MAX) {
		err_set(e, "header length %zu is over the limit of %u bytes", header, HEADER_MAX);
		return RC_LIMIT;
	}
	c->body.n = total - FRAME_PREFIX - header;
	c->body.p = c->body.n ? p + FRAME_PREFIX + header : NULL;
	switch (mark >> 24) {
	case CODEC_JSON:
		c->codec = CODEC_JSON;
		return header_json_decode(c, p + FRAME_PREFIX, header, e);
	case CODEC_ROCKETMQ:
		c->codec = CODEC_ROCKETMQ;
		return header_bin_decode(c, p + FRAME_PREFIX, header, e);
	default:
		err_set(e, "header codec %u is unknown", mark >> 24);
		return RC_BADDATA;
	}
}

static struct slice
find_field(const struct command *c, const char *name, size_t n)
{
	for (unsigned i = c->field_count; i-- > 0;) {
		const struct field *f = &c->fields[i];

		if (f->name.n == n && memcmp(f->name.p, name, n) == 0)
			return f->value.n ? f->value : SLICE_NONE;
	}
	return SLICE_NONE;
}

struct slice
field_get(const struct command *c, const char *name)
{
	unsigned at;

	if (name[0] >= 'a' && name[0] <= 'z' && name[1] == '\0') {
		at = c->by_letter[name[0] - 'a'];
		return at && c->fields[at - 1].value.n ? c->fields[at - 1].value : SLICE_NONE;
	}
	return find_field(c, name, strlen(name));
}

/* Numbers of up to 18 digits need no check for overflow; the rest takes the long way. */
static enum rc
value_i64(struct slice s, int64_t *v)
{
	int64_t x = 0;

	if (s.n == 0 || s.n > 18)
		return str_i64(s, v);
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - '0';

		if (d > 9)
			return str_i64(s, v);
		x = x * 10 + d;
	}
	*v = x;
	return RC_OK;
}

enum rc
field_need_i64(const struct command *c, const char *name, int64_t *v)
{
	struct slice s = field_get(c, name);

	if (s.n == 0)
		return RC_NOTFOUND;
	return value_i64(s, v);
}

enum rc
field_need_i32(const struct command *c, const char *name, int32_t *v)
{
	int64_t x;
	enum rc rc = field_need_i64(c, name, &x);

	if (rc != RC_OK)
		return rc;
	if (x < INT32_MIN || x > INT32_MAX)
		return RC_INVAL;
	*v = (int32_t)x;
	return RC_OK;
}

int32_t
field_i32(const struct command *c, const char *name, int32_t dflt)
{
	int32_t v;

	return field_need_i32(c, name, &v) == RC_OK ? v : dflt;
}

int64_t
field_i64(const struct command *c, const char *name, int64_t dflt)
{
	int64_t v;

	return field_need_i64(c, name, &v) == RC_OK ? v : dflt;
}

bool
field_bool(const struct command *c, const char *name, bool dflt)
{
	struct slice s = field_get(c, name);

	return s.n ? str_bool(s) : dflt;
}

void
request_id_of(struct request_id *id, const struct command *c)
{
	id->opaque = c->opaque;
	id->code = c->code;
	id->version = c->version;
	id->language = c->language;
	id->codec = (uint8_t)c->codec;
	id->oneway = command_is_oneway(c);
}

/* ---- copies */

static size_t
bytes_of(const struct command *c)
{
	size_t n = c->remark.n + c->body.n;

	for (unsigned i = 0; i < c->field_count; i++)
		n += c->fields[i].name.n + c->fields[i].value.n;
	return n;
}

static void
move_text(struct slice *s, char **room)
{
	if (s->n > 0)
		memcpy(*room, s->p, s->n);
	s->p = s->p != NULL ? *room : NULL;
	*room += s->n;
}

struct command *
command_copy(const struct command *c)
{
	size_t head = offsetof(struct command, fields) + c->field_count * sizeof(struct field);
	struct command *to = xmalloc(head + bytes_of(c) + 1);
	char *room = (char *)to + head;

	memcpy(to, c, head);
	move_text(&to->remark, &room);
	move_text(&to->body, &room);
	for (unsigned i = 0; i < to->field_count; i++) {
		move_text(&to->fields[i].name, &room);
		move_text(&to->fields[i].value, &room);
	}
	return to;
}

void
command_free(struct command **c)
{
	free(*c);
	*c = NULL;
}

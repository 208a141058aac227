/*
 * check_command: what must hold of each decoded command, whichever the codec.
 */
#ifndef T_FUZZ_CHECK_COMMAND_H
#define T_FUZZ_CHECK_COMMAND_H

#include "common/mem.h"
#include "common/str.h"
#include "fuzz.h"
#include "remoting/command.h"

static inline void
check_inside(const struct command *c, const char *frame, size_t total)
{
	must(c->field_count <= FIELDS_MAX);
	must(fuzz_within(c->remark, frame, total));
	must(fuzz_within(c->body, frame, total));
	for (unsigned i = 0; i < c->field_count; i++) {
		must(fuzz_within(c->fields[i].name, frame, total));
		must(fuzz_within(c->fields[i].value, frame, total));
	}
}

static inline void
check_getters(const struct command *c)
{
	for (unsigned i = 0; i < c->field_count; i++) {
		struct slice n = c->fields[i].name, found;
		char *name = xslicedup(n);
		int64_t v;

		if (strlen(name) == n.n) {
			found = field_get(c, name);
			must(found.n == 0 || found.p >= c->fields[i].value.p || c->codec == CODEC_JSON);
			if (field_need_i64(c, name, &v) == RC_OK)
				must(field_i64(c, name, v ^ 1) == v);
			field_i32(c, name, 0);
			field_bool(c, name, false);
		}
		free(name);
	}
}

/* Names that we would write: text without characters that need an escape. */
static inline bool
writable_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
			return false;
	return s.n > 0 && s.n < 1000;
}

/* What is written from a command reads back as the same. */
static inline void
check_round_trip(const struct command *c, enum codec codec)
{
	struct request_id id;
	struct frame_out f;
	struct buf b = {0};
	struct command *back = xmalloc(sizeof(*back));
	struct err e;
	unsigned n = 0;

	request_id_of(&id, c);
	id.codec = (uint8_t)codec;
	frame_begin_response(&f, &b, &id, 1);
	frame_remark(&f, c->remark);
	for (unsigned i = 0; i < c->field_count; i++) {
		char *name = xslicedup(c->fields[i].name);

		if (writable_name(c->fields[i].name))
			frame_field(&f, name, c->fields[i].value);
		free(name);
	}
	frame_end(&f, 0);
	if (b.failed || b.len > HEADER_MAX)
		goto out;
	must(command_decode(back, b.p, b.len, &e) == RC_OK);
	must(back->opaque == c->opaque);
	if (codec == CODEC_ROCKETMQ || str_is_utf8(c->remark))
		must(slice_eq(back->remark, c->remark));
	for (unsigned i = 0; i < c->field_count; i++) {
		if (!writable_name(c->fields[i].name))
			continue;
		must(n < back->field_count);
		must(slice_eq(back->fields[n].name, c->fields[i].name));
		if (codec == CODEC_ROCKETMQ || str_is_utf8(c->fields[i].value))
			must(slice_eq(back->fields[n].value, c->fields[i].value));
		n++;
	}
	must(n == back->field_count);
out:
	free(back);
	buf_free(&b);
}

/* One header as a frame of its own. */
static inline void
fuzz_header(enum codec codec, const uint8_t *data, size_t size)
{
	struct command *c = xmalloc(sizeof(*c));
	size_t total = FRAME_PREFIX + size;
	char *frame = xmalloc(total);
	struct err e = {""};

	be32_put(frame, (uint32_t)(total - 4));
	be32_put(frame + 4, (uint32_t)codec << 24 | (uint32_t)size);
	if (size)
		memcpy(frame + FRAME_PREFIX, data, size);
	if (command_decode(c, frame, total, &e) == RC_OK) {
		check_inside(c, frame, total);
		check_getters(c);
		check_round_trip(c, CODEC_JSON);
		check_round_trip(c, CODEC_ROCKETMQ);
	} else {
		must(e.text[0] != '\0');
	}
	free(frame);
	free(c);
}

#endif

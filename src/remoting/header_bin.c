/*
 * header_bin: the ROCKETMQ codec of a header: fixed part of 21 bytes, remark, ext entries.
 *
 *	2 code, 1 language, 2 version, 4 opaque, 4 flag, 4 remark length, remark, 4 ext length,
 *	then entries: 2 name length, name, 4 value length, value
 */
#include "remoting/header.h"

#define BIN_FIXED     21
#define BIN_TO_REMARK 13 /* bytes before the remark's length */

/* Takes n bytes off *s. False: they are not there. */
static bool
take(struct slice *s, size_t n, struct slice *out)
{
	if (n > s->n)
		return false;
	*out = (struct slice){s->p, n};
	s->p += n;
	s->n -= n;
	return true;
}

static bool
take_len32(struct slice *s, struct slice *out)
{
	struct slice len;

	return take(s, 4, &len) && take(s, be32_get(len.p), out);
}

static bool
take_len16(struct slice *s, struct slice *out)
{
	struct slice len;

	return take(s, 2, &len) && take(s, be16_get(len.p), out);
}

static enum rc
decode_fields(struct command *c, struct slice ext, struct err *e)
{
	struct slice name, value;

	while (ext.n > 0) {
		if (!take_len16(&ext, &name) || !take_len32(&ext, &value)) {
			err_set(e, "binary header: field %u is longer than the ext fields", c->field_count);
			return RC_BADDATA;
		}
		if (header_add_field(c, name, value) != RC_OK) {
			err_set(e, "binary header: more than %d fields", FIELDS_MAX);
			return RC_LIMIT;
		}
	}
	return RC_OK;
}

enum rc
header_bin_decode(struct command *c, const char *p, size_t n, struct err *e)
{
	struct slice rest, ext;

	if (n < BIN_FIXED) {
		err_set(e, "binary header of %zu bytes is shorter than its fixed part of %d", n, BIN_FIXED);
		return RC_BADDATA;
	}
	c->code = (int16_t)be16_get(p);
	c->language = (uint8_t)p[2];
	c->version = (int16_t)be16_get(p + 3);
	c->opaque = (int32_t)be32_get(p + 5);
	c->flag = (int32_t)be32_get(p + 9);
	rest = (struct slice){p + BIN_TO_REMARK, n - BIN_TO_REMARK};
	if (!take_len32(&rest, &c->remark)) {
		err_set(e, "binary header: the remark is longer than the header");
		return RC_BADDATA;
	}
	if (!take_len32(&rest, &ext)) {
		err_set(e, "binary header: the ext fields are longer than the header");
		return RC_BADDATA;
	}
	if (c->remark.n == 0)
		c->remark = SLICE_NONE;
	return decode_fields(c, ext, e);
}

void
header_bin_begin(struct frame_out *f, int code, int flag, int32_t opaque)
{
	char *p = buf_room(f->b, FRAME_PREFIX + BIN_TO_REMARK);

	ensure(code >= INT16_MIN && code <= INT16_MAX);
	if (p == NULL)
		return;
	memset(p, 0, FRAME_PREFIX);
	p += FRAME_PREFIX;
	be16_put(p, (uint16_t)code);
	p[2] = LANG_JAVA;
	be16_put(p + 3, REMOTING_VERSION);
	be32_put(p + 5, (uint32_t)opaque);
	be32_put(p + 9, (uint32_t)flag);
	f->b->len += FRAME_PREFIX + BIN_TO_REMARK;
}

void
header_bin_remark(struct frame_out *f, struct slice text)
{
	buf_put_be32(f->b, (uint32_t)text.n);
	buf_put_slice(f->b, text);
}

/* Before the first field, or at the end of a header that has none. */
static void
begin_fields(struct frame_out *f)
{
	if (!f->remark_done)
		buf_put_be32(f->b, 0);
	f->fields_at = f->b->len;
	buf_put_be32(f->b, 0);
}

void
header_bin_field(struct frame_out *f, const char *name, struct slice value)
{
	size_t n = strlen(name);

	if (f->fields == 0)
		begin_fields(f);
	buf_put_be16(f->b, (uint16_t)n);
	buf_put(f->b, name, n);
	buf_put_be32(f->b, (uint32_t)value.n);
	buf_put_slice(f->b, value);
}

void
header_bin_end(struct frame_out *f)
{
	if (f->fields == 0)
		begin_fields(f);
	if (!f->b->failed)
		be32_put(f->b->p + f->fields_at, (uint32_t)(f->b->len - f->fields_at - 4));
}

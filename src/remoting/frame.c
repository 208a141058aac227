/*
 * frame: writing one frame into a buf, whichever the codec.
 */
#include "remoting/header.h"

static void
frame_begin(struct frame_out *f, struct buf *b, enum codec codec, int code, int flag, int32_t opaque)
{
	*f = (struct frame_out){.b = b, .start = b->len, .codec = codec};
	if (codec == CODEC_JSON)
		header_json_begin(f, code, flag, opaque);
	else
		header_bin_begin(f, code, flag, opaque);
}

void
frame_begin_response(struct frame_out *f, struct buf *b, const struct request_id *id, int code)
{
	frame_begin(f, b, (enum codec)id->codec, code, FLAG_RESPONSE, id->opaque);
}

void
frame_begin_request(struct frame_out *f, struct buf *b, enum codec codec, int code, int32_t opaque, bool oneway)
{
	frame_begin(f, b, codec, code, oneway ? FLAG_ONEWAY : 0, opaque);
}

void
frame_remark(struct frame_out *f, struct slice text)
{
	ensure(!f->remark_done && f->fields == 0);
	if (text.n == 0)
		return;
	f->remark_done = true;
	if (f->codec == CODEC_JSON)
		header_json_remark(f, text);
	else
		header_bin_remark(f, text);
}

void
frame_field(struct frame_out *f, const char *name, struct slice value)
{
	if (f->codec == CODEC_JSON)
		header_json_field(f, name, value);
	else
		header_bin_field(f, name, value);
	f->fields++;
}

void
frame_field_i64(struct frame_out *f, const char *name, int64_t value)
{
	char text[24];
	char *end = text + sizeof(text), *p = end;
	uint64_t u = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (value < 0)
		*--p = '-';
	if (f->codec == CODEC_JSON) {
		header_json_field_plain(f, name, p, (size_t)(end - p));
		f->fields++;
	} else {
		frame_field(f, name, (struct slice){p, (size_t)(end - p)});
	}
}

void
frame_field_bool(struct frame_out *f, const char *name, bool value)
{
	frame_field(f, name, value ? SLICE_LIT("true") : SLICE_LIT("false"));
}

void
frame_end(struct frame_out *f, size_t body_len)
{
	size_t header;

	if (f->codec == CODEC_JSON)
		header_json_end(f);
	else
		header_bin_end(f);
	if (f->b->failed)
		return;
	header = f->b->len - f->start - FRAME_PREFIX;
	if (header > 0xffffff || header + body_len > FRAME_MAX - FRAME_PREFIX) {
		f->b->failed = true;
		return;
	}
	be32_put(f->b->p + f->start, (uint32_t)(4 + header + body_len));
	be32_put(f->b->p + f->start + 4, (uint32_t)f->codec << 24 | (uint32_t)header);
}

/*
 * header_json_out: writes the JSON codec of a header.
 *
 * Ext values are written as JSON strings only: the C++ client reads nothing else.
 */
#include "remoting/header.h"
#include "remoting/json_scan.h"

static char *
put_text(char *w, const char *s, size_t n)
{
	memcpy(w, s, n);
	return w + n;
}

#define PUT_LIT(w, s) put_text(w, s, sizeof(s) - 1)

static char *
put_number(char *w, int32_t v)
{
	char text[12];
	char *end = text + sizeof(text), *p = end;
	uint32_t u = v < 0 ? -(uint32_t)v : (uint32_t)v;

	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (v < 0)
		*--p = '-';
	return put_text(w, p, (size_t)(end - p));
}

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)
#define BEGIN_ROOM    192 /* prefix, the constant text and three numbers */

void
header_json_begin(struct frame_out *f, int code, int flag, int32_t opaque)
{
	char *p = buf_room(f->b, BEGIN_ROOM), *w = p;

	if (p == NULL)
		return;
	memset(w, 0, FRAME_PREFIX);
	w = PUT_LIT(w + FRAME_PREFIX, "{\"code\":");
	w = put_number(w, code);
	w = PUT_LIT(w, ",\"flag\":");
	w = put_number(w, flag);
	w = PUT_LIT(w, ",\"language\":\"JAVA\",\"opaque\":");
	w = put_number(w, opaque);
	w = PUT_LIT(w, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":" STRINGIFY(REMOTING_VERSION));
	f->b->len += (size_t)(w - p);
}

void
header_json_remark(struct frame_out *f, struct slice text)
{
	buf_put(f->b, ",\"remark\":", 10);
	buf_put_json(f->b, text);
}

/* True if it can stand between quotes as it is: ASCII without quote, backslash and control characters. */
static inline bool
is_plain(struct slice s)
{
	const char *p = s.p, *end = s.p + s.n;

#ifdef __SSE2__
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);

		/* a signed compare: bytes from 0x80 are below the blank too */
		if (special_mask(v) || _mm_movemask_epi8(_mm_cmplt_epi8(v, _mm_set1_epi8(' '))))
			return false;
	}
#endif
	for (; p < end; p++)
		if ((signed char)*p < ' ' || *p == '"' || *p == '\\')
			return false;
	return true;
}

void
header_json_field_plain(struct frame_out *f, const char *name, const char *value, size_t n)
{
	size_t name_len = strlen(name);
	char *p = buf_room(f->b, name_len + n + 24), *w = p;

	if (p == NULL)
		return;
	w = f->fields ? PUT_LIT(w, ",\"") : PUT_LIT(w, ",\"extFields\":{\"");
	w = put_text(w, name, name_len);
	w = PUT_LIT(w, "\":\"");
	w = put_text(w, value, n);
	*w++ = '"';
	f->b->len += (size_t)(w - p);
}

void
header_json_field(struct frame_out *f, const char *name, struct slice value)
{
	if (value.n == 0 || is_plain(value)) {
		header_json_field_plain(f, name, value.n ? value.p : "", value.n);
		return;
	}
	if (f->fields)
		buf_put(f->b, ",\"", 2);
	else
		buf_put(f->b, ",\"extFields\":{\"", 15);
	buf_put_str(f->b, name);
	buf_put(f->b, "\":", 2);
	buf_put_json(f->b, value);
}

void
header_json_end(struct frame_out *f)
{
	buf_put(f->b, "}}", f->fields ? 2 : 1);
}

/*
 * header: the two codecs of a frame's header. Inside of remoting only; others use command.h.
 */
#ifndef REMOTING_HEADER_H
#define REMOTING_HEADER_H

#include "remoting/command.h"

/* Header p[0..n) into c, whose members are zeroed. RC_BADDATA or RC_LIMIT with a sentence in e. */
enum rc	header_json_decode(struct command *c, char *p, size_t n, struct err *e) MUST_CHECK;
enum rc	header_bin_decode(struct command *c, const char *p, size_t n, struct err *e) MUST_CHECK;

/* Adds one ext field to c. An empty value is dropped: it means the same as a missing one. RC_LIMIT: FIELDS_MAX. */
static inline enum rc
header_add_field(struct command *c, struct slice name, struct slice value)
{
	if (UNLIKELY(c->field_count == FIELDS_MAX))
		return RC_LIMIT;
	c->fields[c->field_count].name = name;
	c->fields[c->field_count].value = value;
	c->field_count++;
	if (name.n == 1 && (uint8_t)(name.p[0] - 'a') < FIELD_LETTERS)
		c->by_letter[name.p[0] - 'a'] = (uint8_t)c->field_count;
	return RC_OK;
}

/* The parts of a header, in the order of frame_out. flag: FLAG_*. */
void	header_json_begin(struct frame_out *f, int code, int flag, int32_t opaque);
void	header_json_remark(struct frame_out *f, struct slice text);
void	header_json_field(struct frame_out *f, const char *name, struct slice value);
/* A value that needs no escapes. */
void	header_json_field_plain(struct frame_out *f, const char *name, const char *value, size_t n);
void	header_json_end(struct frame_out *f);

void	header_bin_begin(struct frame_out *f, int code, int flag, int32_t opaque);
void	header_bin_remark(struct frame_out *f, struct slice text);
void	header_bin_field(struct frame_out *f, const char *name, struct slice value);
void	header_bin_end(struct frame_out *f);

#endif

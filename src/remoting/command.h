/*
 * command: one remoting frame: decoded in place, encoded into a buf.
 *
 * Decoding allocates nothing: slices point into the frame, and escapes in JSON strings are resolved in place, so the
 * frame must be writable and must outlive the command. Both header codecs are read; an answer uses the codec of its
 * request.
 */
#ifndef REMOTING_COMMAND_H
#define REMOTING_COMMAND_H

#include "common/base.h"
#include "common/buf.h"
#include "remoting/codes.h"

#define FRAME_MAX	(16u << 20)	/* whole frame, length field included; as the original */
#define FRAME_PREFIX	8		/* total, codec and header length */
#define FIELDS_MAX	96		/* ext fields of one header */
#define HEADER_MAX	(1u << 20)	/* our limit for a header; the original's is the frame */
#define FIELD_LETTERS	26		/* names of one small letter are found without a search */

enum codec { CODEC_JSON = 0, CODEC_ROCKETMQ = 1 };

#define FLAG_RESPONSE	1
#define FLAG_ONEWAY	2

enum language { LANG_JAVA = 0, LANG_CPP = 1, LANG_OTHER = 7, LANG_GO = 9, LANGUAGES = 14 };
const char	*language_name(int language); /* "JAVA"; "OTHER" for numbers beyond the list */

struct field {
	struct slice	name, value;
};

struct command {
	int32_t		code, flag, opaque;
	int16_t		version;
	uint8_t		language;
	enum codec	codec;
	struct slice	remark;
	struct slice	body;
	uint8_t		by_letter[FIELD_LETTERS]; /* of the last field called "a", "b" ... : its index + 1; 0: none */
	unsigned	field_count;
	struct field	fields[FIELDS_MAX];	/* last: what is beyond field_count need not exist */
};

/*
 * How long the frame at p is, of which n bytes are there. RC_AGAIN: the length is not there yet. RC_BADDATA, RC_LIMIT: it
 * cannot be a frame: *why says so (a constant or a text in e).
 */
enum rc	frame_length(const char *p, size_t n, size_t *total, struct err *e) MUST_CHECK;
/* Decodes the whole frame p[0..total). RC_BADDATA or RC_LIMIT with a sentence in e. */
enum rc	command_decode(struct command *c, char *p, size_t total, struct err *e) MUST_CHECK;

/* A copy with all texts and the body in one block; nothing of the frame is needed any more. */
struct command	*command_copy(const struct command *c);
void	command_free(struct command **c);

static inline bool
command_is_response(const struct command *c)
{
	return c->flag & FLAG_RESPONSE;
}

static inline bool
command_is_oneway(const struct command *c)
{
	return c->flag & FLAG_ONEWAY;
}

/* Fields. The last of equal names wins. SLICE_NONE: missing. An empty value and a missing one are the same. */
struct slice	field_get(const struct command *c, const char *name);
/* The getters answer dflt when the field is missing or is no number. */
int32_t	field_i32(const struct command *c, const char *name, int32_t dflt);
int64_t	field_i64(const struct command *c, const char *name, int64_t dflt);
bool	field_bool(const struct command *c, const char *name, bool dflt);
/* RC_NOTFOUND: missing; RC_INVAL: no number. */
enum rc	field_need_i32(const struct command *c, const char *name, int32_t *v) MUST_CHECK;
enum rc	field_need_i64(const struct command *c, const char *name, int64_t *v) MUST_CHECK;

/*
 * What an answer needs to know of its request; small, so that a held request keeps this and not the frame.
 */
struct request_id {
	int32_t		opaque;
	int32_t		code;
	int16_t		version;
	uint8_t		language;
	uint8_t		codec;
	bool		oneway;
};
void	request_id_of(struct request_id *id, const struct command *c);

/*
 * Writing a frame: begin, remark at most once before the fields, fields, end. Failure sticks in the buf. body_len bytes of
 * body must follow the header in the stream: either put them into the same buf after frame_end, or send them behind it.
 */
struct frame_out {
	struct buf	*b;
	size_t		 start;		/* of the frame in b */
	size_t		 fields_at;	/* binary codec: place of the length */
	unsigned	 fields;
	enum codec	 codec;
	bool		 remark_done;
};
void	frame_begin_response(struct frame_out *f, struct buf *b, const struct request_id *id, int code);
void	frame_begin_request(struct frame_out *f, struct buf *b, enum codec codec, int code, int32_t opaque, bool oneway);
void	frame_remark(struct frame_out *f, struct slice text);
void	frame_field(struct frame_out *f, const char *name, struct slice value);
void	frame_field_i64(struct frame_out *f, const char *name, int64_t value);
void	frame_field_bool(struct frame_out *f, const char *name, bool value);
void	frame_end(struct frame_out *f, size_t body_len);

#endif

/*
 * message: one stored message, byte for byte as RocketMQ's commit log and the bodies of pull answers have it.
 *
 * Figures: commit-log record of RocketMQ 4.9 and 5.3 (doc/store.md). All integers are big-endian. The layout is fixed by
 * compatibility; it has two versions (magic), which differ in the width of the topic's length only.
 */
#ifndef COMMON_MESSAGE_H
#define COMMON_MESSAGE_H

#include "common/base.h"
#include "common/buf.h"
#include "common/sock.h"

#define MSG_MAGIC_V1	0xDAA320A7u
#define MSG_MAGIC_V2	0xDAA320ABu /* 2-byte topic length: topics over 127 bytes */
#define MSG_MAGIC_BLANK 0xCBD43194u /* the rest of this log file is filler */

/* sysFlag bits */
#define MSG_SYS_COMPRESSED	0x1
#define MSG_SYS_MULTI_TAGS	0x2
#define MSG_SYS_TRAN_MASK	0xC
#define MSG_SYS_TRAN_PREPARED	0x4
#define MSG_SYS_TRAN_COMMIT	0x8
#define MSG_SYS_TRAN_ROLLBACK	0xC
#define MSG_SYS_BORN_V6		0x10
#define MSG_SYS_STORE_V6	0x20
#define MSG_SYS_COMPRESS_TYPE	0x700

/* Where the fields stand that have a fixed place. */
#define MSG_OFF_SIZE		0
#define MSG_OFF_MAGIC		4
#define MSG_OFF_CRC		8
#define MSG_OFF_QUEUE_ID	12
#define MSG_OFF_FLAG		16
#define MSG_OFF_QUEUE_OFFSET	20
#define MSG_OFF_PHYSICAL	28
#define MSG_OFF_SYSFLAG		36
#define MSG_OFF_BORN_TIME	40
#define MSG_OFF_BORN_HOST	48

#define MSG_TOPIC_MAX		127	/* bytes; %RETRY% topics: 255 */
#define MSG_TOPIC_MAX_V2	255
#define MSG_PROPS_MAX		32767
#define MSG_SIZE_MIN		91	/* v1, IPv4, everything empty */
#define MSG_ID_TEXT		57	/* offset message id and its end: 32 or 56 characters */

/* What goes into a record. All slices are borrowed. props may come in pieces that are joined as they are. */
struct message {
	struct slice	topic;
	int32_t		queue_id, flag, sysflag, reconsume_times;
	int64_t		queue_offset, physical, born_ms, store_ms, prepared_offset;
	struct addr	born_host, store_host;
	struct slice	body;
	struct slice	props[3];
	uint32_t	body_crc;	/* after decode: as stored */
	uint32_t	size;		/* after decode: whole record */
	uint32_t	magic;
};

/* Size of the record that m makes. The caller has checked topic, body and props against their limits. */
size_t	message_size(const struct message *m);
/* Writes exactly message_size(m) bytes; computes the CRC; sets the IPv6 bits from the addresses. */
void	message_encode(const struct message *m, char *out);
/*
 * Reads the record that begins at p, of which n bytes are there. Slices point into p; props[0] holds all properties.
 * RC_BADDATA: not a whole, consistent record. RC_NOTFOUND: the blank filler (m->size = its length). check_crc: compare the body too.
 */
enum rc	message_decode(struct message *m, const char *p, size_t n, bool check_crc) MUST_CHECK;

/* The value of one property in `name 1 value 2 ...` text; the last of equal names wins; SLICE_NONE if missing or empty. */
struct slice	props_get(struct slice props, const char *name);
/* Walks the pairs; false at the end. Bad pairs are passed over by the original's rule. */
bool	props_next(struct slice *rest, struct slice *name, struct slice *value);
void	props_put(struct buf *b, const char *name, struct slice value);
/* All pairs of props but `name`. */
void	props_put_without(struct buf *b, struct slice props, const char *name);

/* Code of a tag in a consume queue: Java's hash of the text; 0 for no tag. */
int64_t	message_tags_code(struct slice tags);
/* Offset message id: upper-case hex of address, port, physical offset. Returns its length (32 or 56). */
size_t	message_id_text(const struct addr *store_host, int64_t physical, char out[MSG_ID_TEXT]);
enum rc	message_id_parse(struct slice id, struct addr *store_host, int64_t *physical) MUST_CHECK;
/*
 * A unique id as the Java client makes it (UNIQ_KEY), 32 characters and a NUL, for messages that came without one and
 * for our own tools.
 */
void	message_unique_id(char out[33]);

#endif

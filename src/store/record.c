/*
 * record: reads a record in place, with every length checked before it is used.
 */
#include "common/crc.h"
#include "common/message.h"
#include "store/record.h"

#define HEAD_BYTES  48		/* up to and without the born host */

static inline size_t
host_bytes(int32_t sysflag, int32_t v6_bit)
{
	return (sysflag & v6_bit) != 0 ? 20 : 8;
}

static bool
is_message(uint32_t magic)
{
	return magic == MSG_MAGIC_V1 || magic == MSG_MAGIC_V2;
}

bool
record_stands(const char *p, size_t n, int64_t at, uint32_t size)
{
	uint32_t total;

	if (n < MSG_SIZE_MIN)
		return false;
	total = be32_get(p + MSG_OFF_SIZE);
	return is_message(be32_get(p + MSG_OFF_MAGIC)) && total >= MSG_SIZE_MIN && total <= n &&
	    (size == 0 || total == size) && (int64_t)be64_get(p + MSG_OFF_PHYSICAL) == at;
}

int64_t
record_store_ms(const char *p)
{
	size_t born = host_bytes((int32_t)be32_get(p + MSG_OFF_SYSFLAG), MSG_SYS_BORN_V6);

	return (int64_t)be64_get(p + MSG_OFF_BORN_HOST + born);
}

int64_t
record_queue_offset(const char *p)
{
	return (int64_t)be64_get(p + MSG_OFF_QUEUE_OFFSET);
}

void
record_put_filler(char *p, uint32_t bytes_left)
{
	be32_put(p, bytes_left);
	be32_put(p + 4, MSG_MAGIC_BLANK);
}

static void
note_property(struct record *r, struct slice name, struct slice value)
{
	switch (name.n) {
	case 4:
		if (memcmp(name.p, "TAGS", 4) == 0)
			r->tags = value;
		else if (memcmp(name.p, "KEYS", 4) == 0)
			r->keys = value;
		break;
	case 5:
		if (memcmp(name.p, "DELAY", 5) == 0)
			r->delay = value;
		break;
	case 8:
		if (memcmp(name.p, "UNIQ_KEY", 8) == 0)
			r->uniq_key = value;
		break;
	}
}

static void
note_properties(struct record *r)
{
	struct slice rest = r->props, name, value;

	r->tags = r->keys = r->uniq_key = r->delay = SLICE_NONE;
	while (props_next(&rest, &name, &value))
		note_property(r, name, value);
}

/* Takes a topic of `width` bytes of length and the properties behind it; both must end where the record ends. */
static bool
take_topic_and_props(struct record *r, const char *p, size_t n, size_t width)
{
	size_t topic, props;

	if (n < width)
		return false;
	topic = width == 1 ? (uint8_t)p[0] : be16_get(p);
	if (n - width < topic + 2)
		return false;
	props = be16_get(p + width + topic);
	if (n != width + topic + 2 + props)
		return false;
	r->topic = (struct slice){p + width, topic};
	r->props = (struct slice){p + width + topic + 2, props};
	return true;
}

static bool
take_tail(struct record *r, const char *p, uint32_t magic, bool check_crc)
{
	size_t at = HEAD_BYTES + host_bytes(r->sysflag, MSG_SYS_BORN_V6);
	size_t body;

	r->store_ms = (int64_t)be64_get(p + at);
	at += 8 + host_bytes(r->sysflag, MSG_SYS_STORE_V6) + 4 + 8;
	if (at + 4 > r->size)
		return false;
	body = be32_get(p + at);
	at += 4;
	if (body > r->size - at)
		return false;
	if (check_crc && body > 0 && (crc32_of(p + at, body) & 0x7fffffffu) != be32_get(p + MSG_OFF_CRC))
		return false;
	return take_topic_and_props(r, p + at + body, r->size - at - body, magic == MSG_MAGIC_V1 ? 1 : 2);
}

enum rc
record_view(struct record *r, const char *p, size_t n, int64_t at, bool check_crc)
{
	uint32_t magic;

	if (n < RECORD_FILLER_BYTES)
		return RC_BADDATA;
	r->at = at;
	r->size = be32_get(p + MSG_OFF_SIZE);
	magic = be32_get(p + MSG_OFF_MAGIC);
	if (magic == MSG_MAGIC_BLANK) {
		r->size = (uint32_t)n;
		return RC_NOTFOUND;
	}
	if (!record_stands(p, n, at, 0))
		return RC_BADDATA;
	r->queue_id = (int32_t)be32_get(p + MSG_OFF_QUEUE_ID);
	r->queue_offset = record_queue_offset(p);
	r->physical = at;
	r->sysflag = (int32_t)be32_get(p + MSG_OFF_SYSFLAG);
	if (!take_tail(r, p, magic, check_crc))
		return RC_BADDATA;
	note_properties(r);
	return RC_OK;
}

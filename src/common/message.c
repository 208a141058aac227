/*
 * message: the record of the commit log, and the ids of messages.
 */
#include "common/message.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc.h"
#include "common/str.h"

#define CRC_MASK	0x7fffffffu /* Java keeps the CRC in a positive int */
#define V1_TOPIC_MAX	127	    /* its length is a signed byte */

static inline size_t
addr_bytes(bool v6)
{
	return v6 ? 20 : 8;
}

static inline size_t
props_bytes(const struct message *m)
{
	return m->props[0].n + m->props[1].n + m->props[2].n;
}

static inline bool
wants_v2(const struct message *m)
{
	return m->topic.n > V1_TOPIC_MAX;
}

size_t
message_size(const struct message *m)
{
	return MSG_SIZE_MIN - 16 + addr_bytes(m->born_host.v6) + addr_bytes(m->store_host.v6) + wants_v2(m) + m->body.n +
	       m->topic.n + props_bytes(m);
}

static inline char *
put_bytes(char *p, struct slice s)
{
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return p + s.n;
}

static inline char *
put_addr(char *p, const struct addr *a)
{
	size_t n = a->v6 ? 16 : 4;

	memcpy(p, a->ip, n);
	be32_put(p + n, a->port);
	return p + n + 4;
}

void
message_encode(const struct message *m, char *out)
{
	uint32_t sysflag = (uint32_t)m->sysflag & ~(uint32_t)(MSG_SYS_BORN_V6 | MSG_SYS_STORE_V6);
	bool v2 = wants_v2(m);
	char *p;

	sysflag |= (m->born_host.v6 ? MSG_SYS_BORN_V6 : 0) | (m->store_host.v6 ? MSG_SYS_STORE_V6 : 0);
	be32_put(out + MSG_OFF_SIZE, (uint32_t)message_size(m));
	be32_put(out + MSG_OFF_MAGIC, v2 ? MSG_MAGIC_V2 : MSG_MAGIC_V1);
	be32_put(out + MSG_OFF_CRC, crc32_of(m->body.p, m->body.n) & CRC_MASK);
	be32_put(out + MSG_OFF_QUEUE_ID, (uint32_t)m->queue_id);
	be32_put(out + MSG_OFF_FLAG, (uint32_t)m->flag);
	be64_put(out + MSG_OFF_QUEUE_OFFSET, (uint64_t)m->queue_offset);
	be64_put(out + MSG_OFF_PHYSICAL, (uint64_t)m->physical);
	be32_put(out + MSG_OFF_SYSFLAG, sysflag);
	be64_put(out + MSG_OFF_BORN_TIME, (uint64_t)m->born_ms);
	p = put_addr(out + MSG_OFF_BORN_HOST, &m->born_host);
	be64_put(p, (uint64_t)m->store_ms);
	p = put_addr(p + 8, &m->store_host);
	be32_put(p, (uint32_t)m->reconsume_times);
	be64_put(p + 4, (uint64_t)m->prepared_offset);
	be32_put(p + 12, (uint32_t)m->body.n);
	p = put_bytes(p + 16, m->body);
	if (v2)
		*p++ = (char)(m->topic.n >> 8);
	*p++ = (char)m->topic.n;
	p = put_bytes(p, m->topic);
	be16_put(p, (uint16_t)props_bytes(m));
	p += 2;
	for (size_t i = 0; i < COUNT_OF(m->props); i++)
		p = put_bytes(p, m->props[i]);
}

/* Reads onward within a record; what does not fit empties it and sticks. */
struct reader {
	const char	*p;
	size_t		 left;
	bool		 failed;
};

static struct slice
take(struct reader *r, size_t n)
{
	struct slice s = {r->p, n};

	if (n > r->left) {
		r->failed = true;
		r->left = 0;
		return SLICE_NONE;
	}
	r->p += n;
	r->left -= n;
	return s;
}

static uint32_t
take_u32(struct reader *r)
{
	struct slice s = take(r, 4);

	return s.p != NULL ? be32_get(s.p) : 0;
}

static int64_t
take_i64(struct reader *r)
{
	struct slice s = take(r, 8);

	return s.p != NULL ? (int64_t)be64_get(s.p) : 0;
}

static size_t
take_u16(struct reader *r)
{
	struct slice s = take(r, 2);

	return s.p != NULL ? be16_get(s.p) : 0;
}

static void
take_addr(struct reader *r, struct addr *a, bool v6)
{
	struct slice ip = take(r, v6 ? 16 : 4);

	*a = (struct addr){.v6 = v6};
	if (ip.p != NULL)
		memcpy(a->ip, ip.p, ip.n);
	a->port = (uint16_t)take_u32(r);
}

/* What stands at a fixed place; the record has at least MSG_SIZE_MIN bytes. */
static void
decode_fixed(struct message *m, const char *p)
{
	m->body_crc = be32_get(p + MSG_OFF_CRC);
	m->queue_id = (int32_t)be32_get(p + MSG_OFF_QUEUE_ID);
	m->flag = (int32_t)be32_get(p + MSG_OFF_FLAG);
	m->queue_offset = (int64_t)be64_get(p + MSG_OFF_QUEUE_OFFSET);
	m->physical = (int64_t)be64_get(p + MSG_OFF_PHYSICAL);
	m->sysflag = (int32_t)be32_get(p + MSG_OFF_SYSFLAG);
	m->born_ms = (int64_t)be64_get(p + MSG_OFF_BORN_TIME);
}

static enum rc
decode_rest(struct message *m, struct reader *r)
{
	size_t topic_len;

	take_addr(r, &m->born_host, m->sysflag & MSG_SYS_BORN_V6);
	m->store_ms = take_i64(r);
	take_addr(r, &m->store_host, m->sysflag & MSG_SYS_STORE_V6);
	m->reconsume_times = (int32_t)take_u32(r);
	m->prepared_offset = take_i64(r);
	m->body = take(r, take_u32(r));
	topic_len = m->magic == MSG_MAGIC_V2 ? take_u16(r) : (unsigned char)*(take(r, 1).p ?: "");
	m->topic = take(r, topic_len);
	m->props[0] = take(r, take_u16(r));
	m->props[1] = m->props[2] = SLICE_NONE;
	return r->failed || r->left != 0 ? RC_BADDATA : RC_OK;
}

enum rc
message_decode(struct message *m, const char *p, size_t n, bool check_crc)
{
	struct reader r;
	enum rc rc;

	if (n < MSG_OFF_CRC)
		return RC_BADDATA;
	m->size = be32_get(p + MSG_OFF_SIZE);
	m->magic = be32_get(p + MSG_OFF_MAGIC);
	if (m->magic == MSG_MAGIC_BLANK)
		return m->size >= MSG_OFF_CRC ? RC_NOTFOUND : RC_BADDATA;
	if (m->magic != MSG_MAGIC_V1 && m->magic != MSG_MAGIC_V2)
		return RC_BADDATA;
	if (m->size < MSG_SIZE_MIN || m->size > n)
		return RC_BADDATA;
	decode_fixed(m, p);
	r = (struct reader){p + MSG_OFF_BORN_HOST, m->size - MSG_OFF_BORN_HOST, false};
	rc = decode_rest(m, &r);
	if (rc == RC_OK && check_crc && m->body.n > 0 && (crc32_of(m->body.p, m->body.n) & CRC_MASK) != m->body_crc)
		return RC_BADDATA;
	return rc;
}

int64_t
message_tags_code(struct slice tags)
{
	return tags.n == 0 ? 0 : str_java_hash(tags);
}

static char *
put_hex(char *to, const void *bytes, size_t n)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++) {
		*to++ = hex[p[i] >> 4];
		*to++ = hex[p[i] & 15];
	}
	*to = '\0';
	return to;
}

size_t
message_id_text(const struct addr *store_host, int64_t physical, char out[MSG_ID_TEXT])
{
	char raw[28];
	char *p = put_addr(raw, store_host);

	be64_put(p, (uint64_t)physical);
	return (size_t)(put_hex(out, raw, (size_t)(p + 8 - raw)) - out);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum rc
message_id_parse(struct slice id, struct addr *store_host, int64_t *physical)
{
	struct addr a = {.v6 = id.n == 56};
	char raw[28];
	size_t ip = a.v6 ? 16 : 4;

	if (id.n != 32 && id.n != 56)
		return RC_INVAL;
	for (size_t i = 0; i < id.n / 2; i++) {
		int high = hex_digit(id.p[2 * i]), low = hex_digit(id.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return RC_INVAL;
		raw[i] = (char)(high << 4 | low);
	}
	if (be32_get(raw + ip) > UINT16_MAX)
		return RC_INVAL;
	memcpy(a.ip, raw, ip);
	a.port = (uint16_t)be32_get(raw + ip);
	*store_host = a;
	*physical = (int64_t)be64_get(raw + ip + 4);
	return RC_OK;
}

/* What all unique ids of this process begin with: address 4, pid 2, a number of its own 4 bytes. */
static char unique_head[21];
static uint16_t unique_counter;
static int64_t month_from_ms, month_to_ms;

/* A child of fork is another process and needs another head. */
static void
forget_head(void)
{
	unique_head[0] = '\0';
}

static void
make_head(void)
{
	static bool watching_fork;
	char ip[ADDR_TEXT], raw[10];
	struct err ignored;
	struct addr a;

	sock_own_ip(ip);
	strncat(ip, ":0", sizeof(ip) - strlen(ip) - 1);
	if (addr_parse(ip, &a, &ignored) != RC_OK)
		a = (struct addr){.ip = {127, 0, 0, 1}};
	memcpy(raw, a.ip, 4); /* of an IPv6 address its first four: the id stays at 32 characters */
	be16_put(raw + 4, (uint16_t)getpid());
	if (getrandom(raw + 6, 4, GRND_NONBLOCK) != 4)
		be32_put(raw + 6, (uint32_t)clock_mono_us());
	put_hex(unique_head, raw, sizeof(raw));
	if (!watching_fork)
		watching_fork = pthread_atfork(NULL, NULL, forget_head) == 0;
}

/* The local month that holds now: tools read an id's time as the time since its start. */
static void
find_month(int64_t now_ms)
{
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	month_from_ms = (int64_t)mktime(&tm) * 1000;
	tm.tm_mon++;
	tm.tm_isdst = -1;
	month_to_ms = (int64_t)mktime(&tm) * 1000;
}

void
message_unique_id(char out[33])
{
	int64_t now = clock_wall_ms();
	char raw[6];

	if (unique_head[0] == '\0')
		make_head();
	if (now < month_from_ms || now >= month_to_ms)
		find_month(now);
	be32_put(raw, (uint32_t)(now - month_from_ms));
	be16_put(raw + 4, unique_counter++);
	memcpy(out, unique_head, 20);
	put_hex(out + 20, raw, sizeof(raw));
}

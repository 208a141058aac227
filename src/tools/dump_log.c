/*
 * dump_log: rmqdump log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/crc.h"
#include "tools/dump.h"

static bool
is_crc_right(const struct message *m)
{
	return m->body.n == 0 || (crc32_of(m->body.p, m->body.n) & 0x7fffffff) == m->body_crc;
}

static void
put_row(const struct message *m)
{
	char t[TIME_TEXT];

	printf("%14" PRId64 " %8u  %-23s  ", m->physical, m->size, time_text(m->store_ms, t));
	put_cell(m->topic, 32);
	printf(" %5d %10" PRId64 " %8zu%s  ", m->queue_id, m->queue_offset, m->body.n, is_crc_right(m) ? " " : "!");
	put_cell(props_get(m->props[0], "TAGS"), 12);
	putchar(' ');
	put_cell(props_get(m->props[0], "KEYS"), 24);
	putchar('\n');
}

static void
put_properties(struct buf *b, struct slice props)
{
	struct slice rest = props, name, value;
	bool first = true;

	buf_put_str(b, ",\"properties\":{");
	while (props_next(&rest, &name, &value)) {
		struct slice key = name;
		char text[256];

		if (key.n >= sizeof(text))
			continue;
		memcpy(text, key.p, key.n);
		text[key.n] = '\0';
		if (props_get(props, text).p != value.p)
			continue; /* of equal names the last one counts */
		buf_put_str(b, first ? "" : ",");
		buf_put_json(b, name);
		buf_put_char(b, ':');
		buf_put_json(b, value);
		first = false;
	}
	buf_put_char(b, '}');
}

static void
put_json(struct buf *b, const struct message *m)
{
	char host[ADDR_TEXT];

	buf_printf(b, "{\"offset\":%" PRId64 ",\"size\":%u,\"version\":%d,\"topic\":", m->physical, m->size,
	    m->magic == MSG_MAGIC_V2 ? 2 : 1);
	buf_put_json(b, m->topic);
	buf_printf(b, ",\"queueId\":%d,\"queueOffset\":%" PRId64 ",\"storeTime\":%" PRId64 ",\"bornTime\":%" PRId64, m->queue_id,
	    m->queue_offset, m->store_ms, m->born_ms);
	buf_printf(b, ",\"bornHost\":\"%s\"", addr_text(&m->born_host, host));
	buf_printf(b, ",\"storeHost\":\"%s\"", addr_text(&m->store_host, host));
	buf_printf(b, ",\"sysFlag\":%d,\"flag\":%d,\"reconsumeTimes\":%d,\"preparedOffset\":%" PRId64
	    ",\"bodyBytes\":%zu,\"bodyCrc\":%u,\"crcOk\":%s", m->sysflag, m->flag, m->reconsume_times, m->prepared_offset,
	    m->body.n, m->body_crc, is_crc_right(m) ? "true" : "false");
	put_properties(b, m->props[0]);
	buf_put_str(b, "}\n");
}

static bool
is_wanted(const struct dump_opts *o, const struct message *m)
{
	return (o->topic == NULL || slice_is(m->topic, o->topic)) && (o->queue < 0 || o->queue == m->queue_id);
}

static void
put_record(const struct dump_opts *o, struct buf *b, const struct message *m)
{
	if (!o->json) {
		put_row(m);
		return;
	}
	buf_reset(b, 1 << 20);
	put_json(b, m);
	fwrite(b->p, 1, b->len, stdout);
}

static int
end_of_log(const struct dump_opts *o, struct dump_files *log, int64_t at, int64_t begin)
{
	if (at == begin && o->from >= 0)
		return dump_fail("no record begins at %" PRId64 " of the log", at);
	if (!log_is_blank(log, at))
		return dump_fail("at %" PRId64 " stand bytes that are no record: a torn tail or damage; rmqdump check tells more", at);
	if (!o->json)
		printf("%14" PRId64 "           end of the log\n", at);
	return DUMP_OK;
}

static int
walk(const struct dump_opts *o, struct dump_files *log)
{
	int64_t begin = o->from >= 0 ? o->from : segs_min(&log->segs), at = begin, left = o->count < 0 ? 100 : o->count;
	bool all = o->count == 0;
	struct buf b = {0};
	struct message m;
	enum rc rc;

	while (all || left > 0) {
		rc = log_record(log, at, false, &m);
		if (rc != RC_OK && rc != RC_NOTFOUND)
			break;
		if (rc == RC_OK && is_wanted(o, &m)) {
			put_record(o, &b, &m);
			left--;
		}
		at += m.size;
	}
	buf_free(&b);
	return all || left > 0 ? end_of_log(o, log, at, begin) : DUMP_OK;
}

int
dump_log(const struct dump_opts *o)
{
	struct dump_files log;
	char dir[PATH_MAX];
	struct err e;
	int status;

	snprintf(dir, sizeof(dir), "%s/commitlog", o->root);
	if (dump_files_open(&log, dir, &e) != RC_OK) {
		dump_files_close(&log);
		return dump_fail("%s", e.text);
	}
	if (!o->json)
		printf("%14s %8s  %-23s  %-32s %5s %10s %8s   %-12s %s\n", "OFFSET", "SIZE", "STORED", "TOPIC", "QUEUE", "QOFFSET",
		    "BODY", "TAGS", "KEYS");
	status = walk(o, &log);
	dump_files_close(&log);
	return status;
}

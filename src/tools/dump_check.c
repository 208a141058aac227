/*
 * dump_check: rmqdump check: is a store consistent in itself?
 *
 * Three walks: the log, where each record must be whole, say its own place, have its unit in its queue, and follow its
 * forerunner in that queue; the queues, where each unit that points into the log must point at a record of that topic,
 * queue and offset, and have its tag's code; the index (dump_check_index.c), where each entry must point at a record that has a
 * key of that hash. Then the other files (dump_check_rest.c): checkpoint, timer log, epochs, config.
 *
 * A store in use, or one with `abort`, may end in records that no queue has yet: that is said, and is no damage.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/str.h"
#include "store/lockfile.h"
#include "tools/dump_check.h"

#define SAY_MAX	       200 /* lines about problems; more are counted */
#define SCHEDULE_TOPIC "SCHEDULE_TOPIC_XXXX"

void
problem(struct check *c, const char *part, const char *fmt, ...)
{
	struct buf b = {0};
	char text[512];
	va_list ap;

	if (++c->problems > SAY_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->o->json) {
		buf_printf(&b, "{\"part\":\"%s\",\"problem\":", part);
		buf_put_json(&b, slice_of(text));
		buf_put_str(&b, "}\n");
		fwrite(b.p, 1, b.len, stdout);
	} else {
		printf("%s: %s\n", part, text);
	}
	buf_free(&b);
}

/* ---- queues by name */

struct queue *
find_queue(struct check *c, struct slice topic, int32_t id)
{
	char key[MSG_TOPIC_MAX_V2 + 16];
	struct queue *q;

	if (topic.n > MSG_TOPIC_MAX_V2)
		return NULL;
	snprintf(key, sizeof(key), "%.*s %d", (int)topic.n, topic.p, id);
	HASH_FIND_STR(c->queues, key, q);
	return q;
}

static enum rc
add_queue(void *arg, const char *topic, int32_t id, const char *dir)
{
	struct check *c = arg;
	struct queue *q = xcalloc(1, sizeof(*q));
	struct err e;
	enum rc rc;

	q->key = xasprintf("%s %d", topic, id);
	q->topic = xstrdup(topic);
	q->id = id;
	q->next = -1;
	rc = dump_files_open(&q->files, dir, &e);
	q->has_files = rc == RC_OK;
	if (rc != RC_OK && rc != RC_NOTFOUND)
		problem(c, "queue", "%s", e.text);
	HASH_ADD_KEYPTR(hh, c->queues, q->key, strlen(q->key), q);
	return RC_OK;
}

int64_t
queue_end(struct queue *q)
{
	int64_t lo = segs_min(&q->files.segs) / UNIT_BYTES, hi = q->has_files ? segs_end(&q->files.segs) / UNIT_BYTES : lo;
	struct unit u;

	while (lo < hi) { /* used units come first */
		int64_t mid = lo + (hi - lo) / 2;
		struct slice s = dump_files_at(&q->files, mid * UNIT_BYTES);

		if (s.p != NULL)
			unit_read(&u, s.p);
		if (s.p != NULL && unit_is_used(&u))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void
free_queues(struct check *c)
{
	struct queue *q, *tmp;

	HASH_ITER(hh, c->queues, q, tmp) {
		HASH_DEL(c->queues, q);
		dump_files_close(&q->files);
		free(q->key);
		free(q->topic);
		free(q);
	}
}

/* ---- the log */

/* A record that no queue has: damage in a store that ended well, else recovery's work. */
static void
behind(struct check *c, const struct message *m, const char *why)
{
	if (c->unclean) {
		if (c->behind++ == 0)
			c->first_behind = m->physical;
		return;
	}
	problem(c, "log", "the record at %" PRId64 " (%.*s, queue %d, offset %" PRId64 ") %s", m->physical, (int)m->topic.n,
	    m->topic.p, m->queue_id, m->queue_offset, why);
}

static void
check_unit_of(struct check *c, struct queue *q, const struct message *m)
{
	struct slice s = q->has_files ? dump_files_at(&q->files, m->queue_offset * UNIT_BYTES) : SLICE_NONE;
	struct unit u;

	if (s.p == NULL) {
		behind(c, m, "has no place in its consume queue's files");
		return;
	}
	unit_read(&u, s.p);
	if (!unit_is_used(&u))
		behind(c, m, "has no unit in its consume queue");
	else if (u.physical != m->physical || u.size != (int32_t)m->size)
		problem(c, "queue", "%s queue %d: unit %" PRId64 " points at %" PRId64 " (%d bytes), but the log has that message at %"
		    PRId64 " (%u bytes)", q->topic, q->id, m->queue_offset, u.physical, u.size, m->physical, m->size);
}

static bool
has_unit(const struct message *m)
{
	int32_t tran = m->sysflag & MSG_SYS_TRAN_MASK;

	return tran == 0 || tran == MSG_SYS_TRAN_COMMIT;
}

static void
check_record(struct check *c, const struct message *m)
{
	struct queue *q;

	c->records++;
	c->last_ms = MAX_OF(c->last_ms, m->store_ms);
	if (!has_unit(m))
		return;
	q = find_queue(c, m->topic, m->queue_id);
	if (q == NULL) {
		behind(c, m, "belongs to a queue that has no directory");
		return;
	}
	if (m->queue_offset < 0 || m->queue_offset > INT64_MAX / UNIT_BYTES - 1) {
		problem(c, "log", "%s queue %d: the record at %" PRId64 " has the queue offset %" PRId64, q->topic, q->id, m->physical,
		    m->queue_offset);
		return;
	}
	if (q->next >= 0 && m->queue_offset != q->next)
		problem(c, "log", "%s queue %d: the record at %" PRId64 " has the queue offset %" PRId64 ", its forerunner makes it %"
		    PRId64, q->topic, q->id, m->physical, m->queue_offset, q->next);
	q->next = m->queue_offset + 1;
	q->seen++;
	check_unit_of(c, q, m);
}

/* At `at` begins no record. Finds where to go on; false: the log ends there. */
static bool
pass_damage(struct check *c, int64_t *at)
{
	struct message m;
	int64_t next;

	if (log_record(&c->log, *at, false, &m) == RC_OK) {
		problem(c, "log", "the record at %" PRId64 " (%.*s, queue %d, offset %" PRId64 ", %u bytes): its body does not fit its "
		    "CRC", *at, (int)m.topic.n, m.topic.p, m.queue_id, m.queue_offset, m.size);
		check_record(c, &m);
		*at += m.size;
		return true;
	}
	next = log_resync(&c->log, *at + 1);
	if (next >= 0) {
		problem(c, "log", "%" PRId64 " bytes at %" PRId64 " are no record; records go on at %" PRId64, next - *at, *at, next);
		*at = next;
		return true;
	}
	if (!log_is_blank(&c->log, *at) && !c->unclean)
		problem(c, "log", "behind the last record, at %" PRId64 ", stand bytes that are no record", *at);
	return false;
}

static void
check_rest(struct check *c, int64_t at)
{
	for (size_t i = 0; i < c->log.segs.count; i++)
		if (c->log.segs.from[i] > at && !log_is_blank(&c->log, c->log.segs.from[i]))
			problem(c, "log", "the log ends at %" PRId64 ", but the segment %020" PRId64 " is not empty", at,
			    c->log.segs.from[i]);
}

static void
check_gaps(struct check *c, const char *part, const struct segs *s)
{
	for (size_t i = 1; i < s->count; i++)
		if (s->from[i] != s->from[i - 1] + s->file_bytes)
			problem(c, part, "%s: files are missing between %020" PRId64 " and %020" PRId64, s->dir, s->from[i - 1], s->from[i]);
}

static void
check_log(struct check *c)
{
	int64_t at = c->begin;
	struct message m;
	enum rc rc;

	check_gaps(c, "log", &c->log.segs);
	for (;;) {
		rc = log_record(&c->log, at, true, &m);
		if (rc == RC_OK)
			check_record(c, &m);
		if (rc == RC_OK || rc == RC_NOTFOUND)
			at += m.size;
		else if (rc == RC_CLOSED || !pass_damage(c, &at))
			break;
	}
	c->end = at;
	check_rest(c, at);
}

/* ---- queues */

/* The code of delayed messages is their time, which the delay levels decide. */
static void
check_tag(struct check *c, const struct queue *q, int64_t offset, const struct unit *u, const struct message *m)
{
	struct slice tags = props_get(m->props[0], "TAGS");
	int64_t code = tags.n > 0 ? message_tags_code(tags) : 0;

	if (strcmp(q->topic, SCHEDULE_TOPIC) == 0 ? u->tags_code < m->store_ms : u->tags_code != code)
		problem(c, "queue", "%s queue %d: unit %" PRId64 " has the code %" PRId64 ", but its message's tag \"%.*s\" has %" PRId64,
		    q->topic, q->id, offset, u->tags_code, (int)MIN_OF(tags.n, (size_t)64), tags.p, code);
}

static void
check_unit(struct check *c, struct queue *q, int64_t offset, const struct unit *u)
{
	struct message m;

	c->units++;
	if (u->physical < 0)
		problem(c, "queue", "%s queue %d: unit %" PRId64 " points at %" PRId64, q->topic, q->id, offset, u->physical);
	if (u->physical < c->begin)
		return; /* expired, the file goes with the next sweep */
	if (u->physical >= c->end) {
		if (!c->unclean)
			problem(c, "queue", "%s queue %d: unit %" PRId64 " points at %" PRId64 ", beyond the log's end at %" PRId64, q->topic,
			    q->id, offset, u->physical, c->end);
		return;
	}
	if (log_record(&c->log, u->physical, false, &m) != RC_OK) {
		problem(c, "queue", "%s queue %d: unit %" PRId64 " points at %" PRId64 ", where no record begins", q->topic, q->id,
		    offset, u->physical);
		return;
	}
	if (!slice_is(m.topic, q->topic) || m.queue_id != q->id || m.queue_offset != offset)
		problem(c, "queue", "%s queue %d: unit %" PRId64 " points at the record at %" PRId64 ", which is of %.*s, queue %d, offset %"
		    PRId64, q->topic, q->id, offset, u->physical, (int)m.topic.n, m.topic.p, m.queue_id, m.queue_offset);
	else
		check_tag(c, q, offset, u, &m);
}

static void
check_queue(struct check *c, struct queue *q)
{
	int64_t end = segs_end(&q->files.segs) / UNIT_BYTES, last = -1;
	bool begun = false;

	check_gaps(c, "queue", &q->files.segs);
	for (int64_t n = segs_min(&q->files.segs) / UNIT_BYTES; n < end; n++) {
		struct slice s = dump_files_at(&q->files, n * UNIT_BYTES);
		struct unit u;

		if (s.p == NULL)
			break;
		unit_read(&u, s.p);
		if (!unit_is_used(&u))
			break;
		if (!begun && unit_is_blank(&u))
			continue;
		begun = true;
		if (u.physical <= last)
			problem(c, "queue", "%s queue %d: unit %" PRId64 " points at %" PRId64 ", not behind its forerunner's %" PRId64,
			    q->topic, q->id, n, u.physical, last);
		last = u.physical;
		check_unit(c, q, n, &u);
	}
}

/* ---- all of it */

static void
look_at_state(struct check *c)
{
	char path[PATH_MAX];
	long holder = lockfile_holder(c->o->root);

	snprintf(path, sizeof(path), "%s/abort", c->o->root);
	c->unclean = holder != 0 || access(path, F_OK) == 0;
	if (holder != 0)
		fprintf(stderr, "rmqdump: the store is in use by process %ld: what it does meanwhile may show up here\n", holder);
}

static void
summary(const struct check *c)
{
	if (c->o->json) {
		printf("{\"records\":%" PRIu64 ",\"begin\":%" PRId64 ",\"end\":%" PRId64 ",\"queues\":%u,\"units\":%" PRIu64
		    ",\"indexEntries\":%" PRIu64 ",\"notDispatched\":%" PRIu64 ",\"problems\":%" PRIu64 "}\n", c->records, c->begin,
		    c->end, HASH_COUNT(c->queues), c->units, c->entries, c->behind, c->problems);
		return;
	}
	if (c->problems > SAY_MAX)
		printf("... and %" PRIu64 " more\n", c->problems - SAY_MAX);
	printf("%" PRIu64 " records from %" PRId64 " to %" PRId64 ", %u queues with %" PRIu64 " units, %" PRIu64
	    " index entries: ", c->records, c->begin, c->end, HASH_COUNT(c->queues), c->units, c->entries);
	if (c->problems == 0)
		printf("no damage\n");
	else
		printf("%" PRIu64 " problem%s\n", c->problems, c->problems == 1 ? "" : "s");
	if (c->behind > 0)
		printf("%" PRIu64 " records, the first at %" PRId64 ", are in no queue yet: the broker's next start sees to it\n",
		    c->behind, c->first_behind);
}

static int
check_all(struct check *c)
{
	struct queue *q, *tmp;
	struct err e;
	enum rc rc;

	look_at_state(c);
	rc = queues_each(c->o, add_queue, c, &e);
	if (rc != RC_OK && rc != RC_NOTFOUND)
		return dump_fail("%s", e.text);
	c->begin = segs_min(&c->log.segs);
	check_log(c);
	HASH_ITER(hh, c->queues, q, tmp)
		if (q->has_files)
			check_queue(c, q);
	check_index_files(c);
	check_times(c);
	check_timer(c);
	check_epochs(c);
	check_config(c);
	check_others(c);
	summary(c);
	return c->problems == 0 ? DUMP_OK : DUMP_DAMAGED;
}

int
dump_check(const struct dump_opts *o)
{
	struct check c = {.o = o};
	char dir[PATH_MAX];
	struct err e;
	int status;
	enum rc rc;

	if (o->topic != NULL || o->queue >= 0 || o->from >= 0)
		return dump_fail("check looks at a whole store: --topic, --queue and --from do not go with it");
	snprintf(dir, sizeof(dir), "%s/commitlog", o->root);
	rc = dump_files_open(&c.log, dir, &e);
	if (rc == RC_NOTFOUND && access(dir, F_OK) == 0)
		rc = RC_OK; /* nothing was ever sent */
	if (rc == RC_BADDATA) {
		problem(&c, "log", "%s", e.text);
		status = DUMP_DAMAGED;
	} else if (rc != RC_OK) {
		status = dump_fail("%s", e.text);
	} else {
		status = check_all(&c);
	}
	free_queues(&c);
	dump_files_close(&c.log);
	return status;
}

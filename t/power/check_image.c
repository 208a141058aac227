/*
 * check_image: opens a store as a power cut left it and compares it with what was acknowledged.
 *
 *     check_image DIR key=value... < ledger
 *
 * A line of the ledger is an acknowledged message: "must|may TOPIC QUEUE OFFSET PHYSICAL KEY BODY". "must": it has to
 * be there. "may": it may be lost, but then so must be all that stands behind it in the log. Beyond the ledger: each
 * queue without a hole, each unit naming a whole record that says the same place, each record once and in the index
 * once. Then each queue takes another message at its end, the store is closed and opened again, and must be the same.
 *
 * Exit status: 0 as it must be, 1 not, with sentences on stdout; the last line counts: "kept LOST records".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/conf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/shm.h"
#include "store/store.h"

#define SAY_MAX 20

struct serial { /* a body that was seen */
	char body[64];
	UT_hash_handle hh;
};

struct check {
	struct broker_conf conf;
	struct node_shm *shm;
	struct store *s;
	struct serial *seen;
	unsigned bad;
	int64_t kept, lost, records, units;
};

static void bad(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
bad(struct check *c, const char *fmt, ...)
{
	va_list ap;

	if (++c->bad > SAY_MAX)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void
open_store(struct check *c)
{
	struct store_opts o = {.conf = &c->conf, .shm = c->shm};
	struct err e = {""};

	memset(c->shm, 0, sizeof(*c->shm));
	if (store_open(&c->s, &o, &e) == RC_OK)
		return;
	printf("the store does not open: %s\n", e.text);
	exit(1);
}

/* ---- the ledger */

static bool
stands(struct check *c, struct store_queue *q, int64_t offset, int64_t physical, const char *body)
{
	struct slice record;
	struct message m;
	int64_t at, tags;
	int32_t size;

	return store_unit_at(c->s, q, offset, &at, &size, &tags) == RC_OK && at == physical &&
	       store_record_at(c->s, at, &record) == RC_OK && message_decode(&m, record.p, record.n, true) == RC_OK &&
	       m.body.n >= strlen(body) && memcmp(m.body.p, body, strlen(body)) == 0;
}

static void
check_acknowledged(struct check *c, const char *line, int64_t end)
{
	char word[8], topic[128], body[64];
	long long offset, physical;
	struct store_queue *q;
	int queue;

	if (sscanf(line, "%7s %127s %d %lld %lld %63s", word, topic, &queue, &offset, &physical, body) != 6)
		abort();
	q = store_queue_find(c->s, slice_of(topic), queue);
	if (q != NULL && stands(c, q, offset, physical, body)) {
		c->kept++;
		return;
	}
	c->lost++;
	if (strcmp(word, "must") == 0)
		bad(c,
		    "%s queue %d offset %lld, at %lld of the log, was acknowledged and is not there; the log ends at "
		    "%" PRId64 ", the queue at %" PRId64,
		    topic, queue, offset, physical, end, q != NULL ? queue_max(q) : -1);
	else if (physical < end)
		bad(c, "a hole: %s queue %d offset %lld, at %lld of the log, is lost, but the log ends at %" PRId64,
		    topic, queue, offset, physical, end);
}

static void
check_ledger(struct check *c, FILE *ledger)
{
	struct store_facts facts;
	char line[512];

	store_facts(c->s, &facts);
	while (fgets(line, sizeof(line), ledger) != NULL)
		check_acknowledged(c, line, facts.log_max);
}

/* ---- the store with itself */

static void
note_body(struct check *c, const struct message *m)
{
	struct serial *s = xcalloc(1, sizeof(*s)), *other;
	size_t n = 0;
	int head = snprintf(s->body, sizeof(s->body), "%.*s ", (int)MIN_OF(m->topic.n, (size_t)24), m->topic.p);

	while (n < m->body.n && n < sizeof(s->body) - (size_t)head - 1 && m->body.p[n] != ' ')
		n++;
	memcpy(s->body + head, m->body.p, n);
	HASH_FIND_STR(c->seen, s->body, other);
	if (other != NULL)
		bad(c, "message \"%s\" is there twice, once at %" PRId64, s->body, m->physical);
	HASH_ADD_STR(c->seen, body, s);
}

static void
check_indexed(struct check *c, const struct message *m)
{
	struct slice key = props_get(m->props[0], "UNIQ_KEY");
	struct query_result r;
	unsigned hits = 0;

	if (key.n == 0)
		return;
	store_query(c->s, m->topic, key, QUERY_MAX, 0, INT64_MAX, &r);
	for (unsigned i = 0; i < r.count; i++)
		hits += r.physical[i] == m->physical;
	if (hits != 1)
		bad(c, "the record at %" PRId64 " is in the index %u times", m->physical, hits);
}

static void
check_unit(struct check *c, struct store_queue *q, int64_t offset)
{
	struct slice record, topic = queue_topic(q);
	int64_t physical, tags;
	struct message m;
	int32_t size;

	if (store_unit_at(c->s, q, offset, &physical, &size, &tags) != RC_OK ||
	    store_record_at(c->s, physical, &record) != RC_OK ||
	    message_decode(&m, record.p, record.n, true) != RC_OK) {
		bad(c, "%.*s queue %d offset %" PRId64 " names no whole record", (int)topic.n, topic.p, queue_id(q),
		    offset);
		return;
	}
	c->units++;
	if (!slice_eq(m.topic, topic) || m.queue_id != queue_id(q) || m.queue_offset != offset ||
	    record.n != (size_t)size)
		bad(c, "%.*s queue %d offset %" PRId64 " names the record at %" PRId64 ", which is of another place",
		    (int)topic.n, topic.p, queue_id(q), offset, physical);
	note_body(c, &m);
	check_indexed(c, &m);
}

static void
check_queue(void *arg, struct store_queue *q)
{
	for (int64_t i = queue_min(q); i < queue_max(q); i++)
		check_unit(arg, q, i);
}

/* Each record of the log belongs to one unit: so many there must be. */
static void
check_log(struct check *c)
{
	struct store_facts facts;
	struct slice record;
	int64_t at;
	enum rc rc;

	store_facts(c->s, &facts);
	at = facts.log_min;
	while ((rc = store_next_record(c->s, &at, &record)) == RC_OK)
		c->records++;
	if (rc == RC_BADDATA)
		bad(c, "no record at %" PRId64 " of the log, which ends at %" PRId64, at, facts.log_max);
	if (c->records != c->units)
		bad(c, "the log has %" PRId64 " records, the queues have %" PRId64, c->records, c->units);
}

static void
check_all(struct check *c)
{
	struct serial *s, *tmp;

	c->records = c->units = 0;
	store_queues_each(c->s, check_queue, c);
	check_log(c);
	HASH_ITER (hh, c->seen, s, tmp) {
		HASH_DEL(c->seen, s);
		free(s);
	}
}

/* ---- going on */

static void
put_one(void *arg, struct store_queue *q)
{
	struct check *c = arg;
	struct message m = {.topic = queue_topic(q), .queue_id = queue_id(q)};
	struct store_put_result r;
	int64_t max = queue_max(q);
	char body[64], props[64];
	struct err e = {""};

	m.body = (struct slice){
	    body, (size_t)snprintf(body, sizeof(body), "more-%.20s-%d %0*d", m.topic.p, m.queue_id, 20, 0)};
	m.props[0] =
	    (struct slice){props, (size_t)snprintf(props, sizeof(props), "UNIQ_KEY\001more-%d\002", m.queue_id)};
	if (store_stage(c->s, &m, &r) != RC_OK || store_commit(c->s, &e) != RC_OK)
		bad(c, "no message is taken: %s", e.text);
	else if (r.queue_offset != max)
		bad(c, "the next message of queue %d gets offset %" PRId64 ", the queue ends at %" PRId64, m.queue_id,
		    r.queue_offset, max);
	/* No flush runs here. */
	pos_publish(&c->shm->flush.flushed, r.end);
	while (store_progress(c->s, 1000))
		continue;
}

static void
set_conf(struct check *c, const char *dir, char **args)
{
	struct err e;

	broker_conf_init(&c->conf);
	free(c->conf.storePathRootDir);
	c->conf.storePathRootDir = xstrdup(dir);
	for (; *args != NULL; args++) {
		char *value = strchr(*args, '=');
		const struct param *p;

		if (value == NULL)
			abort();
		*value++ = '\0';
		p = param_find(&broker_params, slice_of(*args));
		if (p == NULL || param_set(p, &c->conf, slice_of(value), &e) != RC_OK)
			abort();
	}
}

int
main(int argc, char **argv)
{
	struct check c = {0};
	int64_t records;

	if (argc < 2)
		return 2;
	(void)(log_set_level("error") == RC_OK);
	set_conf(&c, argv[1], argv + 2);
	c.shm = aligned_alloc(SHM_LINE, (sizeof(*c.shm) + SHM_LINE - 1) / SHM_LINE * SHM_LINE);
	open_store(&c);
	check_ledger(&c, stdin);
	check_all(&c);
	records = c.records;
	store_queues_each(c.s, put_one, &c);
	check_all(&c);
	store_close(&c.s, true);
	open_store(&c);
	check_all(&c);
	store_close(&c.s, false);
	printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", c.kept, c.lost, records);
	broker_conf_free(&c.conf);
	free(c.shm);
	return c.bad > 0;
}

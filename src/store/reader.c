/*
 * reader: what consumers are given: records of one queue, found by units and handed out as ranges of mapped segments.
 *
 * Never copies a record, and never touches one that may have to come from the disk unless the caller says it was warmed.
 */
#include "common/mem.h"
#include "store/store_int.h"

#define RESIDENT_WINDOW (64 << 20) /* this much of the log's end is taken to be in memory without asking */
#define COLD_RANGE	(256 << 10) /* what warm is asked for at once, for one record */
#define FIRST_UNITS	32	   /* units are read in small bites first: most pulls need no more */

const char *
get_status_name(enum get_status status)
{
	static const char *const names[] = {
	    [GET_FOUND] = "FOUND",
	    [GET_NO_MATCHED_MESSAGE] = "NO_MATCHED_MESSAGE",
	    [GET_MESSAGE_WAS_REMOVING] = "MESSAGE_WAS_REMOVING",
	    [GET_OFFSET_FOUND_NULL] = "OFFSET_FOUND_NULL",
	    [GET_OFFSET_OVERFLOW_BADLY] = "OFFSET_OVERFLOW_BADLY",
	    [GET_OFFSET_OVERFLOW_ONE] = "OFFSET_OVERFLOW_ONE",
	    [GET_OFFSET_TOO_SMALL] = "OFFSET_TOO_SMALL",
	    [GET_NO_MATCHED_LOGIC_QUEUE] = "NO_MATCHED_LOGIC_QUEUE",
	    [GET_NO_MESSAGE_IN_QUEUE] = "NO_MESSAGE_IN_QUEUE",
	    [GET_COLD] = "COLD",
	};

	return names[status];
}

struct pull { /* one store_get */
	struct store		*s;
	struct store_queue	*q;
	const struct store_filter *filter;
	struct get_result	*r;
	int64_t			 asked;
	int32_t			 wanted;
	bool			 may_be_cold;
	int64_t			 memory;	/* bytes of the log's end that count as being in memory */
	int64_t			 units_end;	/* scanned at most up to here */
	int64_t			 skip_below;	/* records below are gone with their segment */
	int64_t			 last_physical;
	int32_t			 cold;		/* records of this batch that are not in memory; no record is taken any more */
};

static void
answer(struct pull *p, enum get_status status, int64_t next)
{
	bool keep = store_is_slave(p->s) && !p->s->conf->offsetCheckInSlave;

	p->r->status = status;
	p->r->next = keep ? p->asked : next;
}

/* The cases in which no unit is looked at. */
static bool
answer_outside(struct pull *p)
{
	struct get_result *r = p->r;

	if (p->q == NULL) {
		answer(p, GET_NO_MATCHED_LOGIC_QUEUE, 0);
		return true;
	}
	r->min = queue_min(p->q);
	r->max = queue_max(p->q);
	if (r->max == 0)
		answer(p, GET_NO_MESSAGE_IN_QUEUE, 0);
	else if (p->asked < r->min)
		answer(p, GET_OFFSET_TOO_SMALL, r->min);
	else if (p->asked == r->max)
		answer(p, GET_OFFSET_OVERFLOW_ONE, p->asked);
	else if (p->asked > r->max)
		answer(p, GET_OFFSET_OVERFLOW_BADLY, r->max);
	else
		return false;
	return true;
}

static bool
is_batch_full(const struct pull *p, const struct cq_unit *u)
{
	const struct broker_conf *c = p->s->conf;
	const struct get_result *r = p->r;
	bool in_memory = p->s->log.end - u->physical <= p->memory;
	int64_t bytes = in_memory ? c->maxTransferBytesOnMessageInMemory : c->maxTransferBytesOnMessageInDisk;
	int32_t count = in_memory ? c->maxTransferCountOnMessageInMemory : c->maxTransferCountOnMessageInDisk;

	if (r->messages == 0)
		return false;
	return r->messages + 1 > p->wanted || (int64_t)r->bytes + u->size > bytes || r->messages + 1 > count;
}

static bool
add_record(struct get_result *r, const char *record, size_t n)
{
	struct slice *last = r->ranges > 0 ? &r->range[r->ranges - 1] : NULL;

	if (last != NULL && last->p + last->n == record)
		last->n += n;
	else if (r->ranges < GET_RANGES_MAX)
		r->range[r->ranges++] = (struct slice){record, n};
	else
		return false;
	r->messages++;
	r->bytes += n;
	return true;
}

/* What this process has just written is in memory without asking. */
static bool
is_hot(const struct store *s, int64_t physical)
{
	return physical >= s->hot_from && s->log.end - physical <= RESIDENT_WINDOW;
}

static bool
is_cold(const struct pull *p, const struct cq_unit *u)
{
	return p->may_be_cold && u->size > 0 && !is_hot(p->s, u->physical) &&
	    !commitlog_resident(&p->s->log, u->physical, (size_t)u->size);
}

/* Where a range that begins at `at` must end. */
static int64_t
range_end(const struct store *s, int64_t at)
{
	return MIN_OF(segs_start(&s->log.segs, at) + s->log.segs.file_bytes, s->log.end);
}

/* The whole batch is asked for at once: its records may lie far from each other. False: that is all of it. */
static bool
note_cold(struct pull *p, const struct cq_unit *u)
{
	p->r->status = GET_COLD;
	if (u->size > 0)
		gate_note(&p->s->gate, NULL, u->physical, u->size, range_end(p->s, u->physical));
	return ++p->cold < MIN_OF(p->wanted, p->s->conf->maxTransferCountOnMessageInDisk) && p->s->gate.count < GATE_RANGES;
}

/* A further record of a batch whose first is cold. */
static bool
look_ahead(struct pull *p, const struct cq_unit *u)
{
	return is_cold(p, u) ? note_cold(p, u) : ++p->cold < p->wanted;
}

static void
note_missing(struct pull *p, enum get_status status)
{
	if (p->r->messages == 0)
		p->r->status = status;
}

static bool
props_match(const struct pull *p, const struct cq_unit *u, const char *record)
{
	struct record view;

	if (p->filter == NULL || p->filter->by_props == NULL)
		return true;
	return record_view(&view, record, (size_t)u->size, u->physical, false) == RC_OK &&
	    p->filter->by_props(p->filter->arg, view.props);
}

/* One unit. False: the batch ends before it. */
static bool
take_unit(struct pull *p, const struct cq_unit *u)
{
	struct commitlog *log = &p->s->log;
	const struct store_filter *f = p->filter;
	const char *record;

	if (is_batch_full(p, u))
		return false;
	if (p->cold > 0 && (f == NULL || f->by_code == NULL || f->by_code(f->arg, u->tags_code)))
		return look_ahead(p, u);
	p->last_physical = u->physical;
	if (u->physical < p->skip_below || (f != NULL && f->by_code != NULL && !f->by_code(f->arg, u->tags_code))) {
		p->r->next = u->offset + 1;
		return true;
	}
	if (is_cold(p, u))
		return p->r->messages == 0 && note_cold(p, u);
	p->r->next = u->offset + 1;
	record = u->size > 0 ? commitlog_bytes(log, u->physical, (size_t)u->size) : NULL;
	if (record == NULL || !record_stands(record, (size_t)u->size, u->physical, (uint32_t)u->size)) {
		note_missing(p, GET_MESSAGE_WAS_REMOVING);
		if (u->physical < log->min)
			p->skip_below = segs_start(&log->segs, u->physical) + log->segs.file_bytes;
		return true;
	}
	if (!props_match(p, u, record)) {
		note_missing(p, GET_NO_MATCHED_MESSAGE);
		return true;
	}
	if (!add_record(p->r, record, (size_t)u->size)) {
		p->r->next = u->offset;
		return false;
	}
	p->r->status = GET_FOUND;
	p->skip_below = 0;
	return true;
}

/* Reads up to n units from `from` on and takes them. *read: how many there were. False: the batch is complete. */
static bool
take_units(struct pull *p, int64_t from, size_t n, size_t *read)
{
	char *raw = p->s->scratch;

	*read = cqueue_read(&p->s->files, p->q, from, n, raw);
	for (size_t i = 0; i < *read; i++) {
		struct cq_unit u = {.offset = from + (int64_t)i};

		cq_unit_get(raw + i * CQ_UNIT, &u);
		if (!take_unit(p, &u))
			return false;
	}
	return true;
}

/* A pull reads one file of the queue, as the original. */
static void
scan(struct pull *p)
{
	size_t bite = (size_t)MIN_OF(MAX_OF(p->wanted, 1), FIRST_UNITS), read;
	int64_t per_file = p->s->files.file_bytes / CQ_UNIT;
	int64_t file_end = p->asked - p->asked % per_file + per_file;
	int64_t end = MIN_OF(MIN_OF(p->units_end, file_end), p->r->max), at = p->asked;

	p->r->status = GET_NO_MATCHED_MESSAGE;
	p->r->next = at;
	while (at < end) {
		if (!take_units(p, at, MIN_OF(bite, (size_t)(end - at)), &read))
			return;
		if (read == 0) {
			if (p->r->messages == 0 && p->s->gate.noted > 0)
				p->r->status = GET_COLD;
			else if (at == p->asked)
				answer(p, GET_OFFSET_FOUND_NULL, file_end);
			return;
		}
		at += (int64_t)read;
		bite = MIN_OF(bite * 4, (size_t)SCRATCH_UNITS);
	}
}

/* The original takes ten percent less on a slave, which shares its host's memory with replication. */
static int64_t
memory_bytes(const struct store *s)
{
	int32_t ratio = s->conf->accessMessageInMemoryMaxRatio - (store_is_slave(s) ? 10 : 0);

	return s->ram_bytes / 100 * MAX_OF(ratio, 0);
}

static void
get(struct store *s, struct store_queue *q, int64_t offset, int32_t max_messages, const struct store_filter *f, bool may_be_cold,
    struct get_result *r)
{
	int64_t budget = MAX_OF((int64_t)s->conf->maxFilterMessageSize, (int64_t)max_messages * CQ_UNIT);
	struct pull p = {.s = s, .q = q, .filter = f, .r = r, .asked = offset, .wanted = max_messages,
	    .may_be_cold = may_be_cold,
	    .memory = memory_bytes(s),
	    .units_end = offset + (budget + CQ_UNIT - 1) / CQ_UNIT};

	*r = (struct get_result){.next = offset};
	if (q != NULL)
		cqueue_follow_min(&s->files, q);
	if (s->gate.noted > 0) {
		r->status = GET_COLD; /* where the queue begins is not known yet */
		return;
	}
	if (answer_outside(&p))
		return;
	scan(&p);
	r->suggest_slave = s->log.end - p.last_physical > p.memory;
}

void
store_get(struct store *s, struct store_queue *q, int64_t offset, int32_t max_messages, const struct store_filter *f,
    bool may_be_cold, struct get_result *r)
{
	store_see_min(s);
	gate_forget(&s->gate);
	s->gate.closed = may_be_cold;
	get(s, q, offset, max_messages, f, may_be_cold, r);
	gate_open(&s->gate);
}

void
store_ask(struct store *s)
{
	store_see_min(s);
	gate_close(&s->gate);
}

const struct cold_list *
store_asked(struct store *s)
{
	gate_open(&s->gate);
	return &s->gate;
}

const struct cold_list *
store_cold(const struct store *s)
{
	return &s->gate;
}

/* ---- single records and units */

/* While the gate is closed: may these bytes be read now? If not they are noted. */
static bool
may_read(struct store *s, int64_t physical, size_t n)
{
	if (!gate_is_closed(&s->gate) || is_hot(s, physical) || commitlog_resident(&s->log, physical, n))
		return true;
	gate_note(&s->gate, NULL, physical, (int64_t)n, range_end(s, physical));
	return false;
}

enum rc
store_record_at(struct store *s, int64_t physical, struct slice *record)
{
	size_t n;
	const char *p = commitlog_read(&s->log, physical, &n);

	if (p == NULL || n < MSG_SIZE_MIN || !may_read(s, physical, MSG_SIZE_MIN) || !record_stands(p, n, physical, 0))
		return RC_NOTFOUND;
	if (!may_read(s, physical, be32_get(p + MSG_OFF_SIZE)))
		return RC_NOTFOUND;
	*record = (struct slice){p, be32_get(p + MSG_OFF_SIZE)};
	return RC_OK;
}

bool
store_record_is_cold(struct store *s, int64_t physical, int32_t size, int64_t *at, int64_t *len)
{
	struct commitlog *log = &s->log;
	int64_t room, n = size > 0 ? size : MSG_SIZE_MIN;
	size_t there;
	const char *p;

	if (physical < log->min || physical >= log->end || is_hot(s, physical))
		return false;
	room = segs_start(&log->segs, physical) + log->segs.file_bytes - physical;
	room = MIN_OF(room, log->end - physical);
	if (n > room)
		return false;
	if (size <= 0 && commitlog_resident(log, physical, (size_t)n)) {
		p = commitlog_read(log, physical, &there);
		if (p == NULL || !record_stands(p, there, physical, 0))
			return false;
		n = MIN_OF((int64_t)be32_get(p + MSG_OFF_SIZE), room);
	}
	if (commitlog_resident(log, physical, (size_t)n))
		return false;
	*at = physical;
	*len = MIN_OF(MAX_OF(n, (int64_t)COLD_RANGE), room);
	return true;
}

enum rc
store_next_record(struct store *s, int64_t *at, struct slice *record)
{
	while (*at < s->log.end) {
		size_t n;
		const char *p = commitlog_read(&s->log, *at, &n);

		if (p == NULL || n < RECORD_FILLER_BYTES)
			return RC_BADDATA;
		if (be32_get(p + MSG_OFF_MAGIC) == MSG_MAGIC_BLANK) {
			*at = segs_start(&s->log.segs, *at) + s->log.segs.file_bytes;
			continue;
		}
		if (!record_stands(p, n, *at, 0))
			return RC_BADDATA;
		*record = (struct slice){p, be32_get(p + MSG_OFF_SIZE)};
		*at += (int64_t)record->n;
		return RC_OK;
	}
	return RC_NOTFOUND;
}

enum rc
store_unit_at(struct store *s, struct store_queue *q, int64_t offset, int64_t *physical, int32_t *size, int64_t *tags_code)
{
	struct cq_unit u;

	cqueue_follow_min(&s->files, q);
	if (offset < q->min || !cqueue_unit(&s->files, q, offset, &u))
		return RC_NOTFOUND;
	*physical = u.physical;
	*size = u.size;
	*tags_code = u.tags_code;
	return RC_OK;
}

int64_t
store_time_at(struct store *s, struct store_queue *q, int64_t offset)
{
	struct cq_unit u;
	const char *p;

	if (!cqueue_unit(&s->files, q, offset, &u) || u.size < MSG_SIZE_MIN)
		return -1;
	p = commitlog_bytes(&s->log, u.physical, (size_t)u.size);
	if (p == NULL || !may_read(s, u.physical, MSG_SIZE_MIN) || !record_stands(p, (size_t)u.size, u.physical, (uint32_t)u.size))
		return -1;
	return record_store_ms(p);
}

/* The first offset of [lo, hi) whose store time is at least `ms` (or above it); hi if there is none. */
static int64_t
first_not_before(struct store *s, struct store_queue *q, int64_t lo, int64_t hi, int64_t ms, bool above)
{
	unsigned noted = s->gate.noted;

	while (lo < hi && s->gate.noted == noted) {
		int64_t mid = lo + (hi - lo) / 2, t = store_time_at(s, q, mid);

		if (above ? t > ms : t >= ms)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int64_t
store_offset_by_time(struct store *s, struct store_queue *q, int64_t store_ms, enum boundary b)
{
	int64_t min, at;

	if (q == NULL)
		return 0;
	cqueue_follow_min(&s->files, q);
	min = q->min;
	if (b == BOUNDARY_LOWER)
		return first_not_before(s, q, min, q->max, store_ms, false);
	at = first_not_before(s, q, min, q->max, store_ms, true) - 1;
	return MAX_OF(at, min);
}

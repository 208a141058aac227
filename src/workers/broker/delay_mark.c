/*
 * delay_mark: how far each delay level has been delivered. See delay_mark.h.
 *
 * Runs in:    the broker process.
 * Owns:       config/delayOffset.json.
 * Must not:   write a position whose copies are not on the disk yet.
 * If it dies: the file is behind; the log's tail says the rest at the next start.
 */
#include "workers/broker/delay_mark.h"

#include "common/clock.h"
#include "workers/broker/append.h"
#include "workers/broker/cfgfile.h"
#include "workers/broker/delay.h"
#include "workers/broker/topics.h"

#define OFFSET_BITS  54		    /* of a queue offset in a copy's mark: 10^16 messages */
#define RENEW_BYTES  (64 << 20)	    /* the file is renewed when the log has grown by this: it bounds the walk at the start */
#define SCAN_MISSING (256 << 20)    /* without a file a log of this size is walked as a whole: it died before the first was written */

struct place { /* positions, and the end of the log when they were right */
	int64_t	done[DELAY_LEVELS + 1];
	int64_t	log_end;
};

struct delay_mark {
	struct broker	*b;
	struct cfgfile	*file;
	int64_t		*done;
	struct place	 saved, next;	/* what the file says; what it will, when the log is flushed up to there */
	bool		 waiting;	/* `next` waits */
	bool		 unsaved;	/* a slave's: newer than the file */
	bool		 have_file;	/* or a master that said it */
	bool		 scanned;
	bool		 kept;		/* a file was written since the start */
	int64_t		 scan_at;
	int64_t		 scan_began_ms;
	int64_t		 found;		/* copies, in the walk */
	int64_t		 asked_ms;
	struct data_version version;
};

int64_t
delay_mark_of(int level, int64_t queue_offset)
{
	return ~((int64_t)level << OFFSET_BITS | queue_offset);
}

bool
delay_mark_read(int64_t prepared_offset, int *level, int64_t *queue_offset)
{
	int64_t v = ~prepared_offset;

	if (prepared_offset >= 0 || v >> OFFSET_BITS < 1 || v >> OFFSET_BITS > DELAY_LEVELS)
		return false;
	*level = (int)(v >> OFFSET_BITS);
	*queue_offset = v & ((INT64_C(1) << OFFSET_BITS) - 1);
	return true;
}

/* ---- file */

static void
put_place(const struct delay_mark *m, const struct place *at, struct buf *out)
{
	bool first = true;

	buf_put_str(out, "{\"dataVersion\":");
	data_version_put_json(&m->version, out);
	if (at->log_end >= 0)
		buf_printf(out, ",\"logOffset\":%lld", (long long)at->log_end);
	buf_put_str(out, ",\"offsetTable\":{");
	for (int i = 1; i <= DELAY_LEVELS; i++) {
		if (at->done[i] <= 0)
			continue;
		buf_printf(out, "%s\"%d\":%lld", first ? "" : ",", i, (long long)at->done[i]);
		first = false;
	}
	buf_put_str(out, "}}");
}

static void
take_place(const struct delay_mark *m, struct place *at)
{
	memcpy(at->done, m->done, sizeof(at->done));
	at->log_end = pos_read(&m->b->w->shm->broker.appended);
}

void
delay_mark_put_json(const struct delay_mark *m, struct buf *out)
{
	struct place now;

	take_place(m, &now);
	put_place(m, m->scanned ? &now : &m->saved, out);
}

static void
put_file(void *arg, struct buf *out)
{
	struct delay_mark *m = arg;

	data_version_next(&m->version);
	put_place(m, &m->saved, out);
	buf_put_char(out, '\n');
}

struct delay_mark *
delay_mark_new(struct broker *b, int64_t *done)
{
	static const int32_t at_once_ms = 1; /* when to write is decided here */
	struct delay_mark *m = xcalloc(1, sizeof *m);

	m->b = b;
	m->done = done;
	m->file = cfgfile_new(b, "delayOffset.json", &at_once_ms, put_file, m);
	m->version.timestamp = clock_wall_ms();
	return m;
}

void
delay_mark_free(struct delay_mark **mp)
{
	if (*mp == NULL)
		return;
	cfgfile_free(&(*mp)->file);
	free(*mp);
	*mp = NULL;
}

static int64_t
log_end(const struct delay_mark *m)
{
	return pos_read(&m->b->w->shm->broker.appended);
}

static struct store_queue *
level_queue(const struct delay_mark *m, int level)
{
	return store_queue_find(m->b->store, SLICE_LIT(SCHEDULE_TOPIC), level - 1);
}

static void
read_table(struct delay_mark *m, const json_t *table)
{
	char key[16];

	for (int i = 1; i <= DELAY_LEVELS; i++) {
		snprintf(key, sizeof(key), "%d", i);
		m->done[i] = MAX_OF(json_get_i64(table, key, 0), 0);
	}
}

/* logOffset is missing where the original wrote it. */
static void
read_place(struct delay_mark *m, const json_t *o)
{
	data_version_read(&m->version, json_object_get(o, "dataVersion"));
	read_table(m, json_object_get(o, "offsetTable"));
	memcpy(m->saved.done, m->done, sizeof(m->saved.done));
	m->saved.log_end = json_get_i64(o, "logOffset", -1);
}

/*
 * The log ends before the place that the file names: it lost its tail, with copies in it. What was due when the last record that is
 * left was stored has been delivered before, the rest is delivered (again).
 */
static void
go_back(struct delay_mark *m)
{
	struct store_queue *q;
	int64_t physical, due, last_ms = pos_read(&m->b->w->shm->broker.dispatched_store_ms);
	int32_t size;

	for (int i = 1; i <= DELAY_LEVELS; i++) {
		if ((q = level_queue(m, i)) == NULL)
			continue;
		while (m->done[i] > queue_min(q) && store_unit_at(m->b->store, q, m->done[i] - 1, &physical, &size, &due) == RC_OK &&
		    due >= last_ms)
			m->done[i]--;
	}
}

/* from: the end of the log when the file was written; -1: the file is of the original, which has no such thing. */
static void
set_scan(struct delay_mark *m, int64_t from)
{
	int64_t end = log_end(m), min = pos_read(&m->b->w->shm->clean.min);

	m->scan_began_ms = clock_mono_ms();
	m->scan_at = end;
	if (from > end) {
		log_warn("%s is for a log of %lld bytes, this one has %lld: delayed messages that were delivered in between are "
			 "delivered again", cfgfile_path(m->file), (long long)from, (long long)end);
		go_back(m);
	} else if (from >= 0) {
		m->scan_at = MAX_OF(from, min);
	} else if (!m->have_file && end - min <= SCAN_MISSING) {
		m->scan_at = min;
	}
}

enum rc
delay_mark_load(struct delay_mark *m, struct err *e)
{
	json_t *root = NULL;
	enum rc rc = json_load_config(cfgfile_path(m->file), &root, e);

	if (rc != RC_OK && rc != RC_NOTFOUND)
		return rc;
	m->have_file = rc == RC_OK;
	read_place(m, root);
	set_scan(m, m->saved.log_end);
	if (!m->have_file)
		m->saved.log_end = 0; /* for a slave that asks before the walk is done: nothing is known beyond the log's start */
	json_decref(root);
	return RC_OK;
}

/* ---- a slave: the master delivers, and says how far */

bool
delay_mark_follow(struct delay_mark *m, const json_t *said)
{
	struct place before = m->saved;

	if (!json_is_object(json_object_get(said, "offsetTable")))
		return false;
	m->have_file = true;
	read_place(m, said);
	m->unsaved |= memcmp(&before, &m->saved, sizeof(before)) != 0;
	/* The log's end moves all the time; an older one only means that more of the log is looked through. */
	if (!m->unsaved || (m->kept && clock_mono_ms() - m->asked_ms < m->b->conf->flushDelayOffsetInterval))
		return true;
	m->asked_ms = clock_mono_ms();
	m->kept = true;
	m->unsaved = false;
	cfgfile_changed(m->file);
	return true;
}

enum rc
delay_mark_keep(struct delay_mark *m, struct err *e)
{
	return m->unsaved ? cfgfile_save(m->file, e) : RC_OK;
}

void
delay_mark_begin(struct delay_mark *m)
{
	m->kept = false;
	set_scan(m, m->saved.log_end);
}

int64_t
delay_mark_saved_end(const struct delay_mark *m)
{
	return m->saved.log_end;
}

/* ---- the log's tail */

static void
note_copy(void *arg, const struct message *copy)
{
	struct delay_mark *m = arg;
	int64_t offset;
	int level;

	if (!delay_mark_read(copy->prepared_offset, &level, &offset) || offset < m->done[level])
		return;
	m->done[level] = offset + 1;
	m->found++;
}

static void
end_scan(struct delay_mark *m)
{
	m->scanned = true;
	if (m->found > 0)
		log_info("the log has %lld delayed messages that were delivered after %s was written; looking took %lld ms",
		    (long long)m->found, cfgfile_path(m->file), (long long)(clock_mono_ms() - m->scan_began_ms));
}

bool
delay_mark_scan(struct delay_mark *m, unsigned max)
{
	if (!m->scanned && !append_walk_tail(m->b, &m->scan_at, max, "delayed", note_copy, m))
		end_scan(m);
	return !m->scanned;
}

/* ---- saving */

static bool
worth_saving(const struct delay_mark *m)
{
	int64_t end = log_end(m);

	return memcmp(m->saved.done, m->done, sizeof(m->saved.done)) != 0 || end - m->saved.log_end >= RENEW_BYTES ||
	       !m->kept;
}

void
delay_mark_second(struct delay_mark *m)
{
	int64_t now = clock_mono_ms();

	if (!m->scanned)
		return;
	if (!m->waiting && (!m->kept || now - m->asked_ms >= m->b->conf->flushDelayOffsetInterval) && worth_saving(m)) {
		take_place(m, &m->next);
		m->waiting = true;
		m->asked_ms = now;
	}
	if (!m->waiting || store_flushed_position(m->b->store) < m->next.log_end)
		return;
	m->saved = m->next;
	m->waiting = false;
	m->kept = true;
	cfgfile_changed(m->file);
}

enum rc
delay_mark_save(struct delay_mark *m, struct err *e)
{
	if (!m->scanned)
		return RC_OK; /* the file still says where to begin */
	take_place(m, &m->saved);
	m->waiting = false;
	return cfgfile_save(m->file, e);
}

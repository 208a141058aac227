/*
 * pop_answer: the answer to a pop. See pop_answer.h.
 *
 * Runs in:    the broker process.
 * Owns:       answers whose records are not in the log yet.
 * Must not:   give out a message whose checkpoint (or, ordered, whose block) is not in the log.
 */
#include "workers/broker/pop_answer.h"

#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/answer.h"
#include "workers/broker/brstats.h"

struct pop_answer *
pop_answer_new(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask, int64_t pop_ms,
	       int32_t revive_queue)
{
	struct pop_answer *a = xcalloc(1, sizeof(*a));

	*a = (struct pop_answer){.pop = p,
				 .conn = c,
				 .id = *id,
				 .pop_ms = pop_ms,
				 .open = 1,
				 .invisible_ms = ask->invisible_ms,
				 .revive_queue = revive_queue,
				 .order = ask->order};
	memcpy(a->topic.text, ask->topic.p, ask->topic.n);
	conn_ref(c);
	return a;
}

void
pop_answer_free(struct pop_answer **ap)
{
	struct pop_answer *a = *ap;

	if (a == NULL)
		return;
	for (unsigned i = 0; i < a->parts; i++)
		free(a->part[i].order_counts);
	conn_unref(&a->conn);
	free(a);
	*ap = NULL;
}

/* ---- what was taken */

struct pop_part *
pop_answer_add(struct pop_answer *a, struct pop_queue *q, enum pop_flag flag, int64_t start, const struct get_result *r)
{
	struct pop_part *part = &a->part[a->parts++];

	*part = (struct pop_part){.q = q, .flag = flag, .start = start, .next = r->next, .first = a->messages};
	for (unsigned i = 0; i < r->ranges; i++)
		for (size_t at = 0; at < r->range[i].n; at += be32_get(r->range[i].p + at + MSG_OFF_SIZE)) {
			const char *record = r->range[i].p + at;

			a->offset[a->messages] = (int64_t)be64_get(record + MSG_OFF_QUEUE_OFFSET);
			a->physical[a->messages++] = (int64_t)be64_get(record + MSG_OFF_PHYSICAL);
			part->count++;
		}
	return part;
}

void
pop_answer_drop_last(struct pop_answer *a)
{
	struct pop_part *part = &a->part[--a->parts];

	a->messages -= part->count;
}

/* ---- its header */

static void
put_start(const struct pop_part *part, struct buf *out)
{
	buf_printf(out, "%s%c %d %lld", out->len > 0 ? ";" : "", (int)part->flag, part->q->id, (long long)part->start);
}

static void
put_offsets(const struct pop_answer *a, const struct pop_part *part, struct buf *out)
{
	buf_printf(out, "%s%c %d ", out->len > 0 ? ";" : "", (int)part->flag, part->q->id);
	for (unsigned i = 0; i < part->count; i++)
		buf_printf(out, i > 0 ? ",%lld" : "%lld", (long long)a->offset[part->first + i]);
}

static void
put_counts(const struct pop_part *part, struct buf *out)
{
	if (part->order_counts == NULL)
		return;
	if (out->len > 0)
		buf_put_char(out, ';');
	buf_put_str(out, part->order_counts);
}

static void
put_fields(const struct pop_answer *a, struct frame_out *f)
{
	struct buf start = {0}, offsets = {0}, counts = {0};

	for (unsigned i = 0; i < a->parts; i++) {
		if (!a->part[i].stored)
			continue;
		put_start(&a->part[i], &start);
		put_offsets(a, &a->part[i], &offsets);
		put_counts(&a->part[i], &counts);
	}
	frame_field_i64(f, "popTime", a->pop_ms);
	frame_field_i64(f, "invisibleTime", a->invisible_ms);
	frame_field_i64(f, "reviveQid", a->revive_queue);
	frame_field_i64(f, "restNum", a->rest);
	frame_field(f, "startOffsetInfo", buf_slice(&start));
	frame_field(f, "msgOffsetInfo", buf_slice(&offsets));
	if (a->order)
		frame_field(f, "orderCountInfo", buf_slice(&counts));
	buf_free(&start);
	buf_free(&offsets);
	buf_free(&counts);
}

/* ---- its messages */

/* Messages of a retry topic are shown under the topic that was asked for; their handle stands in them. */
static bool
put_renamed(const struct pop_answer *a, const struct pop_part *part, unsigned i, struct slice record, struct buf *out)
{
	struct pop_handle h = {part->start,     a->pop_ms,   a->invisible_ms,
			       a->revive_queue, part->flag,  slice_of(a->pop->b->conf->brokerName),
			       part->q->id,     a->offset[i]};
	struct buf text = {0}, handle = {0};
	struct message m;
	char *to = NULL;

	if (message_decode(&m, record.p, record.n, false) == RC_OK) {
		if (props_get(m.props[0], "POP_CK").n == 0) {
			if (m.props[0].n > 0 && m.props[0].p[m.props[0].n - 1] != 2)
				buf_put_char(&text, 2);
			pop_handle_put(&h, &handle);
			props_put(&text, "POP_CK", buf_slice(&handle));
		}
		m.topic = slice_of(a->topic.text);
		m.props[1] = buf_slice(&text);
		to = m.props[0].n + text.len <= MSG_PROPS_MAX ? buf_room(out, message_size(&m)) : NULL;
		if (to != NULL) {
			message_encode(&m, to);
			out->len += message_size(&m);
		}
	}
	buf_free(&text);
	buf_free(&handle);
	return to != NULL;
}

static bool
is_renamed(const struct pop_answer *a, const struct pop_part *part)
{
	return part->flag != POP_NORMAL && !a->pop->b->conf->popResponseReturnActualRetryTopic;
}

/* The records of one part: where they stand in the log, or copies in `renamed`. Returns their size. */
static size_t
collect_part(const struct pop_answer *a, const struct pop_part *part, struct slice *record, struct buf *renamed)
{
	size_t before = renamed->len, bytes = 0;

	for (unsigned i = part->first; i < part->first + part->count; i++) {
		record[i] = SLICE_NONE;
		if (store_record_at(a->pop->b->store, a->physical[i], &record[i]) != RC_OK)
			continue; /* its segment went since: it is revived, and found to be gone */
		if (is_renamed(a, part) && put_renamed(a, part, i, record[i], renamed))
			record[i] = SLICE_NONE;
		bytes += record[i].n;
	}
	return bytes + renamed->len - before;
}

static void
count_answer(struct pop_answer *a, size_t bytes, unsigned messages)
{
	struct shm_counters *k = &a->pop->b->w->shm->counters;

	count_add(&k->get_found, 1);
	count_add(&k->get_msgs, messages);
	count_add(&k->get_bytes, bytes);
	count_add(&k->pop_msgs, messages);
	for (unsigned i = 0; i < a->parts; i++)
		if (a->part[i].stored)
			brstats_get(a->pop->b->stats, a->part[i].q->sub->topic, a->part[i].q->sub->group,
				    a->part[i].count, bytes * a->part[i].count / a->messages);
}

static void
send_messages(struct pop_answer *a)
{
	struct slice record[POP_BATCH_MAX] = {SLICE_NONE};
	struct buf renamed = {0};
	struct conn *c = a->conn;
	struct frame_out f;
	size_t bytes = 0;

	for (unsigned i = 0; i < a->parts; i++)
		if (a->part[i].stored)
			bytes += collect_part(a, &a->part[i], record, &renamed);
	count_answer(a, bytes, a->messages);
	frame_begin_response(&f, &c->out, &a->id, RES_SUCCESS);
	frame_remark(&f, SLICE_LIT("FOUND"));
	put_fields(a, &f);
	frame_end(&f, bytes);
	buf_put_slice(&c->out, buf_slice(&renamed));
	for (unsigned i = 0; i < a->messages; i++)
		if (record[i].n > 0)
			conn_put_ref(c, record[i].p, record[i].n);
	conn_kick(c);
	buf_free(&renamed);
}

static void
send_answer(struct pop_answer *a, const char *why)
{
	bool some = false;

	for (unsigned i = 0; i < a->parts; i++)
		some |= a->part[i].stored;
	fault_hit(FAULT_POP_BEFORE_ANSWER);
	if (a->id.oneway || a->conn->closed)
		;
	else if (some)
		send_messages(a);
	else
		conn_answer(a->conn, &a->id, RES_SERVICE_NOT_AVAILABLE, "service not available now. %s",
			    why != NULL ? why : "The checkpoint of the pop could not be stored");
	pop_answer_free(&a);
}

/* ---- when it goes */

void
pop_answer_close(struct pop_answer *a, const char *why)
{
	if (--a->open == 0)
		send_answer(a, why);
}

void
pop_answer_ck_told(void *arg, int64_t i, const struct appended *told)
{
	struct pop_answer *a = arg;
	struct pop_part *part = &a->part[i];
	struct pop *p = a->pop;

	pop_log_told(p, a->revive_queue, told);
	if (append_is_stored(told->code)) {
		part->stored = true;
		pop_state_stored(p->state, part->ck, told->queue_offset);
		pop_log_move_offset(p, part->q, part->next, told->physical, told->end);
		p->wanted = true;
	} else {
		pop_state_refused(p->state, part->ck);
	}
	part->ck = NULL;
	pop_answer_close(a, told->why);
}

void
pop_answer_order_told(void *arg, int64_t i, const struct appended *told)
{
	struct pop_answer *a = arg;

	a->part[i].stored = append_is_stored(told->code);
	pop_answer_close(a, told->why);
}

void
pop_answer_nothing(struct conn *c, const struct request_id *id, int code, const struct pop_ask *ask, int64_t rest,
		   int32_t revive_queue)
{
	struct pop_answer none = {.pop_ms = clock_wall_ms(),
				  .invisible_ms = ask->invisible_ms,
				  .rest = rest,
				  .revive_queue = revive_queue,
				  .order = ask->order};
	struct frame_out f;

	if (!answer_begin(&f, c, id, code))
		return;
	frame_remark(&f, SLICE_LIT("NO_MESSAGE_IN_QUEUE"));
	put_fields(&none, &f);
	answer_end(&f, c);
}

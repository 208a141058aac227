/*
 * pop_order_file: what is kept of ordered pops: config/consumerOrderInfo.json, and records of the revive log for what
 * is newer.
 *
 * Runs in:    the broker process of a master.
 * Owns:       config/consumerOrderInfo.json. "logOffset" in it, which the original passes over, is where the log was
 * when it was written. If it dies: what the file lacks is read from the revive log, queue 0; its stored offset stays
 * before it until a later file has it.
 */
#include "common/clock.h"
#include "workers/broker/cfgfile.h"
#include "workers/broker/pop_int.h"

/* A slave has it from its master, and so has the place in the log. */
void
pop_put_order(const struct pop *p, struct buf *out)
{
	int64_t mark = p->state != NULL ? pos_read(&p->b->w->shm->broker.appended) : p->order_mark;

	pop_order_put_json(p->order, out);
	if (!out->failed && out->len > 0)
		out->len--; /* the closing brace */
	buf_printf(out, ",\"logOffset\":%lld}", (long long)mark);
}

uint64_t
pop_order_version(const struct pop *p)
{
	return p->order_version;
}

void
pop_follow_order(struct pop *p, const json_t *said)
{
	if (p->state != NULL || !json_is_object(said))
		return;
	pop_order_remove(p->order, SLICE_NONE, SLICE_NONE);
	pop_order_read_json(p->order, said);
	p->order_mark = json_get_i64(said, "logOffset", 0);
	p->order_followed = true;
	cfgfile_changed(p->order_file);
}

static void
put_file(void *arg, struct buf *out)
{
	struct pop *p = arg;

	pop_put_order(p, out);
	buf_put_char(out, '\n');
	if (p->order_open < 0) /* else an earlier writing has failed: what it was for is still open */
		p->order_open = p->order_since;
	p->order_since = -1;
	p->order_saves = cfgfile_saves(p->order_file);
}

void
pop_order_begin(struct pop *p)
{
	static const int32_t delay_ms = 1000;

	p->order = pop_order_new();
	p->order_open = p->order_since = -1;
	p->order_file = cfgfile_new(p->b, "consumerOrderInfo.json", &delay_ms, put_file, p);
}

enum rc
pop_order_load(struct pop *p, struct err *e)
{
	json_t *root = NULL;
	enum rc rc;

	if (p->order_followed)
		return RC_OK; /* the file is a little behind */
	rc = json_load_config(cfgfile_path(p->order_file), &root, e);
	if (rc != RC_OK)
		return rc == RC_NOTFOUND ? RC_OK : rc;
	pop_order_read_json(p->order, root);
	p->order_mark =
	    json_get_i64(root, "logOffset", INT64_MAX); /* without it the original has written the file: it has all */
	json_decref(root);
	return RC_OK;
}

void
pop_order_end(struct pop *p)
{
	cfgfile_free(&p->order_file);
	pop_order_free(&p->order);
}

/* ---- changes */

static void
note_change(struct pop *p)
{
	p->order_version++;
	cfgfile_changed(p->order_file);
}

struct change {
	struct pop *pop;
	append_done *done;
	void *arg;
	int64_t tag;
};

static void
told(void *arg, int64_t revive_queue, const struct appended *a)
{
	struct change c = *(struct change *)arg;

	free(arg);
	pop_log_told(c.pop, (int32_t)revive_queue, a);
	if (append_is_stored(a->code) && c.pop->order_since < 0)
		c.pop->order_since = a->queue_offset;
	c.done(c.arg, c.tag, a);
}

void
pop_order_changed(struct pop *p, struct slice topic, struct slice group, int32_t queue_id, append_done *done, void *arg,
		  int64_t tag)
{
	struct change *c = xmalloc(sizeof(*c));
	struct append_to to = {.done = told, .arg = c, .tag = 0, .no_wait = true};

	*c = (struct change){p, done, arg, tag};
	p->text.len = 0;
	pop_order_put_entry(p->order, topic, group, queue_id, &p->text);
	note_change(p);
	if (pop_log_put_order(p, buf_slice(&p->text), &to) == RC_OK)
		return;
	free(c);
	done(arg, tag, &(struct appended){.code = RES_SERVICE_NOT_AVAILABLE, .why = store_refusal(p->b->store)});
}

void
pop_order_touch(struct pop *p)
{
	note_change(p);
}

int64_t
pop_order_low(const struct pop *p)
{
	if (p->order_open >= 0)
		return p->order_open;
	return p->order_since >= 0 ? p->order_since : INT64_MAX;
}

void
pop_order_second(struct pop *p)
{
	if (p->order_open >= 0 && cfgfile_saves(p->order_file) > p->order_saves)
		p->order_open = -1;
	if (pop_order_expire(p->order, clock_wall_ms()))
		note_change(p);
}

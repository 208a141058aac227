/*
 * followers: what a master tells its slaves of everything that is not in the log. See followers.h.
 *
 * Runs in:    the broker process of a master.
 * Owns:       the questions of slaves that wait for a change.
 * If it dies: the slaves ask the next one for everything: `have` begins with the time of this broker's start.
 */
#include "workers/broker/followers.h"

#include "common/clock.h"
#include "common/crc.h"
#include "workers/broker/answer.h"
#include "workers/broker/delay.h"
#include "workers/broker/groups.h"
#include "workers/broker/modes.h"
#include "workers/broker/offsets.h"
#include "workers/broker/orderly.h"
#include "workers/broker/pop.h"
#include "workers/broker/role.h"
#include "workers/broker/timer.h"
#include "workers/broker/topics.h"

#define BODY_MAX          (FRAME_MAX - HEADER_MAX)
#define HOLD_MAX_MS       10000
#define SOON_BYTES_PER_MS 2000 /* of an answer: below it offsets cost little on both sides */

/* ---- the parts; a slave says of each which state of it it has */

/* How soon a change is told. */
enum haste { AT_ONCE, SOON, SLOWLY };

struct part {
	const char *name; /* member of the answer; NULL: `put` makes several by itself */
	enum haste haste;
	uint64_t (*state)(struct broker *b); /* another number when it is another content; never 0 */
	void (*put)(struct broker *b, uint64_t known, struct buf *out); /* known: 0, or the state that the slave has */
};

static uint64_t
version_state(const struct data_version *v)
{
	return ((uint64_t)v->counter * 0x9E3779B97F4A7C15u ^ (uint64_t)v->timestamp) | 1;
}

static uint64_t
text_state(struct buf *text)
{
	uint64_t state = UINT64_C(1) << 32 | crc32_of(text->p, text->len);

	buf_free(text);
	return state;
}

static uint64_t
topics_state(struct broker *b)
{
	return version_state(topics_version(b->topics));
}

static void
put_topics(struct broker *b, uint64_t known, struct buf *out)
{
	(void)known;
	topics_put_wrapper_json(b->topics, PERM_READ | PERM_WRITE, out);
}

static uint64_t
groups_state(struct broker *b)
{
	return version_state(groups_version(b->groups));
}

static void
put_groups(struct broker *b, uint64_t known, struct buf *out)
{
	(void)known;
	groups_put_wrapper_json(b->groups, out);
}

static uint64_t
modes_state(struct broker *b)
{
	return (uint64_t)modes_version(b->modes) + 1;
}

static void
put_modes(struct broker *b, uint64_t known, struct buf *out)
{
	(void)known;
	modes_put_json(b->modes, out);
}

static uint64_t
locks_state(struct broker *b)
{
	return (uint64_t)orderly_version(b->orderly) + 1;
}

static void
put_locks(struct broker *b, uint64_t known, struct buf *out)
{
	(void)known;
	orderly_put_json(b->orderly, out);
}

static uint64_t
offsets_state(struct broker *b)
{
	return offsets_clock(b->offsets);
}

static void
put_offsets(struct broker *b, uint64_t known, struct buf *out)
{
	offsets_put_changes(b->offsets, known, out);
}

static void
put_delay(struct broker *b, uint64_t known, struct buf *out)
{
	(void)known;
	delay_put_offsets(b->delay, out);
}

/* The end of the log is in it too: a slave knows from where on its own copy has to be looked through. */
static uint64_t
delay_state_of(struct broker *b)
{
	struct buf text = {0};

	put_delay(b, 0, &text);
	return text_state(&text);
}

static void
put_hex(struct buf *out, const struct buf *bytes)
{
	static const char digits[] = "0123456789abcdef";

	buf_put_char(out, '"');
	for (size_t i = 0; i < bytes->len; i++) {
		buf_put_char(out, digits[(unsigned char)bytes->p[i] >> 4]);
		buf_put_char(out, digits[bytes->p[i] & 15]);
	}
	buf_put_char(out, '"');
}

static void
put_timer(struct broker *b, uint64_t known, struct buf *out)
{
	struct buf page = {0};

	(void)known;
	timer_put_page(b->timer, &page);
	put_hex(out, &page);
	buf_free(&page);
}

static uint64_t
timer_state_of(struct broker *b)
{
	struct buf page = {0};

	timer_put_page(b->timer, &page);
	return text_state(&page);
}

static void
put_order(struct broker *b, uint64_t known, struct buf *out)
{
	(void)known;
	pop_put_order(b->pop, out);
}

static uint64_t
order_state(struct broker *b)
{
	return pop_order_version(b->pop) + 1;
}

static const struct part parts[] = {
    {"topics", AT_ONCE, topics_state, put_topics}, {"groups", AT_ONCE, groups_state, put_groups},
    {"modes", AT_ONCE, modes_state, put_modes},    {"locks", AT_ONCE, locks_state, put_locks},
    {NULL, SOON, offsets_state, put_offsets},      {"delay", SLOWLY, delay_state_of, put_delay},
    {"timer", SLOWLY, timer_state_of, put_timer},  {"order", SLOWLY, order_state, put_order},
};
#define PARTS COUNT_OF(parts)

/* ---- who asks */

struct follower {
	struct follower *next;
	struct conn *conn; /* a reference */
	struct request_id id;
	bool waits; /* the question is not answered yet */
	uint64_t known[PARTS];
	int64_t told_ms, until_ms; /* monotonic */
	int64_t gap_ms;            /* SOON, for this one: its last answer may have been large */
	char *name;
	int64_t broker_id;
};

struct followers {
	struct broker *b;
	struct follower *list;
	unsigned waiting;
	ev_timer slow; /* runs while somebody waits */
	ev_timer soon; /* offsets have changed, and somebody was told of others a moment ago */
};

/* "boot.state.state..": what a slave brings back as `have`. */
static void
put_have(struct broker *b, const uint64_t *known, struct buf *out)
{
	buf_put_i64(out, b->boot_ms);
	for (size_t i = 0; i < PARTS; i++)
		buf_printf(out, ".%llu", (unsigned long long)known[i]);
}

static bool
next_number(struct slice *rest, uint64_t *n)
{
	struct slice word;

	*n = 0;
	if (!str_next(rest, '.', &word) || word.n == 0 || word.n > 20)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		*n = *n * 10 + (uint64_t)(word.p[i] - '0');
	}
	return true;
}

/* Anything but an answer of this process' life: nothing is known. */
static void
read_have(const struct broker *b, struct slice have, uint64_t *known)
{
	uint64_t boot;
	bool ok = next_number(&have, &boot) && boot == (uint64_t)b->boot_ms;

	for (size_t i = 0; i < PARTS; i++)
		ok = ok && next_number(&have, &known[i]);
	if (!ok)
		memset(known, 0, PARTS * sizeof(known[0]));
}

/* ---- answers */

static void
put_part(struct broker *b, const struct part *p, uint64_t known, struct buf *body)
{
	if (body->len > 1)
		buf_put_char(body, ',');
	if (p->name != NULL)
		buf_printf(body, "\"%s\":", p->name);
	p->put(b, known, body);
}

static void
put_changes(struct follower *f, struct broker *b, struct buf *body)
{
	buf_put_char(body, '{');
	for (size_t i = 0; i < PARTS; i++) {
		uint64_t state = parts[i].state(b);

		if (state == f->known[i])
			continue;
		put_part(b, &parts[i], f->known[i], body);
		f->known[i] = state;
	}
	buf_put_char(body, '}');
}

static void
answer(struct followers *fs, struct follower *f)
{
	struct buf body = {.limit = BODY_MAX}, have = {0};
	struct frame_out out;

	f->waits = false;
	fs->waiting--;
	f->told_ms = clock_mono_ms();
	put_changes(f, fs->b, &body);
	f->gap_ms = MAX_OF(FOLLOW_SOON_MS, MIN_OF((int64_t)body.len / SOON_BYTES_PER_MS, FOLLOW_HOLD_MS));
	put_have(fs->b, f->known, &have);
	if (body.failed) {
		conn_answer(f->conn, &f->id, RES_SYSTEM_ERROR,
			    "the tables are larger than a frame can be: delete topics and groups that are not used");
	} else if (answer_begin(&out, f->conn, &f->id, RES_SUCCESS)) {
		frame_field(&out, "have", buf_slice(&have));
		frame_field_i64(&out, "epoch", pos_read(&fs->b->w->shm->master.epoch));
		frame_end(&out, body.len);
		buf_put_slice(&f->conn->out, buf_slice(&body));
		conn_kick(f->conn);
	}
	buf_free(&body);
	buf_free(&have);
}

static bool
changed_for(const struct follower *f, struct broker *b, enum haste haste)
{
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i].haste == haste && parts[i].state(b) != f->known[i])
			return true;
	return false;
}

static void
drop_closed(struct followers *fs)
{
	for (struct follower **at = &fs->list, *f; (f = *at) != NULL;) {
		if (!f->conn->closed) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		fs->waiting -= f->waits;
		conn_unref(&f->conn);
		free(f->name);
		free(f);
	}
}

static void
answer_due(struct followers *fs)
{
	int64_t now = clock_mono_ms();

	for (struct follower *f = fs->list; f != NULL; f = f->next)
		if (f->waits && !f->conn->closed &&
		    (now >= f->until_ms || (now - f->told_ms >= f->gap_ms && changed_for(f, fs->b, SLOWLY))))
			answer(fs, f);
}

static void
slow_tick(struct ev_loop *loop, ev_timer *t, int events)
{
	struct followers *fs = t->data;

	(void)events;
	drop_closed(fs);
	answer_due(fs);
	if (fs->waiting == 0)
		ev_timer_stop(loop, t);
}

static void
soon_over(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop, (void)t, (void)events; /* the turn's end does the work */
}

static void
answer_soon(struct followers *fs, struct follower *f)
{
	int64_t wait = f->told_ms + f->gap_ms - clock_mono_ms();

	if (wait <= 0) {
		answer(fs, f);
	} else if (!ev_is_active(&fs->soon)) {
		ev_timer_set(&fs->soon, (double)wait / 1000., 0.);
		ev_timer_start(fs->b->w->loop, &fs->soon);
	}
}

void
followers_turn(struct followers *fs)
{
	if (LIKELY(fs->waiting == 0))
		return;
	for (struct follower *f = fs->list; f != NULL; f = f->next) {
		if (!f->waits || f->conn->closed)
			continue;
		if (changed_for(f, fs->b, AT_ONCE))
			answer(fs, f);
		else if (changed_for(f, fs->b, SOON))
			answer_soon(fs, f);
	}
}

/* ---- the question */

static struct follower *
follower_of(struct followers *fs, struct conn *c, const struct command *cmd)
{
	struct follower *f = fs->list;

	while (f != NULL && f->conn != c)
		f = f->next;
	if (f != NULL)
		return f;
	f = xcalloc(1, sizeof(*f));
	conn_ref(c);
	f->conn = c;
	f->name = xslicedup(field_get(cmd, "brokerName"));
	f->broker_id = field_i64(cmd, "brokerId", -1);
	f->next = fs->list;
	fs->list = f;
	log_info("slave %s-%lld at %s follows", f->name, (long long)f->broker_id, c->peer_text);
	return f;
}

static void
merge_commits(struct broker *b, struct slice body)
{
	json_t *o = NULL;
	struct err e;

	if (body.n == 0)
		return;
	if (json_load_relaxed(body, &o, &e) == RC_OK)
		offsets_merge(b->offsets, json_object_get(o, "offsets"));
	else
		log_warn("a slave sends commits that cannot be read: %s", e.text);
	json_decref(o);
}

/* Why this node cannot tell a slave anything; NULL: it can. */
static const char *
no_master(const struct broker *b)
{
	if (b->conf->brokerRole == ROLE_SLAVE)
		return "this node is a slave itself";
	return role_refusal(b);
}

void
req_slave_sync(struct broker *b, struct conn *c, struct command *cmd)
{
	struct followers *fs = b->followers;
	const char *why = no_master(b);
	struct request_id id;
	struct follower *f;

	request_id_of(&id, cmd);
	if (why == NULL && !slice_is(field_get(cmd, "brokerName"), b->conf->brokerName))
		why = "it is a slave of another brokerName";
	if (why != NULL) {
		conn_answer(c, &id, RES_NO_PERMISSION, "%s", why);
		return;
	}
	merge_commits(b, cmd->body);
	drop_closed(fs);
	f = follower_of(fs, c, cmd);
	if (f->waits)
		answer(fs, f); /* it asks again before it was answered: both get theirs */
	f->id = id;
	f->waits = true;
	f->until_ms = clock_mono_ms() + MAX_OF(0, MIN_OF(field_i64(cmd, "holdMs", 0), HOLD_MAX_MS));
	read_have(b, field_get(cmd, "have"), f->known);
	fs->waiting++;
	if (f->known[0] == 0)
		answer(fs, f);
	else if (!ev_is_active(&fs->slow))
		ev_timer_again(b->w->loop, &fs->slow);
}

/* ---- life */

struct followers *
followers_new(struct broker *b)
{
	struct followers *fs = xcalloc(1, sizeof(*fs));

	fs->b = b;
	ev_timer_init(&fs->slow, slow_tick, 0., FOLLOW_SLOW_MS / 1000.);
	ev_init(&fs->soon, soon_over);
	fs->slow.data = fs;
	return fs;
}

void
followers_free(struct followers **fp)
{
	struct followers *fs = *fp;
	struct follower *f;

	if (fs == NULL)
		return;
	ev_timer_stop(fs->b->w->loop, &fs->slow);
	ev_timer_stop(fs->b->w->loop, &fs->soon);
	while ((f = fs->list) != NULL) {
		fs->list = f->next;
		conn_unref(&f->conn);
		free(f->name);
		free(f);
	}
	free(fs);
	*fp = NULL;
}

size_t
followers_count(const struct followers *fs)
{
	size_t n = 0;

	for (const struct follower *f = fs->list; f != NULL; f = f->next)
		n += !f->conn->closed;
	return n;
}

void
followers_put_json(const struct followers *fs, struct buf *out)
{
	bool first = true;

	for (const struct follower *f = fs->list; f != NULL; f = f->next) {
		if (f->conn->closed)
			continue;
		buf_put_str(out, first ? "{\"name\":" : ",{\"name\":");
		first = false;
		buf_put_json(out, slice_of(f->name));
		buf_printf(out, ",\"brokerId\":%lld,\"address\":\"%s\",\"toldAgeMs\":%lld}", (long long)f->broker_id,
			   f->conn->peer_text, (long long)(clock_mono_ms() - f->told_ms));
	}
}

/*
 * failover: the decisions. Each function looks at the facts, moves the phase, and queues what is to be done.
 */
#include "master/failover.h"

#include <inttypes.h>
#include <stdio.h>

#define FENCE_MS   1000 /* who has SIGKILL pending runs no more code of ours, even if the kernel keeps it for longer */
#define KEEP_MS    1000 /* a disk that is slower than that must not keep the brokerName without a master */
#define PROMOTE_MS 5000
#define RETURN_MS  30000 /* a master that is taken back has to start first */
#define ASK_MS     30000
#define STILL_MS   20 /* a log that did not grow for so long, with sends refused, stands still */

const char *
failover_phase_name(enum fo_phase p)
{
	switch (p) {
	case FO_WATCHING:
		return "watching";
	case FO_ASKING:
		return "asking";
	case FO_DRAINING:
		return "draining";
	case FO_FENCING:
		return "fencing";
	case FO_KEEPING:
		return "keeping";
	case FO_PROMOTING:
		return "promoting";
	case FO_REFUSED:
		break;
	}
	return "refused";
}

static void say(struct failover *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
say(struct failover *f, const char *fmt, ...)
{
	char text[FO_TEXT * 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->say(f->arg, text);
}

static void set_reason(struct failover *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
set_reason(struct failover *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->reason, sizeof(f->reason), fmt, ap);
	va_end(ap);
}

static void
enter(struct failover *f, enum fo_phase p, int64_t until_ms)
{
	f->phase = p;
	f->until_ms = until_ms;
}

static void
queue(struct failover *f, enum fo_act act, int member)
{
	unsigned at = (f->todo_first + f->todo_count) % COUNT_OF(f->todo);

	ensure(f->todo_count < COUNT_OF(f->todo));
	f->todo[at].act = act;
	f->todo[at].member = member;
	f->todo_count++;
}

static enum fo_act
take(struct failover *f)
{
	enum fo_act act;

	if (f->todo_count == 0)
		return FO_NOTHING;
	act = (enum fo_act)f->todo[f->todo_first].act;
	f->member = f->todo[f->todo_first].member;
	f->todo_first = (f->todo_first + 1) % COUNT_OF(f->todo);
	f->todo_count--;
	return act;
}

/* Nothing of a change is left. */
static void
settle(struct failover *f, enum fo_phase p)
{
	enter(f, p, 0);
	f->old = f->target = -1;
	f->by_hand = f->forced = f->returning = f->yielding = f->answered = false;
	f->down_since_ms = 0;
}

void
failover_init(struct failover *f)
{
	f->served = false;
	f->ask_after_ms = 0;
	f->reason[0] = '\0';
	f->todo_first = f->todo_count = 0;
	settle(f, FO_WATCHING);
}

int
failover_master(const struct failover *f, const struct fo_member *m, int n)
{
	for (int i = 0; i < n; i++)
		if (m[i].id == f->master_id)
			return i;
	return -1;
}

bool
failover_holds(const struct failover *f, int member)
{
	if (f->phase == FO_FENCING || f->phase == FO_KEEPING)
		return member == f->old || member == f->target;
	return f->phase == FO_PROMOTING && member == f->old;
}

/* ---- who may be promoted */

/* What the member would lack of the old master's acknowledged records; 0 nothing, -1 it cannot be told. */
static int64_t
lacks(const struct fo_member *old, const struct fo_member *t)
{
	if (!t->matched || old->acked < 0)
		return -1;
	return MAX_OF(old->acked - t->end, 0);
}

/* The member fits, or why it does not is in f->reason. */
static bool
fits(struct failover *f, const struct fo_member *old, const struct fo_member *t)
{
	int64_t lost = lacks(old, t);

	if (lost == 0 || f->set.unclean || f->forced || (lost > 0 && !f->set.sync && !f->by_hand))
		return true;
	if (lost > 0)
		set_reason(f,
			   "%s lacks %" PRId64 " bytes that %s may have acknowledged (it ends at %" PRId64
			   " of %" PRId64 ")",
			   t->name, lost, old->name, t->end, old->acked);
	else if (!t->matched)
		set_reason(f, "%s has not followed %s in epoch %" PRId64 ": its log may be another", t->name, old->name,
			   f->epoch);
	else
		set_reason(
		    f, "it is not known what %s has acknowledged: it has not served since the supervisor was started",
		    old->name);
	return false;
}

/* The slave here that has most; -1: there is none. */
static int
furthest(const struct failover *f, const struct fo_member *m, int n, int old)
{
	int best = -1;

	for (int i = 0; i < n; i++) {
		if (i == old || m[i].health != FO_SERVING || (!m[i].matched && !f->set.unclean))
			continue;
		if (best < 0 || (m[i].matched && !m[best].matched) ||
		    (m[i].matched == m[best].matched && m[i].end > m[best].end))
			best = i;
	}
	return best;
}

static int
choose(struct failover *f, const struct fo_member *m, int n, int old)
{
	int best = furthest(f, m, n, old);

	for (int i = 0; i < n && best < 0; i++)
		if (i != old && m[i].health == FO_SERVING && !fits(f, &m[old], &m[i]))
			return -1; /* fits has said why */
	if (best < 0)
		set_reason(f, "no slave of it serves here");
	return best >= 0 && fits(f, &m[old], &m[best]) ? best : -1;
}

/* ---- the way of a change */

static void
refuse(struct failover *f, const char *old_name, const char *what)
{
	char said[FO_TEXT];

	snprintf(said, sizeof(said), "%s", f->why_not);
	snprintf(f->why_not, sizeof(f->why_not), "%s", f->reason);
	if (strcmp(said, f->why_not) != 0)
		say(f, "%s (%s), but nobody is promoted: %s", old_name, what, f->reason);
	settle(f, FO_REFUSED);
}

static void
begin(struct failover *f, const struct fo_member *old, int old_index, const char *why, int64_t now_ms)
{
	if (why != f->reason)
		set_reason(f, "%s", why);
	say(f, "%s is master no longer (%s): its processes are ended", old->name, f->reason);
	f->old = old_index;
	queue(f, FO_FENCE, old_index);
	enter(f, FO_FENCING, now_ms + FENCE_MS);
}

static int64_t
next_epoch(const struct failover *f, const struct fo_member *m, int n)
{
	int64_t e = f->epoch;

	for (int i = 0; i < n; i++)
		e = MAX_OF(e, m[i].epoch);
	return e + 1;
}

static void
appoint(struct failover *f, const struct fo_member *m, int n, int target, int64_t now_ms)
{
	int64_t lost = f->old >= 0 && m[f->old].acked >= 0 ? m[f->old].acked - m[target].end : 0;

	if (lost > 0 && !f->returning)
		say(f,
		    "%s lacks the last %" PRId64 " bytes of %s's log, which may have been acknowledged: they are lost",
		    m[target].name, lost, m[f->old].name);
	f->target = target;
	f->epoch = next_epoch(f, m, n);
	f->master_id = m[target].id;
	snprintf(f->why, sizeof(f->why), "%s", f->reason);
	queue(f, FO_KEEP, target);
	enter(f, FO_KEEPING, now_ms + KEEP_MS);
}

/* The old master was fenced, but nobody can take over: it goes on. */
static void
give_back(struct failover *f, const struct fo_member *m)
{
	const char *name = m[f->old].name;

	queue(f, FO_RELEASE, f->old);
	refuse(f, name, "it starts again");
}

static void
fenced(struct failover *f, const struct fo_member *m, int n, int64_t now_ms)
{
	char why[FO_TEXT];
	int target = f->target;

	if (f->yielding) {
		queue(f, FO_KEEP, f->old);
		enter(f, FO_KEEPING, now_ms + KEEP_MS);
		return;
	}
	snprintf(why, sizeof(why), "%s", f->reason);
	if (target >= 0 && !f->returning && (m[target].health != FO_SERVING || !fits(f, &m[f->old], &m[target]))) {
		if (m[target].health != FO_SERVING)
			set_reason(f, "%s does not serve", m[target].name);
		target = -1;
	} else if (target < 0) {
		target = choose(f, m, n, f->old);
	}
	if (target < 0) {
		give_back(f, m);
		return;
	}
	set_reason(f, "%s", why);
	appoint(f, m, n, target, now_ms);
}

void
failover_kept(struct failover *f, int64_t now_ms)
{
	if (f->phase != FO_KEEPING)
		return;
	if (f->yielding) {
		queue(f, FO_FOLLOW, f->old);
		settle(f, FO_WATCHING);
		return;
	}
	queue(f, FO_PROMOTE, f->target);
	enter(f, FO_PROMOTING, now_ms + (f->returning ? RETURN_MS : PROMOTE_MS));
}

void
failover_promoted(struct failover *f, const struct fo_member *m, int n, int member, int64_t epoch)
{
	if (f->phase != FO_PROMOTING || member != f->target)
		return;
	if (epoch > f->epoch) {
		f->epoch = epoch;
		queue(f, FO_KEEP, member);
	}
	say(f, "%s is master now, epoch %" PRId64 " from %" PRId64 " on (%s)", m[member].name, f->epoch, m[member].end,
	    f->why);
	if (f->old >= 0 && f->old < n)
		queue(f, FO_FOLLOW, f->old);
	f->why_not[0] = '\0';
	f->served = true;
	settle(f, FO_WATCHING);
}

/* The one that was to be promoted is not master in time. It has acknowledged nothing, so the old one may come back. */
static void
not_promoted(struct failover *f, const struct fo_member *m, int64_t now_ms)
{
	int target = f->target, old = f->old;

	if (f->returning || old < 0 || m[old].health == FO_FAILED) {
		say(f, "%s does not serve as master in time; it goes on trying", m[target].name);
		if (old >= 0)
			queue(f, FO_FOLLOW, old);
		f->served = false;
		settle(f, FO_WATCHING);
		return;
	}
	f->returning = true;
	f->target = old;
	set_reason(f, "%s did not become master in time", m[target].name);
	begin(f, &m[target], target, f->reason, now_ms);
}

/* ---- watching */

/* What is wrong with the master, as the end of "broker-a-0 ..."; NULL: nothing. */
static const char *
problem(struct failover *f, const struct fo_member *m, int64_t now_ms, char text[FO_TEXT])
{
	int64_t down_ms = f->down_since_ms != 0 ? now_ms - f->down_since_ms : 0;

	if (m->health == FO_FAILED)
		return "its disk has failed";
	if (m->health == FO_FROZEN)
		return "it is frozen: its loop does not turn";
	if (m->health == FO_SERVING)
		return NULL;
	if (m->deaths > f->set.restarts) {
		snprintf(text, FO_TEXT, "its processes died %u time%s in a row", m->deaths, m->deaths == 1 ? "" : "s");
		return text;
	}
	if (!f->served || down_ms < f->set.master_timeout_ms)
		return NULL;
	snprintf(text, FO_TEXT, "it does not serve for %" PRId64 " ms", down_ms);
	return text;
}

static void
note_health(struct failover *f, const struct fo_member *m, int64_t now_ms)
{
	if (m->health == FO_SERVING) {
		if (f->phase == FO_REFUSED)
			say(f, "%s serves again as master", m->name);
		if (f->phase == FO_REFUSED)
			settle(f, FO_WATCHING);
		f->served = true;
		f->down_since_ms = 0;
		f->why_not[0] = '\0';
	} else if (f->down_since_ms == 0) {
		f->down_since_ms = now_ms;
	}
}

static void
ask(struct failover *f, int about, const char *why, int64_t now_ms)
{
	if (now_ms < f->ask_after_ms)
		return;
	set_reason(f, "%s", why);
	queue(f, FO_ASK, about);
	enter(f, FO_ASKING, now_ms + ASK_MS);
}

static void
take_over(struct failover *f, const struct fo_member *m, int n, int old, const char *why, int64_t now_ms)
{
	if (choose(f, m, n, old) >= 0 || m[old].health == FO_FROZEN)
		begin(f, &m[old], old, why,
		      now_ms); /* one that is frozen is ended in any case: who knows when it thaws */
	else
		refuse(f, m[old].name, why);
}

static void
watch_here(struct failover *f, const struct fo_member *m, int n, int master, int64_t now_ms)
{
	char text[FO_TEXT];
	const char *why;

	note_health(f, &m[master], now_ms);
	why = problem(f, &m[master], now_ms, text);
	if (why == NULL || f->set.mode == FAILOVER_OFF)
		return;
	if (f->set.mode == FAILOVER_SCRIPT)
		ask(f, master, why, now_ms);
	else
		take_over(f, m, n, master, why, now_ms);
}

/* A slave here whose master, on another host, has not been heard for too long. */
static int
orphan(const struct failover *f, const struct fo_member *m, int n)
{
	int best = -1;

	for (int i = 0; i < n; i++) {
		if (m[i].health != FO_SERVING)
			continue;
		if (m[i].silent_ms < f->set.master_timeout_ms)
			return -1; /* one hears it: it lives */
		if (best < 0 || m[i].end > m[best].end)
			best = i;
	}
	return best;
}

static void
watch_away(struct failover *f, const struct fo_member *m, int n, int64_t now_ms)
{
	char text[FO_TEXT];
	int slave = orphan(f, m, n);

	if (slave < 0) {
		if (f->phase == FO_REFUSED)
			settle(f, FO_WATCHING);
		return;
	}
	if (f->set.mode != FAILOVER_SCRIPT)
		return;
	snprintf(text, sizeof(text), "the master is not heard for %" PRId64 " ms", m[slave].silent_ms);
	ask(f, slave, text, now_ms);
}

static bool
is_here(const struct fo_member *m, int i)
{
	return i >= 0 && m[i].health != FO_AWAY;
}

static void
watch(struct failover *f, const struct fo_member *m, int n, int64_t now_ms)
{
	int master = failover_master(f, m, n);

	if (is_here(m, master))
		watch_here(f, m, n, master, now_ms);
	else
		watch_away(f, m, n, now_ms);
}

/* ---- the script: what it is told, and its answer */

/* A slave of a SYNC_MASTER must have all that it was ever told of; what its master did alone afterwards nobody here
 * knows. */
static bool
fits_away(struct failover *f, const struct fo_member *t)
{
	if (!f->set.sync || f->set.unclean || f->forced || (t->matched && t->end >= t->master_end))
		return true;
	if (t->matched)
		set_reason(f, "%s ends at %" PRId64 ", and its master was at %" PRId64 " when it was last heard",
			   t->name, t->end, t->master_end);
	else
		set_reason(f, "%s has not followed its master since the supervisor was started", t->name);
	return false;
}

bool
failover_in_sync(struct failover *f, const struct fo_member *m, int n, int *candidate)
{
	int master = failover_master(f, m, n);
	const struct fo_member *t;

	*candidate = is_here(m, master) ? furthest(f, m, n, master) : orphan(f, m, n);
	if (*candidate < 0)
		return false;
	t = &m[*candidate];
	return is_here(m, master) ? lacks(&m[master], t) == 0 : t->matched && t->end >= t->master_end;
}

static void
promote_orphan(struct failover *f, const struct fo_member *m, int n, int target, int64_t now_ms)
{
	char why[FO_TEXT];

	snprintf(why, sizeof(why), "%s", f->reason);
	f->old = -1;
	if (!fits_away(f, &m[target])) {
		refuse(f, m[target].name, why);
		return;
	}
	set_reason(f, "%s", why);
	appoint(f, m, n, target, now_ms);
}

void
failover_answered(struct failover *f, bool promote, int64_t now_ms)
{
	if (f->phase != FO_ASKING)
		return;
	f->ask_after_ms = now_ms + f->set.master_timeout_ms;
	f->answered = promote;
	if (!promote)
		settle(f, f->why_not[0] != '\0' ? FO_REFUSED : FO_WATCHING);
}

static void
asking(struct failover *f, const struct fo_member *m, int n, int64_t now_ms)
{
	int master = failover_master(f, m, n), slave;
	char text[FO_TEXT], why[FO_TEXT];

	if (!f->answered) {
		if (now_ms >= f->until_ms)
			failover_answered(f, false, now_ms);
		return;
	}
	f->answered = false;
	snprintf(why, sizeof(why), "%.200s; the script said promote", f->reason);
	set_reason(f, "%s", why);
	slave = is_here(m, master) ? -1 : orphan(f, m, n);
	if (is_here(m, master) && problem(f, &m[master], now_ms, text) != NULL) {
		settle(f, FO_WATCHING);
		take_over(f, m, n, master, why, now_ms);
	} else if (slave >= 0) {
		promote_orphan(f, m, n, slave, now_ms);
	} else {
		say(f, "the script said promote, but the master serves again: nothing is changed");
		settle(f, FO_WATCHING);
	}
}

/* ---- by hand */

static void
draining(struct failover *f, const struct fo_member *m, int64_t now_ms)
{
	const struct fo_member *old = &m[f->old], *t = &m[f->target];

	if (old->end != f->still_end) {
		f->still_end = old->end;
		f->still_ms = now_ms;
	}
	if (now_ms - f->still_ms >= STILL_MS && t->end >= old->end) {
		begin(f, old, f->old, f->reason, now_ms);
	} else if (now_ms >= f->until_ms && f->forced) {
		begin(f, old, f->old, f->reason, now_ms);
	} else if (now_ms >= f->until_ms || old->health != FO_SERVING || t->health != FO_SERVING) {
		say(f, "not switched: %s has not reached the end of %s's log in time (%" PRId64 " of %" PRId64 ")",
		    t->name, old->name, t->end, old->end);
		queue(f, FO_RESUME, f->old);
		settle(f, FO_WATCHING);
	}
}

static enum rc
may_switch(const struct failover *f, const struct fo_member *m, int master, const struct fo_member *t, bool unclean,
	   struct err *e)
{
	if (f->phase >= FO_DRAINING && f->phase <= FO_PROMOTING) {
		err_set(e, "a change of the master is under way (%s)", failover_phase_name(f->phase));
		return RC_BUSY;
	}
	if (t->health == FO_AWAY)
		err_set(e, "%s runs on another host: give the command there", t->name);
	else if (t->health != FO_SERVING)
		err_set(e, "%s does not serve", t->name);
	else if (!t->matched && !unclean)
		err_set(e,
			"%s has not followed its master in epoch %" PRId64
			": its log may lack records (--unclean takes that loss)",
			t->name, f->epoch);
	else if (!is_here(m, master) && t->silent_ms < f->set.master_timeout_ms && !unclean)
		err_set(e, "the master lives, on another host: stop it first (--unclean: it is fenced when it hears of "
			   "the new one)");
	else
		return RC_OK;
	return RC_INVAL;
}

enum rc
failover_switch(struct failover *f, const struct fo_member *m, int n, int member, bool unclean, int64_t now_ms,
		struct err *e)
{
	int master = failover_master(f, m, n);
	enum rc rc;

	if (member == master) {
		say(f, "%s is master already", m[member].name);
		return RC_OK;
	}
	rc = may_switch(f, m, master, &m[member], unclean, e);
	if (rc != RC_OK)
		return rc;
	settle(f, FO_WATCHING);
	f->by_hand = true;
	f->forced = unclean;
	set_reason(f, "switched by hand");
	if (!is_here(m, master)) {
		promote_orphan(f, m, n, member, now_ms);
		return RC_OK;
	}
	f->old = master;
	f->target = member;
	if (m[master].health != FO_SERVING) {
		begin(f, &m[master], master, f->reason, now_ms);
		return RC_OK;
	}
	f->still_end = -1;
	queue(f, FO_HANDOVER, master);
	enter(f, FO_DRAINING, now_ms + f->set.master_timeout_ms);
	return RC_OK;
}

/* ---- somebody knows better */

void
failover_superseded(struct failover *f, const struct fo_member *m, int n, int member, int peer, int64_t epoch,
		    int64_t now_ms)
{
	char why[FO_TEXT];

	if (member != failover_master(f, m, n) || epoch <= f->epoch ||
	    (f->phase >= FO_FENCING && f->phase <= FO_PROMOTING))
		return; /* ha says it again */
	snprintf(why, sizeof(why), "%s has epoch %" PRId64 ", which is above its own %" PRId64,
		 peer >= 0 ? m[peer].name : "another node", epoch, f->epoch);
	settle(f, FO_WATCHING);
	f->epoch = epoch;
	if (is_here(m, peer)) { /* nobody else can have promoted it: our own state was lost */
		f->target = peer;
		f->forced = true;
	} else {
		f->yielding = true;
		f->master_id = peer >= 0 ? m[peer].id : -1;
		snprintf(f->why, sizeof(f->why), "%s", why);
	}
	begin(f, &m[member], member, why, now_ms);
}

/* ---- all of it */

static void
look(struct failover *f, const struct fo_member *m, int n, int64_t now_ms)
{
	switch (f->phase) {
	case FO_WATCHING:
	case FO_REFUSED:
		watch(f, m, n, now_ms);
		break;
	case FO_ASKING:
		asking(f, m, n, now_ms);
		break;
	case FO_DRAINING:
		draining(f, m, now_ms);
		break;
	case FO_FENCING:
		if (m[f->old].gone || now_ms >= f->until_ms)
			fenced(f, m, n, now_ms);
		break;
	case FO_KEEPING:
		if (now_ms < f->until_ms)
			break;
		say(f, "epoch %" PRId64 " is not on the disk after %d ms; going on without", f->epoch, KEEP_MS);
		failover_kept(f, now_ms);
		break;
	case FO_PROMOTING:
		if (now_ms >= f->until_ms)
			not_promoted(f, m, now_ms);
		break;
	}
}

enum fo_act
failover_next(struct failover *f, const struct fo_member *m, int n, int64_t now_ms)
{
	if (f->todo_count == 0)
		look(f, m, n, now_ms);
	return take(f);
}

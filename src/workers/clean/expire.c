/*
 * expire: decides what goes and when writes are refused. No clock, no disk: both are given.
 */
#include "workers/clean/expire.h"

#include "common/log.h"
#include "common/str.h"

#define HOUR_MS	   INT64_C(3600000)
#define DAY_HOURS  24

static int
clamp(int v, int low, int high)
{
	return MAX_OF(low, MIN_OF(v, high));
}

static uint32_t
parse_hours(const char *text)
{
	struct slice rest = slice_of(text), piece;
	uint32_t hours = 0;
	int32_t h;

	while (str_next(&rest, ';', &piece)) {
		piece = str_trim(piece);
		if (piece.n == 0)
			continue;
		if (str_i32(piece, &h) == RC_OK && h >= 0 && h < DAY_HOURS)
			hours |= 1u << h;
		else
			log_warn("deleteWhen=%s: \"%.*s\" is no hour from 00 to 23", text, (int)piece.n, piece.p);
	}
	return hours;
}

void
expire_rule_of(const struct broker_conf *c, struct expire_rule *r)
{
	*r = (struct expire_rule){
	    .hours = parse_hours(c->deleteWhen),
	    .reserved_ms = c->fileReservedTime * HOUR_MS,
	    .max_pct = clamp(c->diskMaxUsedSpaceRatio, 10, 95),
	    .forcibly_pct = clamp(c->diskSpaceCleanForciblyRatio, 30, 85),
	    .warning_pct = clamp(c->diskSpaceWarningLevelRatio, 35, 90),
	    .forcibly = c->cleanFileForciblyEnable,
	    .min_free = MAX_OF(c->diskMinFreeBytes, 0),
	    .clean_free = MAX_OF(MAX_OF(c->diskCleanFreeBytes, c->diskMinFreeBytes), 0),
	    .batch_max = c->deleteFileBatchMax > 0 ? (size_t)c->deleteFileBatchMax : 0,
	};
}

int
expire_used_pct(uint64_t total, uint64_t free_all, uint64_t free_usable)
{
	uint64_t used = total > free_all ? total - free_all : 0, whole = used + free_usable;

	if (whole == 0)
		return DISK_UNKNOWN;
	/* Sizes of exabytes times 100 do not fit in 64 bits. */
	return (int)(((unsigned __int128)used * 100 + whole - 1) / whole);
}

/* One disk: what its use asks for is added to the plan. */
static void
judge_disk(const struct expire_rule *r, const struct disk *d, struct expire_plan *p)
{
	bool full, tight;

	if (d->pct == DISK_UNKNOWN)
		return;
	full = d->pct > r->warning_pct || d->usable < r->min_free;
	tight = full || d->pct > r->forcibly_pct || d->usable < r->clean_free;
	p->full |= full;
	p->force |= tight && r->forcibly;
	p->look |= tight || d->pct > r->max_pct;
}

struct expire_plan
expire_decide(const struct expire_rule *r, int hour, const struct disk *log, const struct disk *queue, bool asked)
{
	struct expire_plan p = {.look = asked || (r->hours >> hour & 1) != 0};

	judge_disk(r, log, &p);
	judge_disk(r, queue, &p);
	return p;
}

int64_t
expire_room(const struct expire_rule *r, const struct disk *d)
{
	int64_t kept = d->total / 100 * (100 - r->warning_pct);

	return MAX_OF(d->usable - MAX_OF(kept, r->min_free), 0);
}

/* ---- growth */

#define MEAN_S 600

void
growth_look(struct growth *g, int64_t mono_ms, int64_t usable)
{
	double seconds = (double)(mono_ms - g->at_ms) / 1000, weight;

	if (g->at_ms != 0 && seconds <= 0)
		return;
	if (g->at_ms != 0) {
		g->seen_s = MIN_OF(g->seen_s + (int64_t)(seconds + 0.5), (int64_t)MEAN_S);
		weight = seconds / (double)MAX_OF(g->seen_s, 1);
		g->per_s += ((double)(g->usable - usable) / seconds - g->per_s) * MIN_OF(weight, 1.0);
	}
	g->at_ms = mono_ms;
	g->usable = usable;
}

int64_t
growth_full_in_s(const struct growth *g, int64_t room)
{
	if (g->seen_s == 0 || g->per_s < 1)
		return -1;
	return (int64_t)MIN_OF((double)room / g->per_s, 1e15);
}

size_t
expire_count(const struct expire_rule *r, const struct expire_plan *p, const int64_t *mtimes_ms, size_t count,
    int64_t now_ms)
{
	size_t n = 0;

	if (!p->look)
		return 0;
	while (n < count && n < r->batch_max && (p->force || mtimes_ms[n] + r->reserved_ms <= now_ms))
		n++;
	return n;
}

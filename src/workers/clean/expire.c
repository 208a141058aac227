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
judge_disk(const struct expire_rule *r, int pct, struct expire_plan *p)
{
	if (pct == DISK_UNKNOWN)
		return;
	p->full |= pct > r->warning_pct;
	p->force |= (pct > r->warning_pct || pct > r->forcibly_pct) && r->forcibly;
	p->look |= pct > r->warning_pct || pct > r->forcibly_pct || pct > r->max_pct;
}

struct expire_plan
expire_decide(const struct expire_rule *r, int hour, int log_pct, int queue_pct, bool asked)
{
	struct expire_plan p = {.look = asked || (r->hours >> hour & 1) != 0};

	judge_disk(r, log_pct, &p);
	judge_disk(r, queue_pct, &p);
	return p;
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

/*
 * base: names of results, error sentences, and the end of a worker that found its own invariant broken.
 */
#include "common/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"

static const char *const rc_names[] = {
    [RC_OK] = "ok",
    [RC_AGAIN] = "again",
    [RC_FULL] = "full",
    [RC_NOTFOUND] = "not found",
    [RC_BADDATA] = "bad data",
    [RC_LIMIT] = "over a limit",
    [RC_IO] = "system error",
    [RC_CLOSED] = "closed",
    [RC_INVAL] = "invalid",
    [RC_BUSY] = "busy",
};

const char *
rc_name(enum rc rc)
{
	return (size_t)rc < COUNT_OF(rc_names) ? rc_names[rc] : "unknown";
}

void
err_set(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}

void
err_prefix(struct err *e, const char *fmt, ...)
{
	struct err old = *e;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", old.text);
}

void
ensure_failed(const char *cond, const char *file, int line, const char *func)
{
	log_error("this is a fault of the program, it stops: %s does not hold in %s (%s:%d)", cond, func, file, line);
	abort();
}

/*
 * bench_due: how far delayed messages come from the moment that they are for.
 */
#include <stdlib.h>

#include "common/message.h"
#include "common/str.h"
#include "tools/bench.h"

/* False: it was not delayed. */
static bool
due_of(const struct message *m, unsigned delay_ms, int64_t *due_ms)
{
	if (str_i64(props_get(m->props[0], "TIMER_DELIVER_MS"), due_ms) == RC_OK)
		return true;
	*due_ms = m->born_ms + delay_ms;
	return delay_ms > 0;
}

unsigned
bench_due_note(struct bench_result *r, struct slice body, unsigned delay_ms, int64_t wall_us)
{
	struct message m;
	unsigned n = 0;
	int64_t due_ms;

	for (; body.n > 0 && message_decode(&m, body.p, body.n, false) == RC_OK; n++) {
		body = (struct slice){body.p + m.size, body.n - m.size};
		if (!due_of(&m, delay_ms, &due_ms))
			continue;
		r->early += wall_us < due_ms * 1000;
		hist_add(&r->latency, (uint64_t)llabs(wall_us - due_ms * 1000));
	}
	return n;
}

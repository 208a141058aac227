/*
 * meet: a master and a slave have said hello: what is to be done? Decisions only: no clock, no file.
 */
#ifndef WORKERS_HA_MEET_H
#define WORKERS_HA_MEET_H

#include "workers/ha/hello.h"

/* What the master knows of itself, and what it can look up. */
struct meet_master {
	const struct hello *self; /* its own hello, verdict not yet said */
	bool serves;              /* its own promotion is done */
	/* CRC-32 of the bytes from..to of its log, *crc; false: they cannot be read. */
	bool (*crc)(void *arg, int64_t from, int64_t to, uint32_t *crc);
	void *arg;
};

/*
 * Fills verdict, start and text of the answer. A probe gets VERDICT_NONE. With VERDICT_STALE the master must stop
 * acknowledging, also if it was a probe that said so: see meet_is_stale.
 */
void meet_decide(const struct meet_master *m, const struct hello *slave, struct hello *answer);
/* Does `other` know of a reign after the one of `self`? */
bool meet_is_stale(const struct hello *self, const struct hello *other);
/* Both belong to one cluster and brokerName, and their files have one size. Else false and a sentence in text. */
bool meet_is_ours(const struct hello *self, const struct hello *other, char text[HELLO_TEXT_MAX]);

#endif

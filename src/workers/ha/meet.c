/*
 * meet: what a master answers a slave; see meet.h.
 */
#include "workers/ha/meet.h"

#include <inttypes.h>
#include <stdio.h>

#include "store/segs.h"

static void
say(struct hello *a, enum verdict v, int64_t start)
{
	a->verdict = v;
	a->start = start;
}

bool
meet_is_ours(const struct hello *self, const struct hello *other, char text[HELLO_TEXT_MAX])
{
	if (strcmp(self->cluster, other->cluster) != 0 || strcmp(self->name, other->name) != 0) {
		snprintf(text, HELLO_TEXT_MAX,
			 "one side is %.80s of cluster %.60s, the other %.80s of cluster %.60s: the address of "
			 "the master leads to another broker",
			 self->name, self->cluster, other->name, other->cluster);
		return false;
	}
	if (self->segment_bytes != other->segment_bytes) {
		snprintf(text, HELLO_TEXT_MAX,
			 "mappedFileSizeCommitLog is %" PRId64 " on one side and %" PRId64
			 " on the other: it must be the same on master and slaves",
			 self->segment_bytes, other->segment_bytes);
		return false;
	}
	return true;
}

static int64_t
known_epoch(const struct hello *h)
{
	return MAX_OF(h->epoch, (int64_t)epochs_last(&h->epochs));
}

bool
meet_is_stale(const struct hello *self, const struct hello *other)
{
	return known_epoch(other) > self->epoch;
}

/* From the first byte that is still there, or as the original does from the last file. */
static int64_t
first_byte(const struct hello *self, const struct hello *slave)
{
	const struct segs files = {.file_bytes = self->segment_bytes};

	return slave->flags & HELLO_LAST_FILE ? MAX_OF(segs_start(&files, self->max), self->min) : self->min;
}

/* The slave's last bytes are the master's, too, as far as that can be told. */
static bool
tails_agree(const struct meet_master *m, const struct hello *slave)
{
	uint32_t crc;

	if (slave->tail_at >= slave->max || slave->tail_at < m->self->min)
		return true;
	return m->crc(m->arg, slave->tail_at, slave->max, &crc) && crc == slave->tail_crc;
}

static void
decide_ahead(const struct hello *self, const struct hello *slave, int64_t common, struct hello *a)
{
	if (epochs_last(&self->epochs) > epochs_last(&slave->epochs)) {
		say(a, common <= self->min ? VERDICT_AFRESH : VERDICT_CUT,
		    common <= self->min ? first_byte(self, slave) : common);
		snprintf(a->text, sizeof(a->text),
			 "the slave's log goes on to %" PRId64 " in epoch %d; of that the master of epoch %d has "
			 "no byte behind %" PRId64,
			 slave->max, (int)epochs_last(&slave->epochs), (int)epochs_last(&self->epochs), common);
		return;
	}
	say(a, VERDICT_AHEAD, common);
	snprintf(a->text, sizeof(a->text),
		 "the slave's log ends at %" PRId64 ", the master's at %" PRId64 ", they agree up to %" PRId64
		 ": nobody can tell which end is right. Promote the slave to keep its messages, or empty its store to "
		 "give them up",
		 slave->max, self->max, common);
}

static void
decide_place(const struct meet_master *m, const struct hello *slave, struct hello *a)
{
	const struct hello *self = m->self;
	int64_t common = epochs_meet(&self->epochs, self->max, &slave->epochs, slave->max);

	if (slave->max == 0) {
		say(a, VERDICT_GO, first_byte(self, slave));
	} else if (common < slave->max) {
		decide_ahead(self, slave, common, a);
	} else if (slave->max < self->min) {
		say(a, VERDICT_AFRESH, first_byte(self, slave));
		snprintf(a->text, sizeof(a->text),
			 "the slave's log ends at %" PRId64 ", the master's begins at %" PRId64
			 ": what stood between was removed as expired",
			 slave->max, self->min);
	} else if (!tails_agree(m, slave)) {
		say(a, VERDICT_DIFFERENT, slave->max);
		snprintf(a->text, sizeof(a->text),
			 "the slave's bytes before %" PRId64 " are not the master's: the logs have another "
			 "history. Empty the slave's store, or bring back the one that belongs to this master",
			 slave->max);
	} else {
		say(a, VERDICT_GO, slave->max);
	}
}

void
meet_decide(const struct meet_master *m, const struct hello *slave, struct hello *a)
{
	const struct hello *self = m->self;

	*a = *self;
	a->text[0] = '\0';
	say(a, VERDICT_NONE, 0);
	if (!meet_is_ours(self, slave, a->text)) {
		say(a, VERDICT_FOREIGN, 0);
	} else if (meet_is_stale(self, slave)) {
		say(a, VERDICT_STALE, 0);
		snprintf(a->text, sizeof(a->text),
			 "epoch %" PRId64 " is over, there is %" PRId64 " already: this one is no master any more",
			 self->epoch, known_epoch(slave));
	} else if (slave->flags & HELLO_PROBE) {
		say(a, VERDICT_NONE, 0);
	} else if (self->role == ROLE_SLAVE) {
		say(a, VERDICT_NO_MASTER, 0);
		snprintf(a->text, sizeof(a->text), "this node is a slave itself");
	} else if (!m->serves) {
		say(a, VERDICT_LATER, 0);
		snprintf(a->text, sizeof(a->text), "this node is just becoming the master");
	} else {
		decide_place(m, slave, a);
	}
}

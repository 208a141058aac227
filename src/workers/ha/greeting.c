/*
 * greeting: how a slave finds its master and comes to terms with it: addresses, hellos, epochs, and the order to cut.
 *
 * Runs in:    the ha process of a slave.
 * Must not:   cut by itself: it writes the file `cut` and has the node's workers started again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/crc.h"
#include "store/cut.h"
#include "workers/ha/meet.h"
#include "workers/ha/rx_int.h"

#define TAIL_BYTES     4096 /* of the log's end: what the master compares */
#define CANDIDATES_MAX 16

/* ---- the hello */

static bool
order_cut(struct receiver *rx, const struct hello *a)
{
	struct ha *h = rx->h;
	bool afresh = a->verdict == VERDICT_AFRESH;
	int64_t common = epochs_meet(&h->self.epochs, h->self.max, &a->epochs, a->max);
	struct cut cut = {.from = afresh ? 0 : a->start,
			  .to = h->self.max,
			  .epoch = a->epoch,
			  .ms = clock_wall_ms(),
			  .save = !afresh || common < h->self.max};
	struct err e;

	if (!afresh && common != a->start) {
		rx_part(rx, RETRY_SLOW_MS,
			"it wants us to cut our log at %" PRId64
			", but by our own epochs it agrees with ours up to %" PRId64,
			a->start, common);
		return false;
	}
	snprintf(cut.master, sizeof(cut.master), "%.127s", rx->address);
	snprintf(cut.why, sizeof(cut.why), "%.399s", a->text);
	if (cut_write(h->conf->storePathRootDir, &cut, &e) != RC_OK) {
		rx_part(rx, RETRY_SLOW_MS, "our log must be cut at %" PRId64 ", but that cannot be noted: %s", cut.from,
			e.text);
		return false;
	}
	rx_close_socket(rx);
	rx_turn_state(rx, RX_CUTTING);
	/* flush must not look at what is about to go */
	pos_publish(rx_appended(rx), MIN_OF(cut.from, pos_read(rx_appended(rx))));
	worker_event(h->w, "bytes of the log from %" PRId64 " on are none of the master %s and will be cut%s: %s",
		     cut.from, rx->address, cut.save ? " (saved in " CUT_DIR " of the store)" : "", a->text);
	if (ipc_send(h->w->control_fd, IPC_HA_MASTER_CUT, cut.from, cut.why) != RC_OK)
		worker_die(
		    h->w, "the master process does not hear that the log is to be cut; starting again does it as well");
	return false;
}

/* The master's reigns are ours now, since its log is. */
static bool
take_epochs(struct receiver *rx, const struct epochs *l)
{
	struct err e;

	if (epochs_equal(l, &rx->h->self.epochs) || epochs_save(l, rx->h->epochs_file, &e) == RC_OK)
		return true;
	rx_part(rx, RETRY_SLOW_MS, "its epochs cannot be noted: %s", e.text);
	return false;
}

static bool
begin_fed(struct receiver *rx, const struct hello *a)
{
	if (rx_is_empty(rx) ? a->start > 0 && !rx_begin_log(rx, a->start) : a->start != rx->log.end) {
		if (!rx_is_empty(rx))
			rx_part(rx, RETRY_SLOW_MS, "it would go on at %" PRId64 ", our log ends at %" PRId64, a->start,
				rx->log.end);
		return false;
	}
	if (!take_epochs(rx, &a->epochs))
		return false;
	rx_turn_state(rx, RX_FED);
	rx->reported = -1;
	rx_note_master(rx, &(struct head){.at = a->start, .max = a->max});
	worker_event(rx->h->w, "follows the master %s from %" PRId64 " of the log, its end is %" PRId64, rx->address,
		     a->start, a->max);
	rx_report(rx);
	return true;
}

static bool
take_answer(struct receiver *rx, const struct hello *a)
{
	char text[HELLO_TEXT_MAX];

	rx->ours = true;
	if (!meet_is_ours(&rx->h->self, a, text)) {
		rx_part(rx, RETRY_SLOW_MS, "%s", text);
		return false;
	}
	switch (a->verdict) {
	case VERDICT_GO:
		if (!meet_is_stale(a, &rx->h->self))
			return begin_fed(rx, a);
		rx_part(rx, RETRY_SLOW_MS, "its epoch %" PRId64 " is over, our log knows a later one", a->epoch);
		return false;
	case VERDICT_CUT:
	case VERDICT_AFRESH:
		return order_cut(rx, a);
	case VERDICT_LATER:
	case VERDICT_NO_MASTER:
		rx_part(rx, RETRY_MS, "%s", a->text);
		return false;
	case VERDICT_NONE:
	case VERDICT_AHEAD:
	case VERDICT_STALE:
	case VERDICT_DIFFERENT:
	case VERDICT_FOREIGN:
		break;
	}
	rx_part(rx, RETRY_SLOW_MS, "it refuses us (%s): %s", verdict_name(a->verdict), a->text);
	return false;
}

/*
 * A Java master answers no hello and waits: all that it saw were negative numbers. So it is asked by a report on the
 * same connection. One of ours that was only slow takes that as the first report behind its answer.
 */
void
rx_ask_plain(struct receiver *rx)
{
	rx->asked_plain = true;
	rx_put_report(rx);
}

static bool
begin_plain(struct receiver *rx)
{
	size_t have = rx->have;

	rx_turn_state(rx, RX_FED);
	rx->have = have;
	worker_event(rx->h->w, "follows the master %s, one of the original's, from %" PRId64 " of the log", rx->address,
		     pos_read(rx_appended(rx)));
	return rx_take_frames(rx);
}

bool
rx_take_greeting(struct receiver *rx)
{
	size_t used = 0;
	struct err e;
	enum rc rc;

	if (rx->asked_plain && !hello_begins(rx->in, rx->have))
		return begin_plain(rx);
	rc = hello_take(&rx->h->other, rx->in, rx->have, &used, &e);
	if (rc == RC_AGAIN && rx->have < RX_READ_BYTES)
		return true;
	if (rc != RC_OK) {
		rx_part(rx, RETRY_SLOW_MS, "%s", rc == RC_AGAIN ? "a hello without end" : e.text);
		return false;
	}
	rx->have -= used;
	memmove(rx->in, rx->in + used, rx->have);
	used = rx->have;
	if (!take_answer(rx, &rx->h->other))
		return false;
	rx->have = used; /* the first frame may have come with it */
	return rx->have == 0 || rx_take_frames(rx);
}

/* ---- connecting */

static void
put_tail(struct receiver *rx, struct hello *h)
{
	size_t n, there;
	const char *p;

	h->tail_at = h->max;
	n = (size_t)MIN_OF(h->max - MAX_OF(h->min, segs_start(&rx->log.segs, MAX_OF(h->max - 1, 0))),
			   (int64_t)TAIL_BYTES);
	if (n == 0 || (p = commitlog_read(&rx->log, h->max - (int64_t)n, &there)) == NULL || there < n)
		return;
	h->tail_at = h->max - (int64_t)n;
	h->tail_crc = crc32_of(p, n);
}

static bool
greet(struct receiver *rx)
{
	struct hello *self = &rx->h->self;
	struct buf out = {0};
	struct err e;
	ssize_t n;

	if (ha_fill_self(rx->h, &e) != RC_OK) {
		rx_part(rx, RETRY_SLOW_MS, "%s", e.text);
		return false;
	}
	self->flags = rx->h->conf->syncFromLastFile ? HELLO_LAST_FILE : 0;
	put_tail(rx, self);
	hello_put(&out, self);
	n = send(rx->fd, out.p, out.len, MSG_NOSIGNAL);
	if (n != (ssize_t)out.len) /* a new socket takes 32 KB */
		rx_part(rx, RETRY_MS, "%s", n < 0 ? strerror(errno) : "it does not take our hello");
	else
		rx_turn_state(rx, RX_GREETING);
	buf_free(&out);
	return n == (ssize_t)out.len;
}

void
rx_connected(struct receiver *rx)
{
	int err = sock_error(rx->fd);

	if (err != 0) {
		rx_part(rx, RETRY_MS, "%s", strerror(err));
		return;
	}
	sock_nodelay(rx->fd);
	ev_io_stop(rx->h->w->loop, &rx->io);
	ev_io_set(&rx->io, rx->fd, EV_READ);
	ev_io_start(rx->h->w->loop, &rx->io);
	rx->heard_ms = clock_mono_ms();
	rx->ours = rx->asked_plain = false;
	(void)greet(rx);
}

/* Where the master may be: what the configuration says, or else the name servers, or else each node of the spec in
 * turn. */
static size_t
candidates(const struct receiver *rx, char list[CANDIDATES_MAX][HA_ADDRESS_MAX])
{
	const struct ha *h = rx->h;
	const struct broker_spec *b = NULL;
	size_t n = 0;

	if (h->conf->haMasterAddress[0] != '\0') {
		snprintf(list[0], HA_ADDRESS_MAX, "%s", h->conf->haMasterAddress);
		return 1;
	}
	if (h->learned[0] != '\0')
		snprintf(list[n++], HA_ADDRESS_MAX, "%s", h->learned);
	while (n < CANDIDATES_MAX && (b = spec_sibling(h->w->cluster, h->w->node, b)) != NULL)
		spec_ha_address(b, list[n++], HA_ADDRESS_MAX);
	return n;
}

void
rx_begin_connect(struct receiver *rx)
{
	char list[CANDIDATES_MAX][HA_ADDRESS_MAX];
	size_t n = candidates(rx, list);
	struct addr a;
	struct err e;

	if (n == 0) {
		rx->retry_ms = clock_mono_ms() + RETRY_SLOW_MS;
		snprintf(rx->why, sizeof(rx->why),
			 "where the master is is not known: haMasterAddress is not set and no name server has told");
		return;
	}
	snprintf(rx->address, sizeof(rx->address), "%s", list[rx->turn++ % n]);
	if (!rx_has_space(rx))
		return;
	if (addr_parse(rx->address, &a, &e) != RC_OK || sock_connect(&a, &rx->fd, &e) != RC_OK) {
		rx_part(rx, RETRY_SLOW_MS, "%s", e.text);
		return;
	}
	ev_io_set(&rx->io, rx->fd, EV_WRITE);
	ev_io_start(rx->h->w->loop, &rx->io);
	rx_turn_state(rx, RX_CONNECTING);
}

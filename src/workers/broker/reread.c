/*
 * reread: a request is copied, its ranges are asked for, and it is handled again.
 *
 * Runs in:    the broker process.
 * Owns:       the copies of requests that wait; each is known only to cold until that calls back.
 * If warm dies: cold gives the ask up after a while, and the request is tried again.
 */
#include "workers/broker/reread.h"

#include <errno.h>

#include "remoting/conn.h"
#include "workers/broker/cold.h"

#define ROUNDS_MAX 200 /* a search by time takes some twenty; then it is read as it is: slow is better than never */

struct reread {
	struct broker *b;
	struct conn *conn;   /* a reference */
	struct command *cmd; /* a copy */
	request_handler *again;
	unsigned rounds;
};

/* This pass reads from the disk whatever is cold. */
static bool
is_plain(const struct broker *b)
{
	return b->rereading != NULL && b->rereading->rounds >= ROUNDS_MAX;
}

void
reread_begin(struct broker *b)
{
	if (!is_plain(b))
		store_ask(b->store);
}

static void
end(struct reread *r)
{
	conn_unref(&r->conn);
	command_free(&r->cmd);
	free(r);
}

static void
warm_has_read(void *arg, int error)
{
	struct reread *r = arg;
	struct request_id id;

	if (error != ECANCELED && !r->conn->closed) {
		if (error != 0) {
			request_id_of(&id, r->cmd);
			conn_answer(r->conn, &id, RES_SYSTEM_ERROR,
				    "what was asked for could not be read from the disk: %s", strerror(error));
		} else {
			r->b->rereading = r;
			r->again(r->b, r->conn, r->cmd);
			r->b->rereading = NULL;
		}
	}
	end(r);
}

static struct reread *
copy_request(struct broker *b, struct conn *c, const struct command *cmd, request_handler *again)
{
	struct reread *r = xcalloc(1, sizeof(*r));

	*r = (struct reread){.b = b,
			     .conn = c,
			     .cmd = command_copy(cmd),
			     .again = again,
			     .rounds = b->rereading != NULL ? b->rereading->rounds + 1 : 1};
	conn_ref(c);
	return r;
}

/* Without warm the loop reads it, now: the gate stays open for this one pass. */
static bool
read_plainly(struct broker *b, struct conn *c, struct command *cmd, request_handler *again)
{
	struct reread plainly = {.rounds = ROUNDS_MAX}, *before = b->rereading;

	b->rereading = &plainly;
	again(b, c, cmd);
	b->rereading = before;
	return true;
}

bool
reread_needed(struct broker *b, struct conn *c, struct command *cmd, request_handler *again)
{
	const struct cold_list *cold = store_asked(b->store);
	struct request_id id;
	struct reread *r;
	enum rc rc;

	if (LIKELY(cold->noted == 0) || is_plain(b)) /* what is noted then is of the pass before */
		return false;
	r = copy_request(b, c, cmd, again);
	rc = cold_wait_list(b->cold, cold, warm_has_read, r);
	if (rc == RC_OK)
		return true;
	end(r);
	if (rc != RC_FULL)
		return read_plainly(b, c, cmd, again);
	request_id_of(&id, cmd);
	conn_answer(c, &id, RES_SYSTEM_BUSY, "too many requests wait for the disk, try again later");
	return true;
}

void
reread_never_mind(struct broker *b)
{
	cold_prefetch(b->cold, store_asked(b->store));
}

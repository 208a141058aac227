/*
 * append: messages that the broker itself stores. See append.h.
 *
 * Runs in:    the broker process.
 * Must not:   answer a client: that is for whoever appends.
 */
#include "workers/broker/append.h"

#include "workers/broker/role.h"
#include "workers/broker/sends.h"

enum rc
append_message(struct broker *b, struct message *m, const struct append_to *to)
{
	struct pending *p;
	enum rc rc = UNLIKELY(role_refusal(b) != NULL) ? RC_BUSY : sends_stage(b->sends, m, &p);

	if (rc != RC_OK)
		return rc;
	p->topic = topic_find(b->topics, m->topic); /* for the counts; NULL: none */
	p->internal = true;
	p->no_wait = to->no_wait;
	p->to = *to;
	return RC_OK;
}

bool
append_is_stored(int code)
{
	return code == RES_SUCCESS || code == RES_FLUSH_DISK_TIMEOUT || code == RES_FLUSH_SLAVE_TIMEOUT ||
	       code == RES_SLAVE_NOT_AVAILABLE;
}

void
append_copy(const struct broker *b, const struct message *from, struct message *m)
{
	*m = (struct message){.flag = from->flag, .sysflag = from->sysflag & ~MSG_SYS_STORE_V6, .reconsume_times = from->reconsume_times,
	    .born_ms = from->born_ms, .born_host = from->born_host, .store_host = b->store_host, .body = from->body};
}

bool
append_walk_tail(struct broker *b, int64_t *at, unsigned max, const char *what, void (*each)(void *arg, const struct message *m), void *arg)
{
	struct slice record;
	struct message m;
	enum rc rc = RC_OK;

	for (; rc == RC_OK && max > 0; max--) {
		rc = store_next_record(b->store, at, &record);
		if (rc == RC_OK && message_decode(&m, record.p, record.n, false) == RC_OK)
			each(arg, &m);
	}
	if (rc == RC_BADDATA)
		log_warn("the log cannot be read at %lld: %s messages that were delivered behind it are delivered again", (long long)*at,
		    what);
	return rc == RC_OK;
}

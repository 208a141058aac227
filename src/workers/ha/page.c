/*
 * page: what the console shows of replication, as JSON text; written once a second while somebody looks.
 */
#include <inttypes.h>

#include "common/clock.h"
#include "workers/ha/ha_int.h"

static const char *
state_name(enum peer_state s)
{
	switch (s) {
	case PEER_NEW:
		return "new";
	case PEER_LEAVING:
		return "leaving";
	case PEER_FED:
		return "fed";
	}
	return "unknown";
}

static void
put_peer(const struct peer *p, int64_t max, int64_t now_ms, struct buf *out)
{
	buf_put_str(out, "{\"address\":");
	buf_put_json(out, slice_of(p->address));
	buf_put_str(out, ",\"name\":");
	buf_put_json(out, slice_of(p->name));
	buf_printf(out,
		   ",\"brokerId\":%" PRId64 ",\"state\":\"%s\",\"ours\":%s,\"inSync\":%s,\"acked\":%" PRId64
		   ",\"sent\":%" PRId64 ",\"lag\":%" PRId64 ",\"bytesPerSecond\":%" PRIu64 ",\"heardMsAgo\":%" PRId64
		   "}",
		   p->id, state_name(p->state), p->ours ? "true" : "false", p->in_sync ? "true" : "false", p->acked,
		   p->at, p->acked >= 0 ? max - p->acked : -1, p->bytes_per_second, now_ms - p->heard_ms);
}

void
ha_page_write(struct ha *h)
{
	const struct node_shm *shm = h->w->shm;
	int64_t now_ms = clock_mono_ms();
	struct buf out = {0};

	buf_printf(&out, "{\"epoch\":%" PRId64 ",\"needed\":%d,\"replicated\":%" PRId64 ",\"peers\":[", h->epoch,
		   (int)h->quorum.needed, pos_read(&shm->ha.replicated));
	for (const struct peer *p = h->peers; p != NULL; p = p->next) {
		put_peer(p, pos_read(&shm->broker.appended), now_ms, &out);
		if (p->next != NULL)
			buf_put_char(&out, ',');
	}
	buf_put_str(&out, "],\"master\":");
	if (h->rx != NULL)
		receiver_put_json(h->rx, &out);
	else
		buf_put_str(&out, "null");
	buf_put_char(&out, '}');
	if (!out.failed && page_publish(h->w->page, buf_slice(&out)) != RC_OK)
		log_warn("the page of replication is too large to be shown: %zu bytes", out.len);
	buf_free(&out);
}

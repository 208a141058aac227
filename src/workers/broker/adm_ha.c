/*
 * adm_ha: what operators are told of replication: code 907, and the broker's part of the status page.
 *
 * Runs in:    the broker process.
 * Reads:      the page of this node's ha process, which knows each slave's connection.
 */
#include "common/clock.h"
#include "workers/broker/admin.h"
#include "workers/broker/followers.h"
#include "workers/broker/role.h"
#include "workers/broker/slave.h"

/* What ha wrote last; NULL: nothing, or no such process here. The caller's. */
static json_t *
ha_page(const struct worker *w)
{
	json_t *page = NULL;
	char *text;

	for (int i = 0; w->host != NULL && w->pages != NULL && i < atomic_load(&w->host->workers); i++) {
		const struct shm_worker *it = &w->host->worker[i];

		if (atomic_load(&it->role) != WORKER_HA || w->pages[i] == NULL ||
		    atomic_load(&it->node) != atomic_load(&w->host->worker[w->index].node))
			continue;
		text = page_copy(w->pages[i], NULL);
		page = text != NULL ? json_loads(text, 0, NULL) : NULL;
		free(text);
	}
	return page;
}

/* ---- 907 */

static void
put_connection(const json_t *peer, struct buf *out)
{
	int64_t acked = json_get_i64(peer, "acked", 0);

	buf_put_str(out, "{\"addr\":");
	buf_put_json(out, slice_of(json_get_str(peer, "address", "")));
	buf_printf(out,
		   ",\"diff\":%lld,\"inSync\":%s,\"slaveAckOffset\":%lld,\"transferFromWhere\":%lld,"
		   "\"transferredByteInSecond\":%lld}",
		   (long long)MAX_OF(json_get_i64(peer, "lag", 0), 0),
		   json_get_bool(peer, "inSync", false) ? "true" : "false", (long long)MAX_OF(acked, 0),
		   (long long)MAX_OF(json_get_i64(peer, "sent", 0), 0),
		   (long long)json_get_i64(peer, "bytesPerSecond", 0));
}

static void
put_connections(const json_t *page, struct buf *out)
{
	const json_t *peers = json_object_get(page, "peers");

	buf_put_str(out, "\"haConnectionInfo\":[");
	for (size_t i = 0; i < json_array_size(peers); i++) {
		admin_comma(out);
		put_connection(json_array_get(peers, i), out);
	}
	buf_put_char(out, ']');
}

/* What a slave says of its connection to the master. The original's times are those of its wall clock. */
static void
put_client(const struct broker *b, const json_t *page, struct buf *out)
{
	const struct shm_line_ha *ha = &b->w->shm->ha;
	const json_t *master = json_object_get(page, "master");
	int64_t seen = pos_read(&ha->master_seen_ms), wall = seen > 0 ? clock_wall_ms() - (clock_mono_ms() - seen) : 0;
	bool slave = !broker_is_master(b);

	buf_printf(out,
		   "\"haClientRuntimeInfo\":{\"activated\":%s,\"lastReadTimestamp\":%lld,\"lastWriteTimestamp\":%lld,"
		   "\"masterAddr\":",
		   slave && atomic_load(&ha->connected) != 0 ? "true" : "false", (long long)wall, (long long)wall);
	buf_put_json(out, slice_of(json_get_str(master, "address", "")));
	buf_printf(out, ",\"masterFlushOffset\":0,\"maxOffset\":%lld,\"transferredByteInSecond\":%lld}",
		   slave ? (long long)pos_read(&b->w->shm->broker.appended) : 0LL,
		   (long long)json_get_i64(master, "bytesPerSecond", 0));
}

void
adm_ha_status(struct broker *b, struct conn *c, struct command *cmd)
{
	const struct node_shm *shm = b->w->shm;
	bool master = broker_is_master(b);
	json_t *page = ha_page(b->w);
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	buf_put_char(&body, '{');
	put_client(b, page, &body);
	buf_put_char(&body, ',');
	put_connections(page, &body);
	buf_printf(&body, ",\"inSyncSlaveNums\":%d,\"master\":%s,\"masterCommitLogMaxOffset\":%lld}",
		   atomic_load((shm_i32 *)(uintptr_t)&shm->ha.slaves_in_sync), master ? "true" : "false",
		   master ? (long long)pos_read(&shm->broker.appended) : 0LL);
	json_decref(page);
	answer_buf(c, &id, &body);
}

/* ---- the status page */

static void
put_master_view(const struct broker *b, struct buf *out)
{
	const struct shm_line_ha *ha = &b->w->shm->ha;
	int64_t end = pos_read(&b->w->shm->broker.appended);

	buf_printf(out,
		   "\"slaves\":%d,\"slavesInSync\":%d,\"copiesNeeded\":%d,\"lacksCopies\":%s,\"unreplicated\":%lld,"
		   "\"followers\":[",
		   atomic_load((shm_i32 *)(uintptr_t)&ha->slaves),
		   atomic_load((shm_i32 *)(uintptr_t)&ha->slaves_in_sync),
		   atomic_load((shm_i32 *)(uintptr_t)&ha->needed), store_lacks_copies(b->store) ? "true" : "false",
		   (long long)MAX_OF(end - pos_read(&ha->replicated), 0));
	followers_put_json(b->followers, out);
	buf_put_char(out, ']');
}

static void
put_slave_view(const struct broker *b, struct buf *out)
{
	const struct shm_line_ha *ha = &b->w->shm->ha;
	int64_t max = pos_read(&ha->master_max), seen = pos_read(&ha->master_seen_ms);

	buf_printf(out, "\"connected\":%s,\"masterMax\":%lld,\"behind\":%lld,\"seenAgeMs\":%lld,\"tables\":",
		   atomic_load((shm_i32 *)(uintptr_t)&ha->connected) != 0 ? "true" : "false", (long long)max,
		   (long long)MAX_OF(max - pos_read(&b->w->shm->broker.appended), 0),
		   (long long)(seen > 0 ? clock_mono_ms() - seen : -1));
	slave_put_json(b->slave, out);
}

void
adm_put_replication(const struct broker *b, struct buf *out)
{
	const char *refusal = role_refusal(b);

	buf_printf(out, "{\"role\":\"%s\",\"brokerId\":%lld,\"epoch\":%lld,\"promoting\":%s,\"refuses\":",
		   role_name(b->conf->brokerRole), (long long)b->conf->brokerId,
		   (long long)pos_read(&b->w->shm->master.epoch), b->promoting ? "true" : "false");
	buf_put_json(out, slice_of(refusal != NULL ? refusal : ""));
	buf_put_char(out, ',');
	if (b->conf->brokerRole == ROLE_SLAVE)
		put_slave_view(b, out);
	else
		put_master_view(b, out);
	buf_put_char(out, '}');
}

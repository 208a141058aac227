/*
 * req_query: codes 12 and 33: messages by key, one message by its place in the log.
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/broker.h"
#include "workers/broker/reread.h"

#define BODY_MAX (8u << 20) /* of one answer; a frame holds 16 MiB */

struct found {
	unsigned	count;
	size_t		bytes;
	struct slice	record[QUERY_MAX];
};

static void
read_records(struct broker *b, const struct query_result *r, struct found *f)
{
	struct slice record;

	for (unsigned i = 0; i < r->count; i++) {
		if (store_record_at(b->store, r->physical[i], &record) != RC_OK || f->bytes + record.n > BODY_MAX)
			continue;
		f->record[f->count++] = record;
		f->bytes += record.n;
	}
}

static void
answer_query(struct conn *c, const struct request_id *id, const struct query_result *r, const struct found *found)
{
	struct frame_out f;

	if (id->oneway || c->closed)
		return;
	frame_begin_response(&f, &c->out, id, found->count > 0 ? RES_SUCCESS : RES_QUERY_NOT_FOUND);
	if (found->count == 0)
		frame_remark(&f, SLICE_LIT("can not find message, maybe time range not correct"));
	frame_field_i64(&f, "indexLastUpdateTimestamp", r->last_update_ms);
	frame_field_i64(&f, "indexLastUpdatePhyoffset", r->last_update_offset);
	frame_end(&f, found->bytes);
	for (unsigned i = found->count; i-- > 0;) /* the newest that there are, the oldest of them first */
		conn_put_ref(c, found->record[i].p, found->record[i].n);
	conn_kick(c);
}

void
req_query(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice topic = field_get(cmd, "topic"), key = field_get(cmd, "key");
	struct query_result r = {0};
	struct found found = {0};
	struct request_id id;
	int64_t begin, end;
	int32_t max;

	if (topic.n == 0)
		return broker_bad_field(c, cmd, "topic");
	if (key.n == 0)
		return broker_bad_field(c, cmd, "key");
	if (field_need_i32(cmd, "maxNum", &max) != RC_OK)
		return broker_bad_field(c, cmd, "maxNum");
	if (field_need_i64(cmd, "beginTimestamp", &begin) != RC_OK)
		return broker_bad_field(c, cmd, "beginTimestamp");
	if (field_need_i64(cmd, "endTimestamp", &end) != RC_OK)
		return broker_bad_field(c, cmd, "endTimestamp");
	if (slice_is(field_get(cmd, "_UNIQUE_KEY_QUERY"), "true"))
		max = b->conf->defaultQueryMaxNum;
	max = MIN_OF(max, MIN_OF(b->conf->maxMsgsNumBatch, QUERY_MAX));
	request_id_of(&id, cmd);
	reread_begin(b);
	if (max > 0)
		store_query(b->store, topic, key, max, begin, end, &r);
	read_records(b, &r, &found);
	if (reread_needed(b, c, cmd, req_query))
		return;
	answer_query(c, &id, &r, &found);
}

void
req_view(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct slice record;
	struct frame_out f;
	int64_t offset;
	enum rc rc;

	if (field_need_i64(cmd, "offset", &offset) != RC_OK)
		return broker_bad_field(c, cmd, "offset");
	request_id_of(&id, cmd);
	reread_begin(b);
	rc = store_record_at(b->store, offset, &record);
	if (reread_needed(b, c, cmd, req_view))
		return;
	if (rc != RC_OK) {
		conn_answer(c, &id, RES_SYSTEM_ERROR, "can not find message by the offset, %lld", (long long)offset);
		return;
	}
	if (id.oneway || c->closed)
		return;
	frame_begin_response(&f, &c->out, &id, RES_SUCCESS);
	frame_end(&f, record.n);
	conn_put_ref(c, record.p, record.n);
	conn_kick(c);
}

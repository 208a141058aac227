/*
 * fuzz_pop: any bytes as what clients and stores say of popped messages: a handle, a list of acks, records of the
 * revive log, the state of ordered pops. What is read as a record goes into the state machine.
 */
#include "fuzz.h"
#include "workers/broker/pop_order.h"
#include "workers/broker/pop_text.h"

static void
check_handle(struct slice text)
{
	struct pop_handle h, again;
	struct buf out = {0};

	if (pop_handle_read(text, &h) != RC_OK)
		return;
	must(h.start >= 0 && h.pop_ms >= 0 && h.revive_queue >= 0);
	pop_handle_put(&h, &out);
	must(pop_handle_read(buf_slice(&out), &again) == RC_OK);
	must(again.start == h.start && again.pop_ms == h.pop_ms && again.invisible_ms == h.invisible_ms &&
	     again.flag == h.flag);
	must(slice_eq(again.broker_name, h.broker_name) && again.queue_id == h.queue_id && again.offset == h.offset);
	buf_free(&out);
}

static void
check_acks(struct slice text)
{
	static struct pop_ack_item item;
	struct pop_name name;
	json_t *mem;
	struct err e;
	int count = pop_ack_list(text, &mem, &e);

	must(count >= 0 || e.text[0] != '\0');
	for (int i = 0; i < count; i++) {
		if (pop_ack_list_get(mem, (size_t)i, &item) != RC_OK)
			continue;
		must(item.bits <= POP_BITS_MAX && item.start >= 0 && item.queue_id >= 0 && item.revive_queue >= 0);
		for (size_t bit = 0; bit < item.bits; bit++)
			(void)pop_ack_item_has(&item, bit);
		if (pop_retry_name(item.group, item.topic, POP_RETRY_V2, &name))
			must(strlen(name.text) <= POP_TOPIC_MAX && pop_flag_of(slice_of(name.text)) == POP_RETRY_V2);
	}
	json_decref(mem);
}

static void
check_record(struct pop_state *s, struct slice text)
{
	struct pop_record_ck r;
	struct pop_queue *q;
	struct pop_ck *ck;
	struct buf out = {0};
	json_t *mem;

	if (pop_ck_read(text, &r, &mem) == RC_OK && pop_state_read_ck(s, &r) == RC_OK) {
		q = pop_state_find_queue(s, r.topic, r.group, r.queue_id);
		must(q != NULL && pop_state_read_ck(s, &r) == RC_OK);
		ck = pop_state_find(s, q, r.start, r.pop_ms);
		must(ck != NULL || r.acked != 0 || r.from_start >= 0);
		if (ck != NULL)
			pop_ck_put(ck, SLICE_LIT("b"), -1, -1, &out);
		pop_state_read_ack(s, q, r.start, r.pop_ms, r.start + r.diff[0]);
	}
	buf_free(&out);
	json_decref(mem);
}

static void
check_ack_record(struct slice text)
{
	struct pop_record_ack a;
	struct buf out = {0};
	json_t *mem;

	if (pop_ack_read(text, &a, &mem) == RC_OK) {
		must(a.count >= 1 && a.count <= POP_BATCH_MAX);
		pop_ack_put(&a, SLICE_LIT("b"), &out);
	}
	buf_free(&out);
	json_decref(mem);
}

static void
check_order(struct slice text)
{
	struct pop_order *o = pop_order_new();
	struct buf out = {0};
	json_t *root = NULL;
	struct err e;

	if (json_load_relaxed(text, &root, &e) == RC_OK) {
		pop_order_read_json(o, root);
		if (pop_order_read_entry(o, root) != RC_OK)
			must(true);
		pop_order_put_json(o, &out);
		(void)pop_order_next_free(o);
		(void)pop_order_expire(o, INT64_MAX / 2);
	}
	buf_free(&out);
	json_decref(root);
	pop_order_free(&o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pop_state *s = pop_state_new(4);
	char *copy = fuzz_copy(data, size);
	struct slice text = {copy, size};

	check_handle(text);
	check_acks(text);
	check_record(s, text);
	check_ack_record(text);
	check_order(text);
	pop_state_free(&s);
	free(copy);
	return 0;
}

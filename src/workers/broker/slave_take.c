/*
 * slave_take: what a master said goes into a slave's tables.
 *
 * Runs in:    the broker process of a slave.
 * Must not:   believe lengths or types of what came.
 */
#include "workers/broker/slave_take.h"

#include "workers/broker/delay.h"
#include "workers/broker/groups.h"
#include "workers/broker/modes.h"
#include "workers/broker/offsets.h"
#include "workers/broker/orderly.h"
#include "workers/broker/pop.h"
#include "workers/broker/timer.h"
#include "workers/broker/topics.h"

static enum rc
load(struct slice body, json_t **root, struct err *e)
{
	enum rc rc = json_load_relaxed(body, root, e);

	if (rc == RC_OK && json_is_object(*root))
		return RC_OK;
	if (rc == RC_OK)
		err_set(e, "what it tells is no JSON object");
	json_decref(*root);
	*root = NULL;
	return RC_BADDATA;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
take_timer(struct broker *b, const json_t *hex)
{
	const char *p = json_string_value(hex);
	size_t n = json_string_length(hex);
	struct buf page = {0};

	for (; p != NULL && n >= 2; p += 2, n -= 2) {
		int high = hex_digit(p[0]), low = hex_digit(p[1]);

		if (high < 0 || low < 0)
			break;
		buf_put_char(&page, (char)(high << 4 | low));
	}
	if (n == 0 && page.len > 0)
		timer_follow(b->timer, buf_slice(&page));
	buf_free(&page);
}

enum rc
slave_take_changes(struct broker *b, struct slice body, bool is_copy, struct err *e)
{
	json_t *root = NULL, *part;

	if (load(body, &root, e) != RC_OK)
		return RC_BADDATA;
	if ((part = json_object_get(root, "topics")) != NULL)
		topics_take(b->topics, part, is_copy);
	if ((part = json_object_get(root, "groups")) != NULL)
		groups_take(b->groups, part);
	if ((part = json_object_get(root, "modes")) != NULL)
		modes_take(b->modes, part);
	if ((part = json_object_get(root, "locks")) != NULL)
		orderly_take(b->orderly, part);
	if ((part = json_object_get(root, "delay")) != NULL)
		delay_follow(b->delay, part);
	if ((part = json_object_get(root, "timer")) != NULL)
		take_timer(b, part);
	if ((part = json_object_get(root, "order")) != NULL)
		pop_follow_order(b->pop, part);
	offsets_take_changes(b->offsets, root);
	json_decref(root);
	return RC_OK;
}

static bool
same_version(const struct data_version *ours, const json_t *wrapper)
{
	struct data_version v = {0};

	data_version_read(&v, json_object_get(wrapper, "dataVersion"));
	return v.counter == ours->counter && v.timestamp == ours->timestamp && v.state_version == ours->state_version;
}

enum rc
slave_take_table(struct broker *b, int code, struct slice body, bool is_copy, struct err *e)
{
	json_t *root = NULL;

	if (code == REQ_GET_TIMER_CHECK_POINT) {
		timer_follow(b->timer, body);
		return RC_OK;
	}
	if (load(body, &root, e) != RC_OK)
		return RC_BADDATA;
	if (code == REQ_GET_ALL_TOPIC_CONFIG && !same_version(topics_version(b->topics), root))
		topics_take(b->topics, root, is_copy);
	else if (code == REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG && !same_version(groups_version(b->groups), root))
		groups_take(b->groups, root);
	else if (code == REQ_GET_ALL_MESSAGE_REQUEST_MODE)
		modes_take(b->modes, root);
	else if (code == REQ_GET_ALL_CONSUMER_OFFSET)
		offsets_merge(b->offsets, json_object_get(root, "offsetTable"));
	else if (code == REQ_GET_ALL_DELAY_OFFSET)
		delay_follow(b->delay, root);
	json_decref(root);
	return RC_OK;
}

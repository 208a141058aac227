/*
 * adm_group: an operator makes, changes, deletes and looks at consumer groups (200, 201, 207, 225, 352, 353).
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/admin.h"
#include "workers/broker/brstats.h"
#include "workers/broker/groups.h"
#include "workers/broker/offsets.h"
#include "workers/broker/orderly.h"
#include "workers/broker/pop.h"

#define READ_BIT 2	/* of what 353 forbids */

static void
update_each(struct broker *b, struct conn *c, const struct request_id *id, json_t *list)
{
	struct err e;

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *config = json_array_get(list, i);

		if (group_update(b->groups, config, &e) != RC_OK) {
			conn_answer(c, id, RES_SYSTEM_ERROR, "%s", e.text);
			return;
		}
		log_info("%s sets group %s", c->peer_text, json_get_str(config, "groupName", ""));
	}
	conn_answer(c, id, RES_SUCCESS, NULL);
}

void
adm_group_update(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	json_t *body, *list;

	request_id_of(&id, cmd);
	if (admin_refused_on_slave(b, c, &id) || (body = admin_body(c, &id, cmd)) == NULL)
		return;
	list = json_array();
	json_array_append_new(list, body);
	update_each(b, c, &id, list);
	json_decref(list);
}

void
adm_group_update_list(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	json_t *body, *list;

	request_id_of(&id, cmd);
	if (admin_refused_on_slave(b, c, &id) || (body = admin_body(c, &id, cmd)) == NULL)
		return;
	list = json_object_get(body, "groupConfigList");
	if (json_is_array(list))
		update_each(b, c, &id, list);
	else
		conn_answer(c, &id, RES_SYSTEM_ERROR, "the body has no groupConfigList");
	json_decref(body);
}

void
adm_group_delete(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice name = field_get(cmd, "groupName");
	struct request_id id;

	request_id_of(&id, cmd);
	if (admin_refused_on_slave(b, c, &id))
		return;
	if (group_remove(b->groups, name))
		log_info("%s deletes group %.*s", c->peer_text, TEXT_OF(name));
	/* removeOffset: the name of the field in 4.9. */
	if (field_bool(cmd, "cleanOffset", false) || field_bool(cmd, "removeOffset", false))
		offsets_remove_group(b->offsets, name);
	orderly_remove_group(b->orderly, name);
	pop_remove_group(b->pop, name);
	brstats_remove_group(b->stats, name);
	conn_answer(c, &id, RES_SUCCESS, NULL);
}

void
adm_group_all(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {.limit = FRAME_MAX - HEADER_MAX};

	request_id_of(&id, cmd);
	groups_put_wrapper_json(b->groups, &body);
	answer_buf(c, &id, &body);
}

void
adm_group_get(struct broker *b, struct conn *c, struct command *cmd)
{
	const struct group *g = group_find_or_make(b->groups, field_get(cmd, "group"));
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (g == NULL) {
		conn_answer(c, &id, RES_SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker");
		return;
	}
	group_put_json(g, &body);
	answer_buf(c, &id, &body);
}

void
adm_group_forbidden(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "group"), topic, readable = field_get(cmd, "readable");
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (group.n == 0 || (topic = admin_need(c, cmd, "topic")).n == 0)
		return;
	if (readable.n > 0)
		group_set_forbidden(b->groups, group, topic, READ_BIT, !str_bool(readable));
	buf_put_str(&body, "{\"group\":");
	buf_put_json(&body, group);
	buf_printf(&body, ",\"readable\":%s,\"topic\":", group_forbidden(b->groups, group, topic) & 1 << READ_BIT ? "false" : "true");
	buf_put_json(&body, topic);
	buf_put_char(&body, '}');
	answer_buf(c, &id, &body);
}

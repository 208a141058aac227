/*
 * ns_kv: the key-value configuration: small, rarely written, kept in kvConfig.json as
 * {"configTable":{space:{key:value}}}.
 */
#include <uthash.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "workers/namesrv/namesrv.h"

#undef uthash_fatal
#define uthash_fatal(msg) ensure_failed(msg, __FILE__, __LINE__, __func__)

struct kv_pair {
	UT_hash_handle	 hh;
	char		*key, *value;
};

/* It stays when its last key has gone, as in the original. */
struct kv_space {
	UT_hash_handle	 hh;
	char		*name;
	struct kv_pair	*pairs;
};

static struct kv_space *
find_space(struct namesrv *s, struct slice name)
{
	struct kv_space *space;

	HASH_FIND(hh, s->kv, name.p, name.n, space);
	return space;
}

static struct kv_pair *
find_pair(struct kv_space *space, struct slice key)
{
	struct kv_pair *p;

	HASH_FIND(hh, space->pairs, key.p, key.n, p);
	return p;
}

static void
set_pair(struct namesrv *s, struct slice name, struct slice key, struct slice value)
{
	struct kv_space *space = find_space(s, name);
	struct kv_pair *p;

	if (space == NULL) {
		space = xcalloc(1, sizeof(*space));
		space->name = xslicedup(name);
		HASH_ADD_KEYPTR(hh, s->kv, space->name, name.n, space);
	}
	p = find_pair(space, key);
	if (p == NULL) {
		p = xcalloc(1, sizeof(*p));
		p->key = xslicedup(key);
		HASH_ADD_KEYPTR(hh, space->pairs, p->key, key.n, p);
	}
	free(p->value);
	p->value = xslicedup(value);
}

static void
drop_pair(struct kv_space *space, struct kv_pair *p)
{
	HASH_DEL(space->pairs, p);
	free(p->key);
	free(p->value);
	free(p);
}

void
ns_kv_free(struct namesrv *s)
{
	struct kv_space *space, *next_space;
	struct kv_pair *p, *next;

	HASH_ITER (hh, s->kv, space, next_space) {
		HASH_ITER (hh, space->pairs, p, next)
			drop_pair(space, p);
		HASH_DEL(s->kv, space);
		free(space->name);
		free(space);
	}
}

struct slice
ns_kv_value(struct namesrv *s, struct slice name, struct slice key)
{
	struct kv_space *space = find_space(s, name);
	struct kv_pair *p = space != NULL ? find_pair(space, key) : NULL;

	return p != NULL ? slice_of(p->value) : SLICE_NONE;
}

/* {"key":"value",...} */
static void
put_pairs(const struct kv_space *space, struct buf *b)
{
	const struct kv_pair *p;

	buf_put_char(b, '{');
	for (p = space->pairs; p != NULL; p = p->hh.next) {
		if (p != space->pairs)
			buf_put_char(b, ',');
		buf_put_json(b, slice_of(p->key));
		buf_put_char(b, ':');
		buf_put_json(b, slice_of(p->value));
	}
	buf_put_char(b, '}');
}

bool
ns_kv_put_table(struct namesrv *s, struct slice name, struct buf *b)
{
	const struct kv_space *space = find_space(s, name);

	if (space == NULL)
		return false;
	buf_put_str(b, "{\"table\":");
	put_pairs(space, b);
	buf_put_char(b, '}');
	return true;
}

static enum rc
save(struct namesrv *s, struct err *e)
{
	const struct kv_space *space;
	struct buf b = {0};
	enum rc rc;

	buf_put_str(&b, "{\"configTable\":{");
	for (space = s->kv; space != NULL; space = space->hh.next) {
		if (space != s->kv)
			buf_put_char(&b, ',');
		buf_put_json(&b, slice_of(space->name));
		buf_put_char(&b, ':');
		put_pairs(space, &b);
	}
	buf_put_str(&b, "}}\n");
	if (b.failed) {
		err_set(e, "the key-value configuration is too large to be written");
		rc = RC_LIMIT;
	} else
		rc = file_replace(s->kv_path, buf_slice(&b), e);
	buf_free(&b);
	return rc;
}

/* What is not on disk would be gone with the next start: the operator must hear of it. */
static void
answer_saved(struct ns_req *q)
{
	struct err e;

	routes_touch_answers(&q->s->routes);
	if (save(q->s, &e) == RC_OK) {
		ns_answer_ok(q);
		return;
	}
	log_error("%s; the change holds until the next start only", e.text);
	conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "%s; the change holds until the next start only", e.text);
}

static void
load_space(struct namesrv *s, const char *name, json_t *table)
{
	const char *key, *value;
	json_t *o;

	json_object_foreach (table, key, o) {
		value = json_get_str(table, key, NULL);
		if (value != NULL)
			set_pair(s, slice_of(name), slice_of(key), slice_of(value));
	}
}

enum rc
ns_kv_load(struct namesrv *s, struct err *e)
{
	json_t *root, *o;
	const char *name;
	enum rc rc = json_load_config(s->kv_path, &root, e);

	if (rc == RC_NOTFOUND)
		return RC_OK;
	if (rc != RC_OK)
		return rc;
	json_object_foreach (json_object_get(root, "configTable"), name, o)
		load_space(s, name, o);
	json_decref(root);
	return RC_OK;
}

/* ---- requests */

void
ns_kv_put(struct ns_req *q)
{
	struct slice space = field_get(q->cmd, "namespace"), key = field_get(q->cmd, "key"), value;

	if (space.n == 0 || key.n == 0) {
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "namespace or key is null");
		return;
	}
	if (!ns_need(q, "value", &value))
		return;
	log_info("%s puts %.*s in %.*s", q->c->peer_text, (int)key.n, key.p, (int)space.n, space.p);
	set_pair(q->s, space, key, value);
	answer_saved(q);
}

void
ns_kv_get(struct ns_req *q)
{
	struct slice space, key, value;
	struct frame_out f;

	if (!ns_need(q, "namespace", &space) || !ns_need(q, "key", &key))
		return;
	value = ns_kv_value(q->s, space, key);
	if (value.p == NULL) {
		conn_answer(q->c, &q->id, RES_QUERY_NOT_FOUND, "No config item, Namespace: %.*s Key: %.*s",
			    (int)space.n, space.p, (int)key.n, key.p);
		return;
	}
	if (q->id.oneway || q->c->closed)
		return;
	frame_begin_response(&f, &q->c->out, &q->id, RES_SUCCESS);
	frame_field(&f, "value", value);
	frame_end(&f, 0);
	conn_kick(q->c);
}

void
ns_kv_delete(struct ns_req *q)
{
	struct slice name, key;
	struct kv_space *space;
	struct kv_pair *p;

	if (!ns_need(q, "namespace", &name) || !ns_need(q, "key", &key))
		return;
	space = find_space(q->s, name);
	p = space != NULL ? find_pair(space, key) : NULL;
	if (p == NULL) {
		ns_answer_ok(q);
		return;
	}
	log_info("%s deletes %.*s of %.*s", q->c->peer_text, (int)key.n, key.p, (int)name.n, name.p);
	drop_pair(space, p);
	answer_saved(q);
}

void
ns_kv_list(struct ns_req *q)
{
	struct slice space;

	if (!ns_need(q, "namespace", &space))
		return;
	if (ns_kv_put_table(q->s, space, ns_body(q)))
		ns_answer_body(q);
	else
		conn_answer(q->c, &q->id, RES_QUERY_NOT_FOUND, "No config item, Namespace: %.*s", (int)space.n,
			    space.p);
}

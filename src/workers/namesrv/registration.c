/*
 * registration: reading untrusted bodies. Nothing is kept but what a route needs.
 */
#include "workers/namesrv/registration.h"

#include <zlib.h>

#include "common/json.h"
#include "common/str.h"

#define VERSION_WRAPPED	 37  /* V3_0_11: from here on the topics are wrapped together with the filter servers */
#define VERSION_MAPPINGS 413 /* V5_0_0: the compressed form has mapping infos at its end */
#define ZLIB_FIRST	 0x78
#define QUEUES_DEFAULT	 16
#define PERM_DEFAULT	 6

void
registration_free(struct registration *g)
{
	arena_free(&g->arena);
	g->topics = NULL;
	g->mappings = NULL;
	g->topic_count = g->mapping_count = 0;
}

/* Each step can be undone, so two texts of one length meet only by the chance of 64 bits. */
static uint64_t
mix(uint64_t h, uint64_t w)
{
	h = (h ^ w) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t
mix_text(uint64_t h, struct slice s)
{
	uint64_t w = 0;

	h = mix(h, s.n);
	for (; s.n >= 8; s.p += 8, s.n -= 8) {
		memcpy(&w, s.p, 8);
		h = mix(h, w);
	}
	w = 0;
	if (s.n > 0)
		memcpy(&w, s.p, s.n);
	return mix(h, w);
}

uint64_t
registration_digest(const struct registration *g, struct slice body, int version)
{
	uint64_t h = mix_text((uint64_t)version, body);

	h = mix_text(mix_text(mix_text(h, g->name), g->ha_addr), g->zone);
	h = mix(mix(h, (uint64_t)g->id), (uint64_t)g->timeout_ms);
	h = mix(h, (uint64_t)g->new_style << 1 | (uint64_t)g->acting);
	return h != 0 ? h : 1;
}

static struct slice
keep(struct registration *g, struct slice s)
{
	return (struct slice){arena_slicedup(&g->arena, s), s.n};
}

static int32_t
get_i32(const json_t *o, const char *key, int32_t dflt)
{
	int64_t v = json_get_i64(o, key, dflt);

	return v < INT32_MIN || v > INT32_MAX ? dflt : (int32_t)v;
}

static void
version_of_json(struct ns_version *v, const json_t *o)
{
	v->counter = json_get_i64(o, "counter", 0);
	v->state_version = json_get_i64(o, "stateVersion", 0);
	v->timestamp = json_get_i64(o, "timestamp", 0);
}

enum rc
registration_version_read(struct ns_version *v, struct slice text, struct err *e)
{
	json_t *o;
	enum rc rc = json_load_relaxed(text, &o, e);

	if (rc != RC_OK)
		return rc;
	version_of_json(v, o);
	json_decref(o);
	return RC_OK;
}

/* An empty list means that there are none any more; a missing one changes nothing. */
static void
take_filters(struct registration *g, const json_t *list)
{
	char *text;

	g->filters_given = json_is_array(list);
	if (json_array_size(list) == 0)
		return;
	text = json_dumps(list, JSON_COMPACT);
	g->filters = keep(g, slice_of(text));
	free(text);
}

static void
take_topic(struct registration *g, const char *key, const json_t *o)
{
	const char *name = json_get_str(o, "topicName", key);

	if (!json_is_object(o) || name[0] == '\0')
		return;
	g->topics[g->topic_count++] = (struct topic_def){
	    .name = keep(g, slice_of(name)),
	    .read_queues = get_i32(o, "readQueueNums", QUEUES_DEFAULT),
	    .write_queues = get_i32(o, "writeQueueNums", QUEUES_DEFAULT),
	    .perm = get_i32(o, "perm", PERM_DEFAULT),
	    .sysflag = get_i32(o, "topicSysFlag", 0),
	};
}

static void
take_mapping(struct registration *g, const char *topic, const json_t *o)
{
	const char *broker = json_get_str(o, "bname", NULL);
	char *text;

	if (broker == NULL || topic[0] == '\0')
		return;
	text = json_dumps(o, JSON_COMPACT);
	g->mappings[g->mapping_count++] = (struct mapping_def){
	    .topic = keep(g, slice_of(topic)),
	    .broker = keep(g, slice_of(broker)),
	    .json = keep(g, slice_of(text)),
	};
	free(text);
}

/* A TopicConfigSerializeWrapper. */
static void
take_wrapper(struct registration *g, const json_t *w)
{
	json_t *topics = json_object_get(w, "topicConfigTable");
	json_t *mappings = json_object_get(w, "topicQueueMappingInfoMap");
	const char *key;
	json_t *o;

	version_of_json(&g->version, json_object_get(w, "dataVersion"));
	g->topics = arena_alloc(&g->arena, json_object_size(topics) * sizeof(*g->topics));
	json_object_foreach (topics, key, o)
		take_topic(g, key, o);
	g->mappings = arena_alloc(&g->arena, json_object_size(mappings) * sizeof(*g->mappings));
	json_object_foreach (mappings, key, o)
		take_mapping(g, key, o);
}

static enum rc
read_json(struct registration *g, struct slice body, int version, struct err *e)
{
	json_t *o;
	enum rc rc = json_load_relaxed(body, &o, e);

	if (rc != RC_OK)
		return rc;
	if (!json_is_object(o)) {
		err_set(e, "the registration is no JSON object");
		rc = RC_BADDATA;
	} else if (version >= VERSION_WRAPPED) {
		take_wrapper(g, json_object_get(o, "topicConfigSerializeWrapper"));
		take_filters(g, json_object_get(o, "filterServerList"));
	} else
		take_wrapper(g, o);
	json_decref(o);
	return rc;
}

/* One zlib stream into b, which has the limit. */
static enum rc
inflate_all(struct slice in, struct buf *b, struct err *e)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};
	int did = inflateInit(&z);

	ensure(did == Z_OK);
	while (did == Z_OK) {
		char *to = buf_room(b, MAX_OF(b->len, 65536));

		if (to == NULL)
			break;
		z.next_out = (Bytef *)to;
		z.avail_out = (uInt)(b->cap - b->len);
		did = inflate(&z, Z_NO_FLUSH);
		b->len = (size_t)((char *)z.next_out - b->p);
	}
	inflateEnd(&z);
	if (did == Z_STREAM_END)
		return RC_OK;
	if (did == Z_OK) {
		err_set(e, "the compressed registration grows beyond %u bytes", REG_INFLATED_MAX);
		return RC_LIMIT;
	}
	err_set(e, "the compressed registration is torn or broken (zlib %d after %zu bytes)", did, b->len);
	return RC_BADDATA;
}

static bool
take_count(struct slice *in, int32_t *n)
{
	if (in->n < 4)
		return false;
	*n = (int32_t)be32_get(in->p);
	in->p += 4;
	in->n -= 4;
	return *n >= 0;
}

/* A piece with its length in front. */
static bool
take_piece(struct slice *in, struct slice *piece)
{
	int32_t n;

	if (!take_count(in, &n) || (size_t)n > in->n)
		return false;
	*piece = (struct slice){in->p, (size_t)n};
	in->p += n;
	in->n -= (size_t)n;
	return true;
}

/* "name readQueues writeQueues perm filterType attributes": from the fifth part on nothing is needed. */
static bool
take_text_topic(struct registration *g, struct slice text)
{
	struct topic_def *t = &g->topics[g->topic_count];
	struct slice name, number[3];
	int32_t v[3];

	if (!str_next(&text, ' ', &name) || name.n == 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (!str_next(&text, ' ', &number[i]) || str_i32(number[i], &v[i]) != RC_OK)
			return false;
	*t = (struct topic_def){keep(g, name), v[0], v[1], v[2], 0};
	g->topic_count++;
	return true;
}

static bool
take_text_topics(struct registration *g, struct slice *in)
{
	struct slice text;
	int32_t n;

	if (!take_count(in, &n) || (size_t)n > in->n / 4) /* each has at least its length */
		return false;
	g->topics = arena_alloc(&g->arena, (size_t)n * sizeof(*g->topics));
	for (int32_t i = 0; i < n; i++)
		if (!take_piece(in, &text) || !take_text_topic(g, text))
			return false;
	return true;
}

static bool
take_json_piece(struct slice *in, json_t **o)
{
	struct slice text;
	struct err ignored;

	return take_piece(in, &text) && json_load_relaxed(text, o, &ignored) == RC_OK;
}

static bool
take_text_mappings(struct registration *g, struct slice *in)
{
	json_t *o;
	int32_t n;

	if (!take_count(in, &n) || (size_t)n > in->n / 4)
		return false;
	g->mappings = arena_alloc(&g->arena, (size_t)n * sizeof(*g->mappings));
	for (int32_t i = 0; i < n; i++) {
		if (!take_json_piece(in, &o))
			return false;
		take_mapping(g, json_get_str(o, "topic", ""), o);
		json_decref(o);
	}
	return true;
}

static bool
read_inflated(struct registration *g, struct slice in, int version)
{
	json_t *o;

	if (!take_json_piece(&in, &o))
		return false;
	version_of_json(&g->version, o);
	json_decref(o);
	if (!take_text_topics(g, &in) || !take_json_piece(&in, &o))
		return false;
	take_filters(g, o);
	json_decref(o);
	return version < VERSION_MAPPINGS || take_text_mappings(g, &in);
}

static enum rc
read_compressed(struct registration *g, struct slice body, int version, struct err *e)
{
	struct buf plain = {.limit = REG_INFLATED_MAX};
	enum rc rc = inflate_all(body, &plain, e);

	if (rc == RC_OK && !read_inflated(g, buf_slice(&plain), version)) {
		err_set(e, "the compressed registration does not hold what it must (%zu bytes)", plain.len);
		rc = RC_BADDATA;
	}
	buf_free(&plain);
	return rc;
}

enum rc
registration_read(struct registration *g, struct slice body, int version, struct err *e)
{
	if (body.n == 0)
		return RC_OK;
	if ((unsigned char)body.p[0] == ZLIB_FIRST)
		return read_compressed(g, body, version, e);
	return read_json(g, body, version, e);
}

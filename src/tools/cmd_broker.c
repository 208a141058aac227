/*
 * cmd_broker: brokerStatus, getBrokerConfig, updateBrokerConfig.
 */
#include <stdio.h>

#include "common/conf.h"
#include "common/str.h"
#include "tools/adm.h"

static int
compare_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void
print_pairs(json_t *table)
{
	const char **keys = xcalloc(json_object_size(table) + 1, sizeof(*keys)), *key;
	size_t n = 0;
	json_t *v;

	json_object_foreach (table, key, v)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), compare_text);
	for (size_t i = 0; i < n; i++)
		printf("%-32s: %s\n", keys[i], json_get_str(table, keys[i], ""));
	free(keys);
}

/* Runs `one` for each broker of the options, collecting {address: {key: value}}. */
static enum rc
each_broker(struct adm *a, enum rc (*one)(struct adm *a, const char *address, json_t **pairs))
{
	json_t *all = json_object(), *pairs;
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_options(a, ADM_ALL, &brokers);

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		if (one(a, brokers.v[i].address, &pairs) != RC_OK) {
			adm_failed(a, brokers.v[i].address);
			continue;
		}
		if (!a->json && brokers.n > 1)
			printf("============%s============\n", brokers.v[i].address);
		if (!a->json)
			print_pairs(pairs);
		json_object_set_new(all, brokers.v[i].address, pairs);
	}
	adm_brokers_free(&brokers);
	if (rc == RC_OK && a->json)
		adm_print_json(json_incref(all));
	json_decref(all);
	return rc;
}

static enum rc
get_status(struct adm *a, const char *address, json_t **pairs)
{
	json_t *body;
	enum rc rc = adm_end_json(a, adm_begin(a, address, REQ_GET_BROKER_RUNTIME_INFO), &body);

	if (rc != RC_OK)
		return rc;
	*pairs = json_incref(json_object_get(body, "table"));
	if (*pairs == NULL)
		*pairs = json_object();
	json_decref(body);
	return RC_OK;
}

enum rc
cmd_broker_status(struct adm *a)
{
	return each_broker(a, get_status);
}

static enum rc
add_property(void *arg, struct slice key, struct slice value, int line)
{
	json_t *k = adm_json_text(key);

	(void)line;
	json_object_set_new(arg, json_string_value(k), adm_json_text(value));
	json_decref(k);
	return RC_OK;
}

static enum rc
get_config(struct adm *a, const char *address, json_t **pairs)
{
	struct ask *k = adm_begin(a, address, REQ_GET_BROKER_CONFIG);
	enum rc rc = adm_end(a, k, SLICE_NONE);

	if (rc != RC_OK)
		return rc;
	*pairs = json_object();
	rc = properties_walk(k->answer.body, add_property, *pairs);
	if (rc != RC_OK) {
		err_set(&a->e, "the answer is no properties text");
		json_decref(*pairs);
	}
	return rc;
}

enum rc
cmd_get_broker_config(struct adm *a)
{
	return each_broker(a, get_config);
}

static unsigned
code_point(const unsigned char *p, unsigned len)
{
	unsigned u = len == 2 ? p[0] & 0x1f : len == 3 ? p[0] & 0x0f : p[0] & 0x07;

	for (unsigned i = 1; i < len; i++)
		u = u << 6 | (p[i] & 0x3f);
	return u;
}

/* A character beyond ASCII as \uXXXX, twice if it takes a pair; a broken byte as U+FFFD. Returns how many bytes it had.
 */
static unsigned
put_unicode(struct buf *b, const char *p)
{
	unsigned len = str_utf8_len(p, strlen(p));
	unsigned u = len ? code_point((const unsigned char *)p, len) : 0xfffd;

	if (u >= 0x10000)
		buf_printf(b, "\\u%04x\\u%04x", 0xd800 + ((u - 0x10000) >> 10), 0xdc00 + ((u - 0x10000) & 0x3ff));
	else
		buf_printf(b, "\\u%04x", u);
	return len ? len : 1;
}

/* One line of Java properties text. Its reader takes bytes for Latin-1, so only ASCII is written. */
static void
put_property(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, "%s=", key);
	for (const char *p = value; *p;) {
		if ((unsigned char)*p >= 0x80) {
			p += put_unicode(b, p);
			continue;
		}
		if (*p == '\\' || *p == '\n' || *p == '\r' || (*p == ' ' && p == value))
			buf_put_char(b, '\\');
		buf_put_char(b, *p == '\n' ? 'n' : *p == '\r' ? 'r' : *p);
		p++;
	}
	buf_put_char(b, '\n');
}

enum rc
cmd_update_broker_config(struct adm *a)
{
	const char *key = adm_value(a, 'k'), *value = adm_value(a, 'v');
	struct adm_brokers brokers = {0};
	struct buf b = {0};
	bool all = false;
	enum rc rc = adm_bool(a, 'a', false, &all);

	if (rc == RC_OK)
		rc = adm_brokers_of_options(a, all ? ADM_ALL : ADM_MASTERS, &brokers);
	put_property(&b, key, value);
	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		if (adm_end(a, adm_begin(a, brokers.v[i].address, REQ_UPDATE_BROKER_CONFIG), buf_slice(&b)) == RC_OK)
			adm_done(a, "update broker config success, %s: %s=%s", brokers.v[i].address, key, value);
		else
			adm_failed(a, brokers.v[i].address);
	}
	buf_free(&b);
	adm_brokers_free(&brokers);
	return rc;
}

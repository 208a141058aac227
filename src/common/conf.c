/*
 * conf: the tables of RocketMQ's keys as arrays, and setting, showing and checking values by them.
 */
#include "common/conf.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/mem.h"
#include "common/str.h"

/* Rows of the tables become elements of an array; OWNER is the struct that has the members. */
#define ROW(kind, name, def, effect, reload, text) {#name, kind, offsetof(OWNER, name), def, effect, reload, text},
#define BOOL(name, def, effect, reload, text) ROW(PARAM_BOOL, name, def, effect, reload, text)
#define INT(name, def, effect, reload, text) ROW(PARAM_INT, name, def, effect, reload, text)
#define LONG(name, def, effect, reload, text) ROW(PARAM_LONG, name, def, effect, reload, text)
#define DOUBLE(name, def, effect, reload, text) ROW(PARAM_DOUBLE, name, def, effect, reload, text)
#define STR(name, def, effect, reload, text) ROW(PARAM_STR, name, def, effect, reload, text)
#define ROLE(name, def, effect, reload, text) ROW(PARAM_ROLE, name, def, effect, reload, text)
#define FLUSH(name, def, effect, reload, text) ROW(PARAM_FLUSH, name, def, effect, reload, text)

#define OWNER struct broker_conf
static const struct param broker_rows[] = {
#include "common/params_broker.tbl"
};
#undef OWNER
#define OWNER struct namesrv_conf
static const struct param namesrv_rows[] = {
#include "common/params_namesrv.tbl"
};
#undef OWNER
#undef ROW
#undef BOOL
#undef INT
#undef LONG
#undef DOUBLE
#undef STR
#undef ROLE
#undef FLUSH

const struct param_table broker_params = {broker_rows, COUNT_OF(broker_rows)};
const struct param_table namesrv_params = {namesrv_rows, COUNT_OF(namesrv_rows)};

/* Older or other names of today's keys: files of any age must move over, and be obeyed. */
static const struct {
	const char	*old, *now;
} aliases[] = {
	{"mapedFileSizeCommitLog", "mappedFileSizeCommitLog"},		/* up to 4.4 */
	{"mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"},	/* up to 4.4 */
	{"haSlaveFallbehindMax", "haMaxGapNotInSync"},			/* 4.x */
	{"isEnableBatchPush", "enableBatchPush"},			/* as 4.x shows it */
	{"inBrokerContainer", "isInBrokerContainer"},			/* as 5.x reads it */
	{"scanAvailableNameSrv", "isScanAvailableNameSrv"},		/* as 5.x reads it */
	{"destroyMappedFileIntervalForcibly", "destroyMapedFileIntervalForcibly"},
	{"warmMappedFileEnable", "warmMapedFileEnable"},
	{"flushLeastPagesWhenWarmMappedFile", "flushLeastPagesWhenWarmMapedFile"},
};

/*
 * What numbers may be, by the first pattern that fits; only for keys that have an effect, so that whatever else a file has
 * been carrying along is let through.
 */
static const struct {
	const char	*pattern;
	int64_t		 min, max;
} ranges[] = {
	{"*Port", 0, 65535},
	{"*Ratio", 0, 100},
	{"brokerId", 0, INT64_MAX},
	{"brokerPermission", 0, 7},
	{"defaultTopicQueueNums", 1, 65536},
	{"defaultPopShareQueueNum", -1, INT32_MAX},
	{"popFromRetryProbability", 0, 100},
	{"reviveQueueNum", 1, 512}, /* handles have 999 for ordered pops */
	{"mappedFileSizeCommitLog", 4096, INT32_MAX},
	{"mappedFileSizeConsumeQueue", 20, INT32_MAX},
	{"maxHashSlotNum", 1, 100000000}, /* with the next line: an index file stays below 2 GiB */
	{"maxIndexNum", 2, 80000000},
	{"maxTopicLength", 1, INT16_MAX},
	{"delete*FilesInterval", 0, INT32_MAX},
	{"*Interval*", 1, INT32_MAX},
	{"*Period", 1, INT32_MAX},
	{"*Timeout*", 1, INT64_MAX},
	{"*LeastPages", 0, INT32_MAX},
	{"max*", 1, INT64_MAX},
	{"defaultQueryMaxNum", 1, INT32_MAX},
	{"pullBatchMaxMessageCount", 1, INT32_MAX},
	{"deleteFileBatchMax", 1, INT32_MAX},
	{"serverChannelMaxIdleTimeSeconds", 1, INT32_MAX},
	{"*", 0, INT64_MAX},
};

/* What texts must look like. Only for keys that have an effect. */
static const struct {
	const char	*name, *regex, *what;
} forms[] = {
	{"defaultMessageRequestMode", "^(PULL|POP)$", "PULL or POP"},
	{"deleteWhen", "^([01][0-9]|2[0-3])(;([01][0-9]|2[0-3]))*$", "hours of two digits, separated by ;"},
	{"messageDelayLevel", "^[0-9]+[smhd]( [0-9]+[smhd])*$", "times such as 10s or 2h, separated by blanks"},
	{"msgTraceTopicName", "^[%|a-zA-Z0-9_-]+$", "a topic's name"},
	{"brokerName", "^[^ =:;/]*$", "a name without blanks and = : ; /"},
	{"brokerClusterName", "^[^ =:;/]*$", "a name without blanks and = : ; /"},
};

static const char *const role_names[] = {"ASYNC_MASTER", "SYNC_MASTER", "SLAVE"};
static const char *const flush_names[] = {"ASYNC_FLUSH", "SYNC_FLUSH"};

static void *
member(const struct param *p, void *conf)
{
	return (char *)conf + p->offset;
}

static const void *
member_const(const struct param *p, const void *conf)
{
	return (const char *)conf + p->offset;
}

static const char *
text_of(const struct param *p, const void *conf)
{
	return *(char *const *)member_const(p, conf);
}

static void
init_all(const struct param_table *t, void *conf)
{
	struct err e;

	for (size_t i = 0; i < t->count; i++)
		ensure(param_set(&t->rows[i], conf, slice_of(t->rows[i].def), &e) == RC_OK);
}

static void
free_all(const struct param_table *t, void *conf)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->rows[i].kind == PARAM_STR)
			free(*(char **)member(&t->rows[i], conf));
}

void
broker_conf_init(struct broker_conf *c)
{
	memset(c, 0, sizeof(*c));
	init_all(&broker_params, c);
}

void
broker_conf_free(struct broker_conf *c)
{
	free_all(&broker_params, c);
	memset(c, 0, sizeof(*c));
}

void
broker_conf_copy(struct broker_conf *to, const struct broker_conf *from)
{
	memcpy(to, from, sizeof(*to));
	for (size_t i = 0; i < broker_params.count; i++) {
		const struct param *p = &broker_rows[i];

		if (p->kind == PARAM_STR)
			*(char **)member(p, to) = xstrdup(text_of(p, from));
	}
}

void
namesrv_conf_init(struct namesrv_conf *c)
{
	memset(c, 0, sizeof(*c));
	init_all(&namesrv_params, c);
}

void
namesrv_conf_free(struct namesrv_conf *c)
{
	free_all(&namesrv_params, c);
	memset(c, 0, sizeof(*c));
}

static const struct param *
find_row(const struct param_table *t, struct slice name)
{
	for (size_t i = 0; i < t->count; i++)
		if (slice_is(name, t->rows[i].name))
			return &t->rows[i];
	return NULL;
}

const struct param *
param_find(const struct param_table *t, struct slice name)
{
	const struct param *p = find_row(t, name);

	for (size_t i = 0; p == NULL && i < COUNT_OF(aliases); i++)
		if (slice_is(name, aliases[i].old))
			p = find_row(t, slice_of(aliases[i].now));
	return p;
}

/* How far a key is from what was written; a difference in case alone is nearly none. */
static unsigned
distance(const char *key, const char *name)
{
	return strcasecmp(key, name) == 0 ? 0 : str_distance(key, name);
}

const char *
param_nearest(const struct param_table *t, const char *name)
{
	unsigned best = (unsigned)(strlen(name) / 3) + 1; /* further away it would be a guess */
	const char *nearest = NULL;

	for (size_t i = 0; i < t->count; i++) {
		unsigned d = distance(t->rows[i].name, name);

		if (d < best) {
			best = d;
			nearest = t->rows[i].name;
		}
	}
	return nearest;
}

static enum rc
refuse(const struct param *p, struct slice value, const char *wanted, struct err *e)
{
	int shown = (int)MIN_OF(value.n, 100);

	err_set(e, "%s: \"%.*s\" is not %s", p->name, shown, value.n ? value.p : "", wanted);
	return RC_INVAL;
}

static enum rc
check_range(const struct param *p, int64_t v, struct err *e)
{
	size_t i = 0;

	if (p->effect == NOTHING)
		return RC_OK;
	while (fnmatch(ranges[i].pattern, p->name, 0) != 0)
		i++;
	if (v >= ranges[i].min && v <= ranges[i].max)
		return RC_OK;
	if (v < ranges[i].min)
		err_set(e, "%s: %" PRId64 " is too small, the least is %" PRId64, p->name, v, ranges[i].min);
	else
		err_set(e, "%s: %" PRId64 " is too large, the most is %" PRId64, p->name, v, ranges[i].max);
	return RC_INVAL;
}

static enum rc
set_bool(const struct param *p, void *conf, struct slice v, struct err *e)
{
	bool yes = v.n == 4 && strncasecmp(v.p, "true", 4) == 0;

	if (!yes && !(v.n == 5 && strncasecmp(v.p, "false", 5) == 0))
		return refuse(p, v, "true or false", e);
	*(bool *)member(p, conf) = yes;
	return RC_OK;
}

static enum rc
set_int(const struct param *p, void *conf, struct slice v, struct err *e)
{
	int32_t n;

	if (str_i32(v, &n) != RC_OK)
		return refuse(p, v, "a whole number of 32 bits", e);
	if (check_range(p, n, e) != RC_OK)
		return RC_INVAL;
	*(int32_t *)member(p, conf) = n;
	return RC_OK;
}

static enum rc
set_long(const struct param *p, void *conf, struct slice v, struct err *e)
{
	int64_t n;

	if (str_i64(v, &n) != RC_OK)
		return refuse(p, v, "a whole number of 64 bits", e);
	if (check_range(p, n, e) != RC_OK)
		return RC_INVAL;
	*(int64_t *)member(p, conf) = n;
	return RC_OK;
}

static enum rc
set_double(const struct param *p, void *conf, struct slice v, struct err *e)
{
	char text[64], *end;
	double d;

	if (v.n == 0 || v.n >= sizeof(text) || memchr(v.p, '\0', v.n) != NULL)
		return refuse(p, v, "a number", e);
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	d = strtod(text, &end);
	if (*end != '\0' || d != d || d > 1e300 || d < -1e300)
		return refuse(p, v, "a number", e);
	*(double *)member(p, conf) = d;
	return RC_OK;
}

static enum rc
check_form(const struct param *p, const char *text, struct err *e)
{
	size_t i = 0;
	bool fits;
	regex_t re;

	while (i < COUNT_OF(forms) && strcmp(forms[i].name, p->name) != 0)
		i++;
	if (i == COUNT_OF(forms) || p->effect == NOTHING)
		return RC_OK;
	ensure(regcomp(&re, forms[i].regex, REG_EXTENDED | REG_NOSUB) == 0);
	fits = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return fits ? RC_OK : refuse(p, slice_of(text), forms[i].what, e);
}

static enum rc
set_text(const struct param *p, void *conf, struct slice v, struct err *e)
{
	char **at = member(p, conf);
	char *text;

	if (v.n > 0 && memchr(v.p, '\0', v.n) != NULL)
		return refuse(p, v, "text: it holds a zero byte", e);
	text = xslicedup(v);
	if (check_form(p, text, e) != RC_OK) {
		free(text);
		return RC_INVAL;
	}
	free(*at);
	*at = text;
	return RC_OK;
}

/* -1: none of the names. Case counts, as in the original. */
static int
pick(struct slice v, const char *const names[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_is(v, names[i]))
			return (int)i;
	return -1;
}

static enum rc
set_role(const struct param *p, void *conf, struct slice v, struct err *e)
{
	int i = pick(v, role_names, COUNT_OF(role_names));

	if (i < 0)
		return refuse(p, v, "ASYNC_MASTER, SYNC_MASTER or SLAVE", e);
	*(enum broker_role *)member(p, conf) = (enum broker_role)i;
	return RC_OK;
}

static enum rc
set_flush(const struct param *p, void *conf, struct slice v, struct err *e)
{
	int i = pick(v, flush_names, COUNT_OF(flush_names));

	if (i < 0)
		return refuse(p, v, "ASYNC_FLUSH or SYNC_FLUSH", e);
	*(enum flush_type *)member(p, conf) = (enum flush_type)i;
	return RC_OK;
}

enum rc
param_set(const struct param *p, void *conf, struct slice value, struct err *e)
{
	struct slice trimmed = str_trim(value);

	switch (p->kind) {
	case PARAM_BOOL:
		return set_bool(p, conf, trimmed, e);
	case PARAM_INT:
		return set_int(p, conf, trimmed, e);
	case PARAM_LONG:
		return set_long(p, conf, trimmed, e);
	case PARAM_DOUBLE:
		return set_double(p, conf, trimmed, e);
	case PARAM_STR:
		return set_text(p, conf, value, e);
	case PARAM_ROLE:
		return set_role(p, conf, trimmed, e);
	case PARAM_FLUSH:
		return set_flush(p, conf, trimmed, e);
	}
	return RC_INVAL;
}

/* The shortest text that reads back as the same number. */
static void
put_double(struct buf *out, double d)
{
	char text[64];

	snprintf(text, sizeof(text), "%.15g", d);
	if (strtod(text, NULL) != d)
		snprintf(text, sizeof(text), "%.17g", d);
	buf_put_str(out, text);
}

void
param_put_text(const struct param *p, const void *conf, struct buf *out)
{
	const void *at = member_const(p, conf);

	switch (p->kind) {
	case PARAM_BOOL:
		buf_put_str(out, *(const bool *)at ? "true" : "false");
		return;
	case PARAM_INT:
		buf_put_i64(out, *(const int32_t *)at);
		return;
	case PARAM_LONG:
		buf_put_i64(out, *(const int64_t *)at);
		return;
	case PARAM_DOUBLE:
		put_double(out, *(const double *)at);
		return;
	case PARAM_STR:
		buf_put_str(out, *(char *const *)at);
		return;
	case PARAM_ROLE:
		buf_put_str(out, role_names[*(const enum broker_role *)at]);
		return;
	case PARAM_FLUSH:
		buf_put_str(out, flush_names[*(const enum flush_type *)at]);
		return;
	}
}

static size_t
kind_size(enum param_kind kind)
{
	switch (kind) {
	case PARAM_BOOL:
		return sizeof(bool);
	case PARAM_INT:
		return sizeof(int32_t);
	case PARAM_LONG:
		return sizeof(int64_t);
	case PARAM_DOUBLE:
		return sizeof(double);
	case PARAM_STR:
		return sizeof(char *);
	case PARAM_ROLE:
		return sizeof(enum broker_role);
	case PARAM_FLUSH:
		return sizeof(enum flush_type);
	}
	return 0;
}

bool
param_equal(const struct param *p, const void *a, const void *b)
{
	if (p->kind == PARAM_STR)
		return strcmp(text_of(p, a), text_of(p, b)) == 0;
	return memcmp(member_const(p, a), member_const(p, b), kind_size(p->kind)) == 0;
}

/* To the Java broker an empty path is not the same as none, so a text that nobody has set is left out. */
static bool
unset(const struct param *p, const void *conf)
{
	return p->kind == PARAM_STR && *p->def == '\0' && *text_of(p, conf) == '\0';
}

void
params_put_properties(const struct param_table *t, const void *conf, struct buf *out)
{
	struct buf value = {0};

	for (size_t i = 0; i < t->count; i++) {
		if (unset(&t->rows[i], conf))
			continue;
		buf_reset(&value, SIZE_MAX);
		param_put_text(&t->rows[i], conf, &value);
		properties_put(out, slice_of(t->rows[i].name), buf_slice(&value));
	}
	buf_free(&value);
}

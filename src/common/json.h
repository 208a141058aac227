/*
 * json: JSON off the hot path, by jansson, in the dialect that RocketMQ's Java side (fastjson) writes and reads.
 *
 * fastjson writes maps with number keys bare ({0:1}) and maps with object keys as objects ({{"a":1}:2}). json_relax turns
 * such text into strict JSON: bare keys get quotes; an object key becomes a string that holds the object's JSON text. It
 * also drops trailing commas. Depth (64) and size are limited.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <jansson.h>

#include "common/base.h"
#include "common/buf.h"

/* RC_BADDATA: no JSON even in that dialect, sentence with place in e. RC_LIMIT: too deep. *out is the caller's. */
enum rc	json_load_relaxed(struct slice text, json_t **out, struct err *e) MUST_CHECK;
enum rc	json_relax(struct slice text, struct buf *strict, struct err *e) MUST_CHECK;

/* Lenient getters: a missing member, null or another type gives the default; numbers may be text and text numbers. */
int64_t		json_get_i64(const json_t *o, const char *key, int64_t dflt);
bool		json_get_bool(const json_t *o, const char *key, bool dflt);
const char	*json_get_str(const json_t *o, const char *key, const char *dflt);
/* An enum constant given by name or, as the C++ client does, by ordinal. dflt if unknown. */
int		json_get_enum(const json_t *o, const char *key, const char *const names[], int count, int dflt);

/*
 * Reads a config file of the original: path, else path.bak, in the dialect above. RC_NOTFOUND: neither exists (a first
 * start). RC_BADDATA: both are there or one is, and none can be read: sentence in e names both; never start empty then.
 * For who writes it: if path is broken and its .bak is used, path goes aside (.broken), so that the next version does not make
 * the broken one the .bak.
 */
enum rc	json_load_config(const char *path, json_t **out, struct err *e) MUST_CHECK;
/* The same for who only reads it: nothing is moved. */
enum rc	json_read_config(const char *path, json_t **out, struct err *e) MUST_CHECK;
/*
 * Replaces path: text to path.tmp, fsync, the old one kept as path.bak, rename, fsync of the directory.
 * RC_FULL or RC_IO: errno, sentence in e, the old file is untouched.
 */
enum rc	file_replace(const char *path, struct slice text, struct err *e) MUST_CHECK;
/* The last step of it for who syncs by other means: tmp, complete and synced, becomes path; the old one is kept as path.bak. */
enum rc	file_swap(const char *path, const char *tmp, struct err *e) MUST_CHECK;
/* Whole file into b. RC_NOTFOUND, RC_LIMIT (over max bytes), RC_IO. */
enum rc	file_read(const char *path, size_t max, struct buf *b, struct err *e) MUST_CHECK;

#endif

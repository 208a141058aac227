/*
 * conf: RocketMQ's own configuration keys for broker and name server, as typed structs.
 *
 * The tables params_broker.tbl and params_namesrv.tbl name every key of the original (5.3.3, and those of 4.9 and older
 * spellings that are gone): type, default, whether it takes effect here, whether SIGHUP or updateBrokerConfig may change it,
 * and, if it has no effect, why. Struct members, getters, `-t` output and the manual page come from these rows.
 *
 * A row: KIND(name, default, effect, reload, "what it does, or why it does nothing")
 *   KIND   BOOL INT LONG DOUBLE STR ROLE FLUSH
 *   effect EFFECT (works), PARTLY (see text), NOTHING (known, no effect: the text says why)
 *   reload LIVE (may change while running), FIXED (needs a restart)
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include "common/base.h"
#include "common/buf.h"

enum broker_role { ROLE_ASYNC_MASTER, ROLE_SYNC_MASTER, ROLE_SLAVE };
enum flush_type { FLUSH_ASYNC, FLUSH_SYNC };

#define BOOL(name, def, effect, reload, text) bool name;
#define INT(name, def, effect, reload, text) int32_t name;
#define LONG(name, def, effect, reload, text) int64_t name;
#define DOUBLE(name, def, effect, reload, text) double name;
#define STR(name, def, effect, reload, text) char *name; /* never NULL; "" when not set */
#define ROLE(name, def, effect, reload, text) enum broker_role name;
#define FLUSH(name, def, effect, reload, text) enum flush_type name;
struct broker_conf {
#include "common/params_broker.tbl"
};
struct namesrv_conf {
#include "common/params_namesrv.tbl"
};
#undef BOOL
#undef INT
#undef LONG
#undef DOUBLE
#undef STR
#undef ROLE
#undef FLUSH

enum param_kind { PARAM_BOOL, PARAM_INT, PARAM_LONG, PARAM_DOUBLE, PARAM_STR, PARAM_ROLE, PARAM_FLUSH };
enum param_effect { EFFECT, PARTLY, NOTHING };
enum param_reload { FIXED, LIVE };

struct param {
	const char		*name;
	enum param_kind		 kind;
	size_t			 offset; /* of the member in the struct */
	const char		*def;	 /* as text */
	enum param_effect	 effect;
	enum param_reload	 reload;
	const char		*text;
};

struct param_table {
	const struct param	*rows;
	size_t			 count;
};
extern const struct param_table broker_params, namesrv_params;

void	broker_conf_init(struct broker_conf *c);	/* all defaults */
void	broker_conf_free(struct broker_conf *c);
/* to is made new: what it held before is not freed. */
void	broker_conf_copy(struct broker_conf *to, const struct broker_conf *from);
void	namesrv_conf_init(struct namesrv_conf *c);
void	namesrv_conf_free(struct namesrv_conf *c);

/* NULL: no such key. Old spellings (mapedFileSize...) find the row of today's. */
const struct param	*param_find(const struct param_table *t, struct slice name);
/* The known key most like name, or NULL when none is near. */
const char	*param_nearest(const struct param_table *t, const char *name);
/* RC_INVAL: not a value of that kind or out of its range, sentence in e. */
enum rc	param_set(const struct param *p, void *conf, struct slice value, struct err *e) MUST_CHECK;
void	param_put_text(const struct param *p, const void *conf, struct buf *out);
bool	param_equal(const struct param *p, const void *a, const void *b);
/* All rows as `key=value` lines, for codes 26 and 319. Texts that are empty and so by default are left out. */
void	params_put_properties(const struct param_table *t, const void *conf, struct buf *out);

/*
 * Walks Java properties text: key=value, key:value, # and ! comments, \ at a line's end, \uXXXX and other escapes. Calls
 * `each` with unescaped key and value and the line number; stops when it returns another than RC_OK and returns that.
 * RC_BADDATA: \u without four hexadecimal digits.
 */
enum rc	properties_walk(struct slice text,
	    enum rc (*each)(void *arg, struct slice key, struct slice value, int line), void *arg) MUST_CHECK;
/* One line of such text, with escapes where it would be read back as another. */
void	properties_put(struct buf *out, struct slice key, struct slice value);

#endif

/*
 * registration: the body of a broker's registration (103): JSON, or a zlib stream of a mixed form; told by its first byte.
 */
#ifndef NAMESRV_REGISTRATION_H
#define NAMESRV_REGISTRATION_H

#include "common/base.h"
#include "common/mem.h"

#define REG_INFLATED_MAX (64u << 20) /* what a compressed body may grow to: some 500,000 topics */

struct ns_version {
	int64_t	counter, state_version, timestamp;
};

static inline bool
registration_version_eq(const struct ns_version *a, const struct ns_version *b)
{
	return a->counter == b->counter && a->state_version == b->state_version && a->timestamp == b->timestamp;
}

struct topic_def {
	struct slice	name;
	int32_t		read_queues, write_queues, perm, sysflag;
};

struct mapping_def { /* of a static topic */
	struct slice	topic, broker, json;
};

struct registration {
	/* from the header */
	struct slice	cluster, name, addr, ha_addr, zone;
	int64_t		id, timeout_ms;		/* 0: the default */
	bool		new_style, acting;	/* new_style: enableActingMaster was there at all */
	uint64_t	conn_id;
	uint64_t	digest;			/* of header and body; 0: not made */
	/* from the body; the memory is the arena's */
	struct ns_version version;
	struct topic_def *topics;
	size_t		 topic_count;
	struct mapping_def *mappings;
	size_t		 mapping_count;
	bool		 filters_given;
	struct slice	 filters;		/* JSON array; SLICE_NONE: an empty one */
	struct arena	 arena;
};

/*
 * Fills the part that comes from the body. version: of the request, which decides between the forms. RC_BADDATA, RC_LIMIT:
 * sentence in e. registration_free in any case.
 */
enum rc	registration_read(struct registration *g, struct slice body, int version, struct err *e) MUST_CHECK;
/* 64 bits over what came from the header and the body; never 0. */
uint64_t registration_digest(const struct registration *g, struct slice body, int version);
void	registration_free(struct registration *g);
/* {"counter":..,"stateVersion":..,"timestamp":..}; also the body of 322. */
enum rc	registration_version_read(struct ns_version *v, struct slice text, struct err *e) MUST_CHECK;

#endif

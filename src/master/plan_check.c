/*
 * plan_check: contradictions between the entries of a spec: names, roles, ports, directories.
 *
 * Two entries can only be in each other's way when they may run on the same host: the same `host`, or one without.
 */
#include "master/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/shm_layout.h"
#include "common/str.h"

#define VIP_BELOW 2 /* the VIP port is listenPort - 2 */
#define WORKERS_PER_NODE 5

/* One port that somebody listens on. */
struct listener {
	const char		*host, *ip;
	int			 port;
	const char		*key;	/* the key that decides it */
	char			 who[SHM_NAME_MAX];
	const yaml_node_t	*at;
};

struct listeners {
	struct listener	*v;
	size_t		 n;
};

bool
plan_any_address(const char *ip)
{
	return *ip == '\0' || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0 || strcmp(ip, "*") == 0;
}

enum rc
plan_split_address(const char *text, char ip[64], int *port)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon != NULL ? (size_t)(colon - text) : 0;
	int32_t number;

	if (colon == NULL || str_i32(slice_of(colon + 1), &number) != RC_OK || number < 1 || number > 65535)
		return RC_INVAL;
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n) != NULL) {
		return RC_INVAL; /* IPv6 without brackets could be read in two ways */
	}
	if (n == 0 || n >= 64)
		return RC_INVAL;
	memcpy(ip, text, n);
	ip[n] = '\0';
	if (strcmp(ip, "*") == 0)
		strcpy(ip, "0.0.0.0");
	*port = number;
	return RC_OK;
}

bool
plan_same_address(const char *a, const char *b)
{
	return plan_any_address(a) || plan_any_address(b) || strcmp(a, b) == 0;
}

static bool
may_share_host(const char *a, const char *b)
{
	return a == NULL || b == NULL || strcmp(a, b) == 0;
}

static size_t
line_of(const yaml_node_t *at)
{
	return at->start_mark.line + 1;
}

/* ---- brokers */

static enum rc
check_role(struct plan *p, size_t i, struct err *e)
{
	const struct broker_conf *c = &p->spec.brokers[i].conf;

	if (c->brokerRole == ROLE_SLAVE && c->brokerId <= 0)
		return yamlfile_error(&p->y, plan_at(&p->brokers[i], "brokerId"), e,
		    "slave of %s needs a brokerId above 0; %lld is the master's or none", c->brokerName,
		    (long long)c->brokerId);
	return RC_OK;
}

static bool
same_broker(const struct broker_conf *a, const struct broker_conf *b)
{
	return strcmp(a->brokerName, b->brokerName) == 0 && strcmp(a->brokerClusterName, b->brokerClusterName) == 0;
}

static enum rc
check_twins(struct plan *p, size_t i, struct err *e)
{
	const struct broker_conf *c = &p->spec.brokers[i].conf;

	for (size_t k = 0; k < i; k++) {
		const struct broker_conf *o = &p->spec.brokers[k].conf;

		if (same_broker(c, o) && c->brokerId == o->brokerId)
			return yamlfile_error(&p->y, plan_at(&p->brokers[i], "brokerName"), e,
			    "brokerName %s with brokerId %lld is there already, in line %zu", c->brokerName,
			    (long long)c->brokerId, line_of(p->brokers[k].at));
	}
	return RC_OK;
}

/* The master may run elsewhere, outside of this spec: then the operator says where, or by which name servers it is known. */
static enum rc
check_master(struct plan *p, size_t i, struct err *e)
{
	const struct broker_conf *c = &p->spec.brokers[i].conf;

	if (c->brokerRole != ROLE_SLAVE || *c->haMasterAddress != '\0' || plan_given(&p->brokers[i], "namesrvAddr"))
		return RC_OK;
	for (size_t k = 0; k < p->spec.broker_count; k++)
		if (same_broker(c, &p->spec.brokers[k].conf) && p->spec.brokers[k].conf.brokerRole != ROLE_SLAVE)
			return RC_OK;
	return yamlfile_error(&p->y, plan_at(&p->brokers[i], "brokerName"), e,
	    "slave %s has no master: the spec has no broker %s with brokerId 0 (haMasterAddress names one elsewhere)",
	    p->spec.brokers[i].name, c->brokerName);
}

static enum rc
check_dirs(struct plan *p, size_t i, struct err *e)
{
	const struct broker_spec *b = &p->spec.brokers[i];

	for (size_t k = 0; k < i; k++) {
		const struct broker_spec *o = &p->spec.brokers[k];
		bool root = strcmp(b->dir, o->dir) == 0;

		if (may_share_host(b->host, o->host) &&
		    (root || strcmp(b->conf.storePathCommitLog, o->conf.storePathCommitLog) == 0))
			return yamlfile_error(&p->y,
			    plan_at(&p->brokers[i], root ? "storePathRootDir" : "storePathCommitLog"), e,
			    "%s has the directory %s, which belongs to %s (line %zu)", b->name,
			    root ? b->dir : b->conf.storePathCommitLog, o->name, line_of(p->brokers[k].at));
	}
	return RC_OK;
}

static enum rc
check_broker(struct plan *p, size_t i, struct err *e)
{
	enum rc rc = check_role(p, i, e);

	if (rc == RC_OK)
		rc = check_twins(p, i, e);
	if (rc == RC_OK)
		rc = check_master(p, i, e);
	if (rc == RC_OK)
		rc = check_dirs(p, i, e);
	return rc;
}

/* ---- ports */

static enum rc
add_listener(struct plan *p, struct listeners *l, struct listener n, struct err *e)
{
	if (n.port < 1 || n.port > 65535)
		return yamlfile_error(&p->y, n.at, e, "%s: %s leads to port %d, which is none (1 to 65535)", n.who, n.key,
		    n.port);
	for (size_t i = 0; i < l->n; i++) {
		const struct listener *o = &l->v[i];

		if (o->port == n.port && may_share_host(o->host, n.host) && plan_same_address(o->ip, n.ip))
			return yamlfile_error(&p->y, n.at, e, "port %d of %s (%s) is taken by %s (%s) in line %zu", n.port,
			    n.who, n.key, o->who, o->key, line_of(o->at));
	}
	l->v[l->n++] = n;
	return RC_OK;
}

static enum rc
add_broker_ports(struct plan *p, struct listeners *l, size_t i, struct err *e)
{
	const struct broker_spec *b = &p->spec.brokers[i];
	const struct plan_item *it = &p->brokers[i];
	const struct {
		int port;
		const char *key, *of;
	} ports[] = {{b->conf.listenPort, "listenPort", "listenPort"},
	    {b->conf.listenPort - VIP_BELOW, "the VIP port, listenPort - 2", "listenPort"},
	    {b->conf.haListenPort, "haListenPort", "haListenPort"}};
	enum rc rc = RC_OK;

	for (size_t k = 0; k < COUNT_OF(ports) && rc == RC_OK; k++) {
		struct listener n = {b->host, b->conf.bindAddress, ports[k].port, ports[k].key, "", plan_at(it, ports[k].of)};

		snprintf(n.who, sizeof(n.who), "%.60s", b->name);
		rc = add_listener(p, l, n, e);
	}
	return rc;
}

static enum rc
add_namesrv_port(struct plan *p, struct listeners *l, size_t i, struct err *e)
{
	const struct namesrv_spec *s = &p->spec.namesrvs[i];
	struct listener n = {s->host, s->conf.bindAddress, s->conf.listenPort, "listenPort", "",
	    plan_at(&p->namesrvs[i], "listenPort")};

	snprintf(n.who, sizeof(n.who), "%.60s", s->name);
	return add_listener(p, l, n, e);
}

static enum rc
add_console_port(struct plan *p, struct listeners *l, struct err *e)
{
	char ip[64];
	struct listener n = {NULL, ip, 0, "listen", "console", p->console_at};

	if (p->spec.console_listen == NULL)
		return RC_OK;
	ensure(plan_split_address(p->spec.console_listen, ip, &n.port) == RC_OK); /* was checked when it was read */
	return add_listener(p, l, n, e);
}

static enum rc
check_ports(struct plan *p, struct err *e)
{
	struct listeners l = {NULL, 0};
	enum rc rc = RC_OK;

	l.v = xcalloc(p->spec.namesrv_count + 3 * p->spec.broker_count + 1, sizeof(*l.v));
	for (size_t i = 0; i < p->spec.namesrv_count && rc == RC_OK; i++)
		rc = add_namesrv_port(p, &l, i, e);
	for (size_t i = 0; i < p->spec.broker_count && rc == RC_OK; i++)
		rc = add_broker_ports(p, &l, i, e);
	if (rc == RC_OK)
		rc = add_console_port(p, &l, e);
	free(l.v);
	return rc;
}

/* Memory for the workers' pages is counted out beforehand. */
static enum rc
check_size(struct plan *p, struct err *e)
{
	size_t workers = p->spec.console_listen != NULL;

	for (size_t i = 0; i < p->spec.namesrv_count; i++)
		workers += p->spec.namesrvs[i].here;
	for (size_t i = 0; i < p->spec.broker_count; i++)
		workers += p->spec.brokers[i].here ? WORKERS_PER_NODE : 0;
	if (workers <= SHM_WORKERS_MAX)
		return RC_OK;
	err_set(e, "%s: %zu processes would run on this host; at most %d can", p->y.path, workers, SHM_WORKERS_MAX);
	return RC_LIMIT;
}

enum rc
plan_check(struct plan *p, struct err *e)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < p->spec.broker_count && rc == RC_OK; i++)
		rc = check_broker(p, i, e);
	if (rc == RC_OK)
		rc = check_ports(p, e);
	if (rc == RC_OK)
		rc = check_size(p, e);
	return rc;
}

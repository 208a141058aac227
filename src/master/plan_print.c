/*
 * plan_print: what would run on this host, for a person: `rmqsupervisor -t`.
 */
#include "common/log.h"
#include "master/plan.h"


#include "common/buf.h"

static const char *
role_text(const struct broker_conf *c)
{
	return c->brokerRole == ROLE_SLAVE ? "slave" : c->brokerRole == ROLE_SYNC_MASTER ? "synchronous master" : "master";
}

static void
print_namesrv(const struct namesrv_spec *s, FILE *out)
{
	fprintf(out, "\n%s: name server\n", s->name);
	fprintf(out, "  processes    namesrv\n");
	fprintf(out, "  listens      %s:%d\n", s->conf.bindAddress, (int)s->conf.listenPort);
	fprintf(out, "  directory    %s\n", s->dir);
}

static void
print_broker(const struct broker_spec *b, FILE *out)
{
	const struct broker_conf *c = &b->conf;

	fprintf(out, "\n%s: broker %s of cluster %s, %s, %s flush\n", b->name, c->brokerName, c->brokerClusterName, role_text(c),
	    c->flushDiskType == FLUSH_SYNC ? "synchronous" : "asynchronous");
	fprintf(out, "  processes    broker-store, flush, ha, clean, warm\n");
	fprintf(out, "  listens      %s: clients %d, VIP %d, slaves %d\n", c->bindAddress, (int)c->listenPort,
	    (int)c->listenPort - 2, (int)c->haListenPort);
	fprintf(out, "  clients use  %s:%d\n", c->brokerIP1, (int)c->listenPort);
	fprintf(out, "  registers at %s\n", *c->namesrvAddr != '\0' ? c->namesrvAddr : "no name server");
	fprintf(out, "  directory    %s\n", b->dir);
	fprintf(out, "  log          %s\n", c->storePathCommitLog);
}

/* A parameter that somebody has set to something and that does nothing, or not all, must be said. */
static void
print_effect(const struct plan_item *it, const void *defaults, const char *who, size_t row, FILE *out, bool *any)
{
	const struct param *p = &it->table->rows[row];
	struct buf value = {0};

	if (p->effect == EFFECT || !it->given[row] || param_equal(p, it->conf, defaults))
		return;
	param_put_text(p, it->conf, &value);
	if (out == NULL) { /* to the log */
		log_warn("%s: %s=%.*s does nothing here, or not all: %s", who, p->name, (int)value.len,
		    value.p != NULL ? value.p : "", p->text);
		buf_free(&value);
		return;
	}
	if (!*any)
		fprintf(out, "\nkeys that do nothing here, or not all that they do in the original:\n");
	*any = true;
	fprintf(out, "  %s: %s=%.*s: %s\n", who, p->name, (int)value.len, value.p != NULL ? value.p : "", p->text);
	buf_free(&value);
}

static void
print_broker_effects(const struct plan *p, FILE *out, bool *any)
{
	struct broker_conf defaults;

	broker_conf_init(&defaults);
	for (size_t i = 0; i < p->spec.broker_count; i++)
		for (size_t row = 0; row < broker_params.count && p->spec.brokers[i].here; row++)
			print_effect(&p->brokers[i], &defaults, p->spec.brokers[i].name, row, out, any);
	broker_conf_free(&defaults);
}

static void
print_namesrv_effects(const struct plan *p, FILE *out, bool *any)
{
	struct namesrv_conf defaults;

	namesrv_conf_init(&defaults);
	for (size_t i = 0; i < p->spec.namesrv_count; i++)
		for (size_t row = 0; row < namesrv_params.count && p->spec.namesrvs[i].here; row++)
			print_effect(&p->namesrvs[i], &defaults, p->spec.namesrvs[i].name, row, out, any);
	namesrv_conf_free(&defaults);
}

void
plan_log_effects(const struct plan *p)
{
	bool any = false;

	print_broker_effects(p, NULL, &any);
	print_namesrv_effects(p, NULL, &any);
}

static void
print_elsewhere(const struct plan *p, FILE *out)
{
	const struct cluster_spec *s = &p->spec;
	const char *comma = "\non other hosts: ";

	for (size_t i = 0; i < s->namesrv_count; i++)
		if (!s->namesrvs[i].here) {
			fprintf(out, "%s%s on %s", comma, s->namesrvs[i].name, s->namesrvs[i].host);
			comma = ", ";
		}
	for (size_t i = 0; i < s->broker_count; i++)
		if (!s->brokers[i].here) {
			fprintf(out, "%s%s on %s", comma, s->brokers[i].name, s->brokers[i].host);
			comma = ", ";
		}
	if (*comma == ',')
		fprintf(out, "\n");
}

static void
print_failover(const struct cluster_spec *s, FILE *out)
{
	if (s->failover == FAILOVER_LOCAL)
		fprintf(out, "\nfailover: a slave here takes over from a master here%s\n",
		    s->unclean ? ", even if it lacks acknowledged records (unclean)" : "");
	if (s->failover == FAILOVER_SCRIPT)
		fprintf(out, "\nfailover: %s decides when a slave here takes over%s\n", s->on_promote,
		    s->unclean ? ", even if it lacks acknowledged records (unclean)" : "");
	if (s->on_failed != NULL)
		fprintf(out, "\nfailover: a node whose disk fails runs %s\n", s->on_failed);
}

void
plan_print(const struct plan *p, FILE *out)
{
	const struct cluster_spec *s = &p->spec;
	bool any = false;

	fprintf(out, "%s: correct\n", s->file);
	fprintf(out, "host %s, cluster %s, directory %s\n", p->host != NULL ? p->host : "(any)", s->cluster, s->dir);
	for (size_t i = 0; i < s->namesrv_count; i++)
		if (s->namesrvs[i].here)
			print_namesrv(&s->namesrvs[i], out);
	for (size_t i = 0; i < s->broker_count; i++)
		if (s->brokers[i].here)
			print_broker(&s->brokers[i], out);
	if (s->console_listen != NULL)
		fprintf(out, "\nconsole: http://%s/status\n", s->console_listen);
	print_elsewhere(p, out);
	print_broker_effects(p, out, &any);
	print_namesrv_effects(p, out, &any);
	print_failover(s, out);
	for (size_t i = 0; i < p->warning_count; i++)
		fprintf(out, "\nwarning: %s\n", p->warnings[i]);
}

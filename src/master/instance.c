/*
 * instance: completes the entries of a spec: addresses, ports, directories; and makes the directories.
 *
 * Runs in:    the master, at start and at SIGHUP.
 */
#include "master/instance.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/sock.h"
#include "common/str.h"

#define LOOPBACK       "127.0.0.1"
#define SAVED_KEYS_MAX (1u << 20)

static void
set_text(char **at, char *owned)
{
	free(*at);
	*at = owned;
}

static bool
is_loopback(const char *ip)
{
	return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0 || strcmp(ip, "localhost") == 0;
}

static char *
below(const char *dir, const char *path)
{
	while (strncmp(path, "./", 2) == 0)
		path += 2;
	return *path == '/' ? xstrdup(path) : xasprintf("%s/%s", dir, path);
}

static char *
absolute(const char *path)
{
	char cwd[PATH_MAX];

	if (getcwd(cwd, sizeof(cwd)) == NULL)
		return xstrdup(path);
	return below(cwd, path);
}

static void
make_below(char **path, const char *dir)
{
	if (*path != NULL && **path != '\0')
		set_text(path, below(dir, *path));
}

/* ---- which entries run here */

static bool
has_hosts(const struct plan *p)
{
	for (size_t i = 0; i < p->spec.namesrv_count; i++)
		if (p->namesrvs[i].host != NULL)
			return true;
	for (size_t i = 0; i < p->spec.broker_count; i++)
		if (p->brokers[i].host != NULL)
			return true;
	return false;
}

/* "node1" in the spec means a machine that calls itself "node1.example.com", too. */
static bool
host_is(const char *in_spec, const char *own)
{
	size_t n = strlen(in_spec);

	if (strcmp(in_spec, own) == 0)
		return true;
	return strchr(in_spec, '.') == NULL && strncmp(in_spec, own, n) == 0 && own[n] == '.';
}

static size_t
choose_here(struct plan *p)
{
	size_t here = 0;

	for (size_t i = 0; i < p->spec.namesrv_count; i++) {
		struct namesrv_spec *s = &p->spec.namesrvs[i];

		s->here = s->host == NULL || host_is(s->host, p->host);
		here += s->here;
	}
	for (size_t i = 0; i < p->spec.broker_count; i++) {
		struct broker_spec *b = &p->spec.brokers[i];

		b->here = b->host == NULL || host_is(b->host, p->host);
		here += b->here;
	}
	return here;
}

static void
add_host(char *list, size_t size, const char *host)
{
	size_t n = strlen(list);

	if (host != NULL && strstr(list, host) == NULL)
		snprintf(list + n, size - n, "%s%s", n > 0 ? ", " : "", host);
}

static enum rc
nothing_here(struct plan *p, const char *host, struct err *e)
{
	char list[300] = "";

	for (size_t i = 0; i < p->spec.namesrv_count; i++)
		add_host(list, sizeof(list), p->spec.namesrvs[i].host);
	for (size_t i = 0; i < p->spec.broker_count; i++)
		add_host(list, sizeof(list), p->spec.brokers[i].host);
	err_set(e, "%s: no entry is for host `%s`%s; its hosts are %s", p->y.path, p->host,
	    host == NULL ? " (this machine's name; --host gives another)" : "", list);
	return RC_INVAL;
}

static enum rc
choose_host(struct plan *p, const char *host, struct err *e)
{
	char own[256] = "localhost";

	if (has_hosts(p)) {
		if (host == NULL && gethostname(own, sizeof(own) - 1) == 0)
			own[sizeof(own) - 1] = '\0';
		p->host = xstrdup(host != NULL ? host : own);
	}
	return choose_here(p) > 0 ? RC_OK : nothing_here(p, host, e);
}

/* ---- name servers */

static void
fill_namesrv(struct plan *p, size_t i)
{
	struct namesrv_spec *s = &p->spec.namesrvs[i];

	s->name = xasprintf("namesrv-%d", (int)s->conf.listenPort);
	s->dir = xasprintf("%s/%s", p->spec.dir, s->name);
	if (*s->conf.kvConfigPath == '\0')
		set_text(&s->conf.kvConfigPath, xasprintf("%s/kvConfig.json", s->dir));
	else
		make_below(&s->conf.kvConfigPath, p->spec.dir);
}

/* How a process of this host reaches that name server. */
static const char *
namesrv_ip(const struct namesrv_spec *s)
{
	if (!plan_any_address(s->conf.bindAddress))
		return s->conf.bindAddress;
	return s->host == NULL || s->here ? LOOPBACK : s->host;
}

static char *
namesrv_addresses(const struct plan *p)
{
	struct buf b = {0};

	for (size_t i = 0; i < p->spec.namesrv_count; i++) {
		const struct namesrv_spec *s = &p->spec.namesrvs[i];

		buf_printf(&b, "%s%s:%d", i > 0 ? ";" : "", namesrv_ip(s), (int)s->conf.listenPort);
	}
	return b.len > 0 ? buf_steal(&b) : xstrdup("");
}

static bool
namesrvs_are_local(const struct plan *p)
{
	for (size_t i = 0; i < p->spec.namesrv_count; i++)
		if (!is_loopback(p->spec.namesrvs[i].conf.bindAddress))
			return false;
	return p->spec.namesrv_count > 0 && p->host == NULL;
}

/* ---- brokers */

/* What others reach the broker by; of one on another host only its host's name is known. */
static void
fill_own_address(struct plan *p, const struct broker_spec *b, struct broker_conf *c)
{
	char ip[300] = LOOPBACK;

	if (!plan_any_address(c->bindAddress))
		snprintf(ip, sizeof(ip), "%s", c->bindAddress);
	else if (!b->here && b->host != NULL)
		snprintf(ip, sizeof(ip), "%s", b->host);
	else if (!namesrvs_are_local(p))
		sock_own_ip(ip);
	if (*c->brokerIP1 == '\0')
		set_text(&c->brokerIP1, xstrdup(ip));
	if (*c->brokerIP2 == '\0')
		set_text(&c->brokerIP2, xstrdup(c->brokerIP1));
}

static void
fill_names(struct plan *p, struct broker_spec *b, const struct plan_item *it)
{
	char own[256] = "localhost";

	if (*b->conf.brokerName == '\0') {
		if (gethostname(own, sizeof(own) - 1) != 0)
			snprintf(own, sizeof(own), "localhost");
		own[sizeof(own) - 1] = '\0';
		set_text(&b->conf.brokerName, xstrdup(b->host != NULL ? b->host : own));
	}
	if (!plan_given(it, "brokerClusterName"))
		set_text(&b->conf.brokerClusterName, xstrdup(p->spec.cluster));
	b->name = xasprintf("%s-%lld", b->conf.brokerName, (long long)b->conf.brokerId);
}

static void
fill_dirs(struct plan *p, struct broker_spec *b)
{
	struct broker_conf *c = &b->conf;

	if (*c->storePathRootDir == '\0')
		set_text(&c->storePathRootDir, xasprintf("%s/%s/store", p->spec.dir, b->name));
	else
		make_below(&c->storePathRootDir, p->spec.dir);
	b->dir = xstrdup(c->storePathRootDir);
	if (*c->storePathCommitLog == '\0')
		set_text(&c->storePathCommitLog, xasprintf("%s/commitlog", b->dir));
	else
		make_below(&c->storePathCommitLog, p->spec.dir);
	b->conf_file = xasprintf("%s/config/broker.conf", b->dir);
}

/* The original sets a master's id to 0, whatever was given. */
static void
fill_id(struct plan *p, size_t i)
{
	struct broker_conf *c = &p->spec.brokers[i].conf;

	if (c->brokerRole == ROLE_SLAVE || c->brokerId == 0)
		return;
	plan_warn(p, "%s:%zu: brokerId %lld of %s is taken as 0: a master's id is always 0 (brokerRole SLAVE for a slave)",
	    p->y.path, p->brokers[i].at->start_mark.line + 1, (long long)c->brokerId, c->brokerName);
	c->brokerId = 0;
}

static enum rc
saved_pair(void *arg, struct slice key, struct slice value, int line)
{
	struct plan_item *it = arg;
	const struct param *param = param_find(it->table, key);
	struct err ignored;

	(void)line;
	if (param == NULL || !plan_may_change(param) || it->given[param - it->table->rows])
		return RC_OK;
	return param_set(param, it->conf, value, &ignored);
}

/* What updateBrokerConfig set at run time and the spec does not say otherwise. */
static enum rc
apply_saved(struct plan *p, size_t i, struct err *e)
{
	const char *path = p->spec.brokers[i].conf_file;
	struct buf b = {0};
	enum rc rc;

	if (!p->spec.brokers[i].here)
		return RC_OK;
	rc = file_read(path, SAVED_KEYS_MAX, &b, e);
	if (rc == RC_OK && properties_walk(buf_slice(&b), saved_pair, &p->brokers[i]) != RC_OK)
		plan_warn(p, "%s: not all of what updateBrokerConfig saved there can be read; the rest is left out", path);
	buf_free(&b);
	return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
fill_broker(struct plan *p, size_t i, struct err *e)
{
	struct broker_spec *b = &p->spec.brokers[i];
	struct broker_conf *c = &b->conf;

	fill_id(p, i);
	fill_names(p, b, &p->brokers[i]);
	if (strchr(c->brokerName, '/') != NULL || *c->brokerName == '.')
		return yamlfile_error(&p->y, plan_at(&p->brokers[i], "brokerName"), e,
		    "brokerName `%s` cannot be part of a path", c->brokerName);
	fill_own_address(p, b, c);
	fill_dirs(p, b);
	if (c->haListenPort <= 0)
		c->haListenPort = c->listenPort + 1;
	if (*c->namesrvAddr == '\0')
		set_text(&c->namesrvAddr, namesrv_addresses(p));
	return apply_saved(p, i, e);
}

static void
fill_top(struct plan *p)
{
	struct cluster_spec *s = &p->spec;

	s->file = absolute(p->y.path);
	if (s->cluster == NULL)
		s->cluster = xstrdup("DefaultCluster");
	set_text(&s->dir, s->dir == NULL ? xstrdup(LOCALSTATEDIR "/lib/rmqsupervisor") : absolute(s->dir));
	for (size_t n = strlen(s->dir); n > 1 && s->dir[n - 1] == '/'; n--)
		s->dir[n - 1] = '\0';
	if (s->log_level == NULL)
		s->log_level = xstrdup("info");
	if (s->log_dir == NULL)
		s->log_dir = xasprintf("%s/log", s->dir);
	make_below(&s->log_dir, s->dir);
	make_below(&s->pid_file, s->dir);
	make_below(&s->on_promote, s->dir);
	make_below(&s->on_failed, s->dir);
}

enum rc
instance_fill(struct plan *p, const char *host, struct err *e)
{
	enum rc rc;

	fill_top(p);
	rc = choose_host(p, host, e);
	for (size_t i = 0; i < p->spec.namesrv_count && rc == RC_OK; i++)
		fill_namesrv(p, i);
	for (size_t i = 0; i < p->spec.broker_count && rc == RC_OK; i++)
		rc = fill_broker(p, i, e);
	return rc;
}

/* ---- directories and privileges */

static enum rc
dir_error(const char *path, struct err *e)
{
	int saved = errno;

	err_set(e, "directory %s cannot be made: %s", path, strerror(saved));
	errno = saved;
	return RC_IO;
}

static enum rc
make_one(const char *path, const struct identity *who, struct err *e)
{
	struct stat st;

	if (stat(path, &st) == 0) {
		errno = ENOTDIR;
		return S_ISDIR(st.st_mode) ? RC_OK : dir_error(path, e);
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return dir_error(path, e);
	if (who->uid != geteuid() && chown(path, who->uid, who->gid) != 0)
		return dir_error(path, e);
	return RC_OK;
}

static enum rc
make_path(const char *path, const struct identity *who, struct err *e)
{
	char *copy = xstrdup(path);
	enum rc rc = RC_OK;

	for (char *slash = strchr(copy + 1, '/'); slash != NULL && rc == RC_OK; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		rc = make_one(copy, who, e);
		*slash = '/';
	}
	if (rc == RC_OK)
		rc = make_one(copy, who, e);
	free(copy);
	return rc;
}

enum rc
instance_make_dirs(const struct plan *p, const struct identity *who, struct err *e)
{
	const struct cluster_spec *s = &p->spec;
	enum rc rc = make_path(s->dir, who, e);

	if (rc == RC_OK && s->log_to == LOG_TO_FILE)
		rc = make_path(s->log_dir, who, e);
	for (size_t i = 0; i < s->namesrv_count && rc == RC_OK; i++)
		if (s->namesrvs[i].here)
			rc = make_path(s->namesrvs[i].dir, who, e);
	for (size_t i = 0; i < s->broker_count && rc == RC_OK; i++)
		if (s->brokers[i].here)
			rc = make_path(s->brokers[i].dir, who, e);
	return rc;
}

static enum rc
find_user(const char *name, struct identity *who, struct err *e)
{
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL) {
		err_set(e, "user: there is no user `%s` on this host", name);
		return RC_NOTFOUND;
	}
	who->uid = pw->pw_uid;
	who->gid = pw->pw_gid;
	who->user = xstrdup(name);
	return RC_OK;
}

static enum rc
find_group(const char *name, struct identity *who, struct err *e)
{
	const struct group *gr = getgrnam(name);

	if (gr == NULL) {
		err_set(e, "group: there is no group `%s` on this host", name);
		return RC_NOTFOUND;
	}
	who->gid = gr->gr_gid;
	return RC_OK;
}

enum rc
instance_identity(const struct cluster_spec *s, struct identity *who, struct err *e)
{
	enum rc rc = RC_OK;

	*who = (struct identity){geteuid(), getegid(), NULL};
	if (s->user != NULL)
		rc = find_user(s->user, who, e);
	if (rc == RC_OK && s->group != NULL)
		rc = find_group(s->group, who, e);
	if (rc == RC_OK && geteuid() != 0 && (who->uid != geteuid() || who->gid != getegid())) {
		err_set(e, "only root can become user `%s`; start as root, or leave `user` and `group` out",
		    s->user != NULL ? s->user : s->group);
		rc = RC_INVAL;
	}
	if (rc != RC_OK)
		identity_free(who);
	return rc;
}

static enum rc
drop_error(struct err *e)
{
	int saved = errno;

	err_set(e, "root could not be given up: %s", strerror(saved));
	errno = saved;
	return RC_IO;
}

enum rc
instance_drop_root(const struct identity *who, struct err *e)
{
	if (who->uid == geteuid() && who->gid == getegid())
		return RC_OK;
	if (who->user != NULL ? initgroups(who->user, who->gid) != 0 : setgroups(0, NULL) != 0)
		return drop_error(e);
	if (setresgid(who->gid, who->gid, who->gid) != 0 || setresuid(who->uid, who->uid, who->uid) != 0)
		return drop_error(e);
	return RC_OK;
}

void
identity_free(struct identity *who)
{
	free(who->user);
	who->user = NULL;
}

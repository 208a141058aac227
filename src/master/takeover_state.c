/*
 * takeover_state: who is master and since which epoch, on disk: <dir>/failover/<brokerName>.json.
 *
 * A process of its own writes it, since a disk may take long and the master must not. If that process dies or the disk
 * is full, the old file stands; the change goes on and it is said. Then a restart of the supervisor starts the old
 * roles, and the old master hears of the higher epoch before it accepts a send, see doc/clusters.md.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "master/takeover.h"

enum rc
takeover_load(struct takeover *t, struct err *e)
{
	json_t *o;
	enum rc rc = json_load_config(t->path, &o, e);

	if (rc != RC_OK)
		return rc;
	t->f.epoch = json_get_i64(o, "epoch", -1);
	t->f.master_id = json_get_i64(o, "masterId", -2);
	t->f.since_ms = json_get_i64(o, "sinceMs", 0);
	snprintf(t->f.why, sizeof(t->f.why), "%s", json_get_str(o, "why", ""));
	json_decref(o);
	if (t->f.epoch >= 0 && t->f.master_id >= -1)
		return RC_OK;
	err_set(e,
		"%s does not say who is master of %s (masterId) and since which epoch; if it is damaged, remove it: "
		"then the "
		"roles are those of the spec",
		t->path, t->name);
	return RC_BADDATA;
}

static char *
state_text(const struct takeover *t)
{
	json_t *o =
	    json_pack("{s:s, s:I, s:I, s:I, s:s}", "brokerName", t->name, "epoch", (json_int_t)t->f.epoch, "masterId",
		      (json_int_t)t->f.master_id, "sinceMs", (json_int_t)t->f.since_ms, "why", t->f.why);
	char *text = o != NULL ? json_dumps(o, JSON_INDENT(1)) : NULL;

	json_decref(o);
	return text;
}

static NORETURN void
write_state(const struct takeover *t)
{
	char *text = state_text(t), *dir = strdup(t->path);
	struct err e;

	if (dir != NULL)
		*strrchr(dir, '/') = '\0';
	if (text == NULL || dir == NULL || (mkdir(dir, 0700) != 0 && errno != EEXIST)) {
		log_error("failover: %s cannot be written: %s", t->path, strerror(errno));
		_exit(1);
	}
	if (file_replace(t->path, slice_of(text), &e) != RC_OK) {
		log_error("failover: %s", e.text);
		_exit(1);
	}
	_exit(0);
}

void
takeover_keep(struct takeover *t)
{
	if (t->keeper != 0) {
		t->keep_again = true;
		return;
	}
	t->keeper = fork();
	if (t->keeper == 0)
		write_state(t);
	if (t->keeper > 0)
		return;
	t->keeper = 0;
	takeover_say(t, "epoch %lld is not kept on the disk: fork: %s", (long long)t->f.epoch, strerror(errno));
	failover_kept(&t->f, clock_mono_ms());
}

void
takeover_keeper_ended(struct takeover *t, int status)
{
	t->keeper = 0;
	if (t->keep_again) {
		t->keep_again = false;
		takeover_keep(t);
		return;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		takeover_say(t,
			     "epoch %lld could not be kept in %s; after a restart of the supervisor the roles would be "
			     "the old ones "
			     "until the nodes hear of each other",
			     (long long)t->f.epoch, t->path);
	failover_kept(&t->f, clock_mono_ms());
}

/*
 * store_bench: what one message costs in the store: staging, the turn's write, dispatch, and a pull of what arrived.
 *
 *	store_bench [-d DIR] [-b BODY] [-t TURN] [-n MESSAGES] [-q QUEUES] [-k]
 *
 * One process, no network, no flush; processor time, so the numbers are the loop's own share on a busy machine too. -k gives each message a KEYS property too.
 */
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "store/store.h"

struct options {
	const char	*dir;
	size_t		 body;
	int		 turn, messages, queues;
	bool		 keys;
};

struct times {
	int64_t	stage_us, commit_us, get_us;
	int64_t	pulled;
};

static int64_t
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void
die(const char *what, const struct err *e)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, e->text);
	exit(EXIT_FAILURE);
}

static void
make_props(char *out, size_t n, int i, bool keys)
{
	snprintf(out, n,
	    "UNIQ_KEY\0017F00000100002A139A55%012X\002WAIT\001true\002TAGS\001TagA\002MSG_REGION\001DefaultRegion\002"
	    "TRACE_ON\001true\002CLUSTER\001DefaultCluster\002", (unsigned)i);
	if (keys)
		snprintf(out + strlen(out), n - strlen(out), "KEYS\001order-%d\002", i);
}

static void
stage_turn(struct store *s, const struct options *o, int from)
{
	static char body[1 << 20];
	char props[512];

	for (int i = from; i < from + o->turn; i++) {
		struct message m = {.topic = SLICE_LIT("BenchmarkTopic"), .queue_id = i % o->queues, .body = {body, o->body}};
		struct store_put_result r;

		make_props(props, sizeof(props), i, o->keys);
		m.props[0] = slice_of(props);
		m.born_host = m.store_host = (struct addr){.ip = {127, 0, 0, 1}, .port = 10911};
		if (store_stage(s, &m, &r) != RC_OK)
			die("stage", &(struct err){"refused"});
	}
}

static void
pull_turn(struct store *s, const struct options *o, int64_t *next, struct times *t)
{
	for (int i = 0; i < o->queues; i++) {
		struct store_queue *q = store_queue_find(s, SLICE_LIT("BenchmarkTopic"), i);
		struct get_result r;

		if (q == NULL || queue_max(q) == next[i])
			continue;
		store_get(s, q, next[i], 32, NULL, true, &r);
		next[i] = r.next;
		t->pulled += r.messages;
	}
}

static void
run(struct store *s, const struct options *o, struct times *t)
{
	int64_t *next = xcalloc((size_t)o->queues, sizeof(*next));
	struct err e;

	for (int i = 0; i < o->messages; i += o->turn) {
		int64_t at = cpu_us(), then;

		stage_turn(s, o, i);
		then = cpu_us();
		t->stage_us += then - at;
		if (store_commit(s, &e) != RC_OK)
			die("commit", &e);
		at = cpu_us();
		t->commit_us += at - then;
		pull_turn(s, o, next, t);
		t->get_us += cpu_us() - at;
	}
	free(next);
}

static struct node_shm *
make_shm(void)
{
	struct node_shm *shm = aligned_alloc(SHM_LINE, (sizeof(*shm) + SHM_LINE - 1) / SHM_LINE * SHM_LINE);

	if (shm == NULL)
		abort();
	memset(shm, 0, sizeof(*shm));
	return shm;
}

static void
bench(const struct options *o)
{
	struct broker_conf conf;
	struct store_opts opts = {.conf = &conf, .shm = make_shm()};
	struct times t = {0};
	struct store *s;
	struct err e;

	broker_conf_init(&conf);
	free(conf.storePathRootDir);
	conf.storePathRootDir = xstrdup(o->dir);
	if (store_open(&s, &opts, &e) != RC_OK)
		die("open", &e);
	run(s, o, &t);
	printf("%d messages of %zu bytes, %d a turn, %d queues: stage %.3f us, write and dispatch %.3f us, pull %.3f us each\n",
	    o->messages, o->body, o->turn, o->queues, (double)t.stage_us / o->messages, (double)t.commit_us / o->messages,
	    t.pulled > 0 ? (double)t.get_us / (double)t.pulled : 0.0);
	store_close(&s, false);
	broker_conf_free(&conf);
	free(opts.shm);
}

int
main(int argc, char **argv)
{
	struct options o = {.body = 128, .turn = 128, .messages = 1000000, .queues = 8};
	char tmp[] = "/tmp/store-bench-XXXXXX";
	int c;

	while ((c = getopt(argc, argv, "d:b:t:n:q:k")) != -1)
		switch (c) {
		case 'd':
			o.dir = optarg;
			break;
		case 'b':
			o.body = strtoul(optarg, NULL, 10);
			break;
		case 't':
			o.turn = atoi(optarg);
			break;
		case 'n':
			o.messages = atoi(optarg);
			break;
		case 'q':
			o.queues = atoi(optarg);
			break;
		case 'k':
			o.keys = true;
			break;
		default:
			return EXIT_FAILURE;
		}
	if (o.body > 1 << 20 || o.turn < 1 || o.queues < 1)
		return EXIT_FAILURE;
	(void)(log_set_level("warn") == RC_OK);
	if (o.dir == NULL && (o.dir = mkdtemp(tmp)) == NULL)
		return EXIT_FAILURE;
	bench(&o);
	if (o.dir == tmp)
		nftw(tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return EXIT_SUCCESS;
}

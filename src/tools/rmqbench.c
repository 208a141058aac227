/*
 * rmqbench: load for a RocketMQ broker, this one or Apache's, and what came of it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/str.h"
#include "tools/bench.h"

static const char usage_text[] =
    "usage: rmqbench send|pull|due|verify|echo [options]\n"
    "  -n, --namesrv HOST:PORT   find the broker there (default 127.0.0.1:9876)\n"
    "  -b, --broker HOST:PORT    the broker itself\n"
    "  -t, --topic NAME          topic (default BenchTopic; it is made)\n"
    "  -g, --group NAME          producer or consumer group\n"
    "  -c, --connections N       connections (4)\n"
    "  -i, --inflight N          requests in flight on each (64; pull: 1)\n"
    "  -q, --queues N            queues of the topic (8)\n"
    "  -s, --size BYTES          body (1024)\n"
    "      --batch N             messages in one send (1)\n"
    "      --keys                each message has a key of its own\n"
    "      --codec json|binary   header codec (json)\n"
    "      --rate N              messages a second; late answers count from the intended time\n"
    "      --max-nums N          messages in one pull (32)\n"
    "      --delay-ms N          send: to be delivered so long after; due: what a delay level stands for\n"
    "      --due-at MS           send: all to be delivered at that moment, ms since 1970\n"
    "      --delay-level N       send: by that delay level\n"
    "      --loop                pull: begin again at the end of a queue\n"
    "      --hold                pull: wait for messages (long polling)\n"
    "  -d, --duration SECONDS    (10)\n"
    "  -w, --warmup SECONDS      not counted (1)\n"
    "      --count N             stop after N messages\n"
    "      --ledger FILE         send: note what was acknowledged; verify: hold the store against it\n"
    "      --port N              echo: where it listens\n"
    "      --json                result for scripts\n"
    "      --quiet               no progress line\n";

enum { OPT_BATCH = 256, OPT_KEYS, OPT_CODEC, OPT_RATE, OPT_MAX, OPT_LOOP, OPT_HOLD, OPT_COUNT, OPT_LEDGER, OPT_PORT, OPT_JSON, OPT_QUIET, OPT_DELAY, OPT_DUE_AT,
	OPT_LEVEL };

static const struct option options[] = {{"namesrv", 1, NULL, 'n'}, {"broker", 1, NULL, 'b'}, {"topic", 1, NULL, 't'},
    {"group", 1, NULL, 'g'}, {"connections", 1, NULL, 'c'}, {"inflight", 1, NULL, 'i'}, {"queues", 1, NULL, 'q'},
    {"size", 1, NULL, 's'}, {"batch", 1, NULL, OPT_BATCH}, {"keys", 0, NULL, OPT_KEYS}, {"codec", 1, NULL, OPT_CODEC},
    {"rate", 1, NULL, OPT_RATE}, {"max-nums", 1, NULL, OPT_MAX}, {"loop", 0, NULL, OPT_LOOP}, {"hold", 0, NULL, OPT_HOLD},
    {"duration", 1, NULL, 'd'}, {"warmup", 1, NULL, 'w'}, {"count", 1, NULL, OPT_COUNT}, {"ledger", 1, NULL, OPT_LEDGER},
    {"port", 1, NULL, OPT_PORT}, {"json", 0, NULL, OPT_JSON}, {"quiet", 0, NULL, OPT_QUIET}, {"delay-ms", 1, NULL, OPT_DELAY},
    {"due-at", 1, NULL, OPT_DUE_AT}, {"delay-level", 1, NULL, OPT_LEVEL}, {"help", 0, NULL, 'h'}, {0}};

static NORETURN void
bad_usage(const char *what)
{
	fprintf(stderr, "rmqbench: %s\n%s", what, usage_text);
	exit(2);
}

/* A whole number in min..max, or the end. */
static unsigned
number(const char *name, const char *text, int64_t min, int64_t max)
{
	int64_t v;
	char say[160];

	if (str_bytes(slice_of(text), &v) == RC_OK && v >= min && v <= max)
		return (unsigned)v;
	snprintf(say, sizeof(say), "--%s takes a number from %lld to %lld, not \"%.40s\"", name, (long long)min, (long long)max, text);
	bad_usage(say);
}

static uint64_t
moment(const char *text)
{
	int64_t v;

	if (str_i64(slice_of(text), &v) == RC_OK && v >= 1000000000000 && v <= 9999999999999)
		return (uint64_t)v;
	bad_usage("--due-at takes ms since 1970, 13 digits");
}

static double
real(const char *name, const char *text)
{
	char *end, say[160];
	double v = strtod(text, &end);

	if (end != text && *end == '\0' && v >= 0)
		return v;
	snprintf(say, sizeof(say), "--%s takes a number that is not negative, not \"%.40s\"", name, text);
	bad_usage(say);
}

static void
set_option(struct bench_opts *o, int c, const char *arg, int *port)
{
	switch (c) {
	case 'n': o->namesrv = arg; break;
	case 'b': o->broker = arg; break;
	case 't': o->topic = arg; break;
	case 'g': o->group = arg; break;
	case 'c': o->connections = number("connections", arg, 1, 10000); break;
	case 'i': o->inflight = number("inflight", arg, 1, 100000); break;
	case 'q': o->queues = number("queues", arg, 1, 9999); break;
	case 's': o->size = number("size", arg, 1, 4 << 20); break;
	case 'd': o->seconds = real("duration", arg); break;
	case 'w': o->warmup = real("warmup", arg); break;
	case OPT_BATCH: o->batch = number("batch", arg, 1, 10000); break;
	case OPT_KEYS: o->keys = true; break;
	case OPT_RATE: o->rate = real("rate", arg); break;
	case OPT_MAX: o->pull_count = number("max-nums", arg, 1, 10000); break;
	case OPT_LOOP: o->loop = true; break;
	case OPT_HOLD: o->hold = true; break;
	case OPT_COUNT: o->count = number("count", arg, 1, UINT32_MAX); o->seconds = o->seconds == 10 ? 0 : o->seconds; break;
	case OPT_LEDGER: o->ledger = arg; break;
	case OPT_PORT: *port = (int)number("port", arg, 1, 65535); break;
	case OPT_JSON: o->json = true; break;
	case OPT_QUIET: o->quiet = true; break;
	case OPT_DELAY: o->delay_ms = number("delay-ms", arg, 1, 1u << 31); break;
	case OPT_LEVEL: o->delay_level = number("delay-level", arg, 1, 64); break;
	case OPT_DUE_AT: o->due_at_ms = moment(arg); break;
	case 'h': fputs(usage_text, stdout); exit(0);
	case OPT_CODEC:
		o->binary = strcmp(arg, "binary") == 0;
		if (!o->binary && strcmp(arg, "json") != 0)
			bad_usage("--codec is json or binary");
		break;
	default: bad_usage("that option is not known");
	}
}

static void
print_json(const struct bench_result *r)
{
	printf("{\"messages\":%llu,\"seconds\":%.3f,\"msg_s\":%.0f,\"mb_s\":%.2f,\"requests\":%llu,\"errors\":%llu,\"error_code\":%d,"
	       "\"p50_us\":%llu,\"p99_us\":%llu,\"p999_us\":%llu,\"max_us\":%llu,\"early\":%llu}\n",
	    (unsigned long long)r->messages, r->seconds, (double)r->messages / r->seconds, (double)r->bytes / r->seconds / 1e6,
	    (unsigned long long)r->requests, (unsigned long long)r->errors, r->error_code, (unsigned long long)hist_at(&r->latency, 0.5),
	    (unsigned long long)hist_at(&r->latency, 0.99), (unsigned long long)hist_at(&r->latency, 0.999),
	    (unsigned long long)r->latency.max, (unsigned long long)r->early);
}

static void
print_table(const struct bench_result *r)
{
	printf("%-12s %-10s %-10s %-10s %-10s %-10s %s\n", "msg/s", "MB/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "errors");
	printf("%-12.0f %-10.1f %-10.3f %-10.3f %-10.3f %-10.3f %llu\n", (double)r->messages / r->seconds,
	    (double)r->bytes / r->seconds / 1e6, (double)hist_at(&r->latency, 0.5) / 1e3, (double)hist_at(&r->latency, 0.99) / 1e3,
	    (double)hist_at(&r->latency, 0.999) / 1e3, (double)r->latency.max / 1e3, (unsigned long long)r->errors);
	if (r->errors > 0)
		printf("first error: code %d: %s\n", r->error_code, r->error_text);
}

static int
run(struct bench_opts *o, bool verify)
{
	struct bench_target t;
	struct bench_result *r = xcalloc(1, sizeof(*r));
	struct err e = {""};
	enum rc rc = bench_find_target(o, &t, &e);
	int status;

	if (rc == RC_OK && verify) {
		free(r);
		return bench_verify(o, &t);
	}
	if (rc == RC_OK)
		rc = bench_run(o, &t, r, &e);
	if (rc != RC_OK)
		fprintf(stderr, "rmqbench: %s\n", e.text);
	if (r->seconds > 0) {
		if (o->json)
			print_json(r);
		else
			print_table(r);
	}
	status = rc == RC_OK && r->errors == 0 && r->messages > 0 ? 0 : 1;
	free(r);
	return status;
}

int
main(int argc, char **argv)
{
	struct bench_opts o = {.topic = "BenchTopic", .connections = 4, .queues = 8, .batch = 1, .size = 1024, .pull_count = 32,
	    .seconds = 10, .warmup = 1};
	const char *what = argc > 1 ? argv[1] : "";
	int c, port = 10911;
	bool verify = strcmp(what, "verify") == 0;

	if (strcmp(what, "-h") == 0 || strcmp(what, "--help") == 0) {
		fputs(usage_text, stdout);
		return 0;
	}
	optind = 2;
	while (argc > 1 && (c = getopt_long(argc, argv, "n:b:t:g:c:i:q:s:d:w:h", options, NULL)) != -1)
		set_option(&o, c, optarg, &port);
	if (strcmp(what, "echo") == 0)
		return bench_echo(port);
	o.mode = strcmp(what, "pull") == 0 ? BENCH_PULL : strcmp(what, "due") == 0 ? BENCH_DUE : BENCH_SEND;
	if (o.mode == BENCH_SEND && strcmp(what, "send") != 0 && !verify)
		bad_usage("say what to do: send, pull, due, verify or echo");
	if (verify && o.ledger == NULL)
		bad_usage("verify needs --ledger");
	if (o.namesrv == NULL && o.broker == NULL)
		o.namesrv = "127.0.0.1:9876";
	if (o.batch > 1 && (o.delay_ms > 0 || o.due_at_ms > 0 || o.delay_level > 0))
		bad_usage("messages of a batch cannot be delayed");
	if (o.mode == BENCH_DUE) { /* one waiting pull for each queue */
		o.connections = 1;
		o.inflight = o.queues;
		o.hold = true;
	}
	if (o.inflight == 0)
		o.inflight = o.mode == BENCH_SEND ? 64 : 1;
	if (o.group == NULL)
		o.group = o.mode == BENCH_SEND && !verify ? "rmqbench_producer" : "rmqbench_consumer";
	return run(&o, verify);
}

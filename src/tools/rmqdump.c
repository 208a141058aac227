/*
 * rmqdump: shows what stands in a store, and checks it. It only reads; the broker may run meanwhile.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/str.h"
#include "tools/dump.h"

#define COUNT_DEFAULT 100

struct command {
	const char	*name;
	int		(*run)(const struct dump_opts *o);
	const char	*text;
};

static const struct command commands[] = {
    {"log", dump_log, "records of the commit log"},
    {"queue", dump_queue, "consume queues; with --topic and --queue the units of one"},
    {"index", dump_index, "index files; with --count or --from their entries"},
    {"checkpoint", dump_checkpoint, "checkpoint, abort, lock"},
    {"config", dump_config, "config/*.json: which can be read; with a NAME its content"},
    {"check", dump_check, "records, CRCs, queues, index and checkpoint against each other"},
};

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"from", required_argument, NULL, 'f'},
    {"count", required_argument, NULL, 'n'},
    {"topic", required_argument, NULL, 't'},
    {"queue", required_argument, NULL, 'q'},
    {"slots", required_argument, NULL, 's'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

int
dump_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "rmqdump: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return DUMP_FAILED;
}

static void
usage(FILE *to)
{
	fprintf(to, "usage: rmqdump COMMAND DIR [NAME] [options]\n"
	    "Shows what stands in a RocketMQ store and checks it. DIR is storePathRootDir. Nothing is changed.\n\n");
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].text);
	fprintf(to, "\n"
	    "  -j, --json       one JSON object a line\n"
	    "  -f, --from N     begin at this offset of the log or queue, or entry of the index\n"
	    "  -n, --count N    at most N lines (%d; 0: all)\n"
	    "  -t, --topic T    only this topic\n"
	    "  -q, --queue N    only this queue\n"
	    "  -s, --slots N    maxHashSlotNum of the index files, when their size does not tell\n"
	    "check leaves with 0 if all is well, 1 if something is wrong, 2 if it could not look.\n", COUNT_DEFAULT);
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static bool
number(const char *text, int64_t max, int64_t *v)
{
	return str_i64(slice_of(text), v) == RC_OK && *v >= 0 && *v <= max;
}

static bool
set_number(struct dump_opts *o, int c, const char *text)
{
	int64_t v;

	if (!number(text, c == 'f' || c == 'n' ? INT64_MAX : INT32_MAX, &v)) {
		dump_fail("\"%s\" is no number for -%c", text, c);
		return false;
	}
	if (c == 'f')
		o->from = v;
	else if (c == 'n')
		o->count = v;
	else if (c == 'q')
		o->queue = (int32_t)v;
	else
		o->slots = (int32_t)v;
	return true;
}

/* -1: go on; otherwise the exit status. */
static int
take_option(struct dump_opts *o, int c)
{
	switch (c) {
	case 'j':
		o->json = true;
		return -1;
	case 't':
		o->topic = optarg;
		return -1;
	case 'f':
	case 'n':
	case 'q':
	case 's':
		return set_number(o, c, optarg) ? -1 : DUMP_FAILED;
	case 'h':
		usage(stdout);
		return DUMP_OK;
	case 'V':
		printf("rmqdump %s\n", PACKAGE_VERSION);
		return DUMP_OK;
	default:
		usage(stderr);
		return DUMP_FAILED;
	}
}

static int
run(int argc, char **argv, struct dump_opts *o)
{
	const struct command *c;

	if (argc < 2) {
		usage(stderr);
		return DUMP_FAILED;
	}
	c = find_command(argv[0]);
	if (c == NULL)
		return dump_fail("no command \"%s\"; see rmqdump --help", argv[0]);
	o->root = argv[1];
	o->name = argc > 2 ? argv[2] : NULL;
	return c->run(o);
}

int
main(int argc, char **argv)
{
	struct dump_opts o = {.from = -1, .count = -1, .queue = -1};
	int c, status;

	log_to_stderr();
	while ((c = getopt_long(argc, argv, "jf:n:t:q:s:hV", options, NULL)) != -1) {
		status = take_option(&o, c);
		if (status >= 0)
			return status;
	}
	status = run(argc - optind, argv + optind, &o);
	if (fflush(stdout) != 0 || ferror(stdout))
		return dump_fail("cannot write the output");
	return status;
}

/*
 * adm_opt: the options of rmqadmin's commands: the original's letters and long names.
 */
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "common/str.h"
#include "tools/adm.h"

#define OPTS_MAX 24

enum rc
adm_misused(struct adm *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->e.text, sizeof(a->e.text), fmt, ap);
	va_end(ap);
	a->misused = true;
	return RC_INVAL;
}

static const struct adm_opt common_opts[] = {
    {'n', "namesrvAddr", "addresses", false, "name servers, host:port;host:port (else $NAMESRV_ADDR)"},
    {'J', "json", NULL, false, "print JSON"},
    {'Z', "timeout", "ms", false, "how long to wait for one answer (5000)"},
    {'h', "help", NULL, false, "print this"},
    {0, NULL, NULL, false, NULL},
};

static bool
has_letter(const struct adm_opt *o)
{
	return o->letter < 'A' || o->letter > 'Z';
}

static void
add_options(const struct adm_opt *o, struct option *lo, unsigned *n, char *letters)
{
	for (; o->letter; o++) {
		size_t at = strlen(letters);

		ensure(*n < OPTS_MAX);
		lo[(*n)++] = (struct option){o->name, o->arg ? required_argument : no_argument, NULL, o->letter};
		if (has_letter(o))
			snprintf(letters + at, 3, "%c%s", o->letter, o->arg ? ":" : "");
	}
}

static void
print_options(const struct adm_opt *o)
{
	char left[64];

	for (; o->letter; o++) {
		if (has_letter(o))
			snprintf(left, sizeof(left), "-%c, --%s %s", o->letter, o->name, o->arg ? o->arg : "");
		else
			snprintf(left, sizeof(left), "    --%s %s", o->name, o->arg ? o->arg : "");
		printf("  %-38s %s%s\n", left, o->help, o->needed ? " (needed)" : "");
	}
}

void
adm_usage(const struct adm_cmd *c)
{
	printf("usage: rmqadmin %s [options]\n%s\n\n", c->name, c->help);
	print_options(c->opts);
	print_options(common_opts);
}

static enum rc
check_needed(struct adm *a)
{
	for (const struct adm_opt *o = a->cmd->opts; o->letter; o++) {
		if (o->needed && adm_value(a, o->letter) == NULL) {
			return adm_misused(a, "-%c (--%s) is needed: %s", o->letter, o->name, o->help);
		}
	}
	return RC_OK;
}

static enum rc
take_common(struct adm *a)
{
	a->json = adm_value(a, 'J') != NULL;
	a->namesrv = adm_value(a, 'n') ? adm_value(a, 'n') : getenv("NAMESRV_ADDR");
	if (a->namesrv == NULL || *a->namesrv == '\0') {
		return adm_misused(a, "no name server is known: give -n host:port or set NAMESRV_ADDR");
	}
	return adm_number(a, 'Z', ADM_TIMEOUT_MS, 1, 3600000, &a->timeout_ms);
}

enum rc
adm_parse(struct adm *a, int argc, char **argv)
{
	struct option lo[OPTS_MAX + 1] = {{NULL, 0, NULL, 0}};
	char letters[3 * OPTS_MAX + 2] = ":";
	unsigned n = 0;
	int c;
	enum rc rc;

	add_options(a->cmd->opts, lo, &n, letters);
	add_options(common_opts, lo, &n, letters);
	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, lo, NULL)) != -1) {
		if (c == '?' || c == ':') {
			return adm_misused(
			    a, c == ':' ? "%s needs a value" : "%s is no option of this command (-h lists them)",
			    argv[optind - 1]);
		}
		a->values[c] = optarg ? optarg : "";
	}
	if (adm_value(a, 'h'))
		return RC_OK;
	if (optind < argc) {
		return adm_misused(a, "'%s' is not understood: options only", argv[optind]);
	}
	rc = check_needed(a);
	return rc == RC_OK ? take_common(a) : rc;
}

/* The option as the user may have written it. */
static const char *
option_name(const struct adm *a, char letter, char buf[64])
{
	const struct adm_opt *lists[] = {a->cmd->opts, common_opts};

	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		for (const struct adm_opt *o = lists[i]; o->letter; o++) {
			if (o->letter != letter)
				continue;
			if (has_letter(o))
				snprintf(buf, 64, "-%c (--%s)", letter, o->name);
			else
				snprintf(buf, 64, "--%s", o->name);
		}
	}
	return buf;
}

enum rc
adm_number(struct adm *a, char letter, int64_t dflt, int64_t min, int64_t max, int64_t *v)
{
	const char *text = adm_value(a, letter);
	char name[64] = "";

	*v = dflt;
	if (text == NULL)
		return RC_OK;
	if (str_i64(str_trim(slice_of(text)), v) == RC_OK && *v >= min && *v <= max)
		return RC_OK;
	return adm_misused(a, "%s must be a whole number from %lld to %lld, not '%s'", option_name(a, letter, name),
			   (long long)min, (long long)max, text);
}

enum rc
adm_bool(struct adm *a, char letter, bool dflt, bool *v)
{
	const char *text = adm_value(a, letter);
	char name[64] = "";
	struct slice s;

	*v = dflt;
	if (text == NULL)
		return RC_OK;
	s = str_trim(slice_of(text));
	*v = str_bool(s);
	if (*v || (s.n == 5 && strncasecmp(s.p, "false", 5) == 0))
		return RC_OK;
	return adm_misused(a, "%s must be true or false, not '%s'", option_name(a, letter, name), text);
}

enum rc
adm_time(struct adm *a, char letter, int64_t dflt, int64_t *ms)
{
	const char *text = adm_value(a, letter), *rest;
	char name[64] = "";
	struct tm tm = {.tm_isdst = -1};
	int64_t part = 0;

	*ms = dflt;
	if (text == NULL)
		return RC_OK;
	if (strcmp(text, "now") == 0 || strcmp(text, "currentTimeMillis") == 0) {
		*ms = clock_wall_ms();
		return RC_OK;
	}
	if (str_i64(slice_of(text), ms) == RC_OK)
		return RC_OK;
	rest = strptime(text, "%Y-%m-%d#%H:%M:%S", &tm);
	if (rest && (*rest == '\0' ||
		     (*rest == ':' && str_i64(slice_of(rest + 1), &part) == RC_OK && part >= 0 && part < 1000))) {
		*ms = (int64_t)mktime(&tm) * 1000 + part;
		return RC_OK;
	}
	return adm_misused(a, "%s must be now, milliseconds since 1970 or yyyy-MM-dd#HH:mm:ss:SSS, not '%s'",
			   option_name(a, letter, name), text);
}

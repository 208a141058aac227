/*
 * fuzz_sql: any bytes as a SQL92 expression and, behind a NUL, as the properties of a message.
 */
#include "common/message.h"
#include "fuzz.h"
#include "workers/broker/filter_sql.h"

static void
check_filter(const struct sql_filter *f, struct slice props)
{
	enum sql_truth said = sql_filter_eval(f, props);

	must(said == SQL_FALSE || said == SQL_TRUE || said == SQL_NULL || said == SQL_ERROR);
	must(sql_filter_eval(f, props) == said);
	must(sql_filter_passes(f, props) == (said == SQL_TRUE));
	sql_filter_eval(f, SLICE_NONE);
	sql_filter_eval(f, SLICE_LIT("a\x01" "5\x02" "b\x01" "-1e3\x02TAGS\x01x\x02"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
	size_t n = nul != NULL ? (size_t)(nul - data) : size, rest = nul != NULL ? size - n - 1 : 0;
	char *text = fuzz_copy(data, n), *props = fuzz_copy(nul != NULL ? nul + 1 : data, rest);
	struct sql_filter *f;
	struct err e;

	f = sql_filter_compile((struct slice){text, n}, &e);
	free(text); /* the filter keeps nothing of it */
	if (f != NULL)
		check_filter(f, (struct slice){props, rest});
	else
		must(e.text[0] != '\0');
	sql_filter_unref(&f);
	free(props);
	return 0;
}

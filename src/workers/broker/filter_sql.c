/*
 * filter_sql: SQL92 expressions: compiled once, kept as long as somebody refers to them.
 *
 * Runs in:    the broker process.
 * Must not:   allocate while a message is looked at, except for a number text of an unusual length.
 *
 * The grammar is in filter_sql_parse.y, the tokens in filter_sql_lex.l, what is refused in filter_sql_tree.c, what a tree says of
 * a message in filter_sql_eval.c.
 */
#include "workers/broker/filter_sql_int.h"

static void
filter_free(struct sql_filter *f)
{
	arena_free(&f->arena);
	free(f);
}

/* False: refused. */
static bool
parse(struct sql_filter *f, struct slice text, struct err *e)
{
	struct sql_parse s = {.arena = &f->arena, .text = text, .e = e};

	if (sql_parse_run(&s) != 0 && !s.complete)
		return false;
	f->root = sql_boolean(&s, s.root);
	return f->root != NULL;
}

struct sql_filter *
sql_filter_compile(struct slice text, struct err *e)
{
	struct sql_filter *f;

	e->text[0] = '\0';
	if (text.n > SQL_TEXT_MAX) {
		err_set(e, "the expression has %zu bytes, at most %d are allowed", text.n, SQL_TEXT_MAX);
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->refs = 1;
	if (parse(f, text.n > 0 ? text : SLICE_LIT(""), e))
		return f;
	filter_free(f);
	return NULL;
}

struct sql_filter *
sql_filter_ref(struct sql_filter *f)
{
	if (f != NULL)
		f->refs++;
	return f;
}

void
sql_filter_unref(struct sql_filter **fp)
{
	struct sql_filter *f = *fp;

	*fp = NULL;
	if (f != NULL && --f->refs == 0)
		filter_free(f);
}

bool
sql_filter_passes(const struct sql_filter *f, struct slice props)
{
	return sql_filter_eval(f, props) == SQL_TRUE;
}

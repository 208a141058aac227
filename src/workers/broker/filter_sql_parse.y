/*
 * filter_sql_parse: the grammar of SQL92 expressions. See filter_sql.h; doc/remoting.md has it as the original reads it.
 *
 * Like the original's, this parser stops where a whole expression is followed by a token that cannot go on with it, and takes
 * what it has: clients exist whose text has such a rest, and there it works.
 */
%code requires {
#include "workers/broker/filter_sql_int.h"
}
%code provides {
int	sql_yylex(union SQL_YYSTYPE *value, struct sql_parse *s);
}
%code {
static void	 sql_yyerror(struct sql_parse *s, const char *words);

#define TAKE(to, node)                                                                                                 \
	do {                                                                                                           \
		if (((to) = (node)) == NULL)                                                                           \
			YYABORT;                                                                                       \
	} while (0)
}
%define api.pure full
%define api.prefix {sql_yy}
%define api.token.prefix {SQL_}
%define parse.error custom
%parse-param {struct sql_parse *s}
%lex-param {struct sql_parse *s}

%union {
	struct slice	 text;
	struct sql_node	*node;
}
%token <text> DECIMAL FLOAT STRING NAME
%token NOT AND OR BETWEEN IN TRUE_WORD FALSE_WORD NULL_WORD IS CONTAINS STARTSWITH ENDSWITH
%token UNLIKE AT_LEAST AT_MOST
%type <node> disjunction conjunction equality comparison unary primary literal texts
%%
expression
	: disjunction
	;
disjunction
	: conjunction				{ $$ = s->root = $1; }
	| disjunction OR conjunction		{ TAKE($$, sql_logic(s, SQL_OP_OR, $1, $3)); s->root = $$; }
	;
conjunction
	: equality
	| conjunction AND equality		{ TAKE($$, sql_logic(s, SQL_OP_AND, $1, $3)); }
	;
equality
	: comparison
	| equality '=' comparison		{ TAKE($$, sql_equal(s, $1, $3)); }
	| equality UNLIKE comparison		{ TAKE($$, sql_not_equal(s, $1, $3)); }
	| equality IS NULL_WORD			{ TAKE($$, sql_is_null(s, $1)); }
	| equality IS NOT NULL_WORD		{ TAKE($$, sql_is_null(s, $1)); TAKE($$, sql_not(s, $$)); }
	;
comparison
	: unary
	| comparison '>' unary			{ TAKE($$, sql_order(s, SQL_OP_GREATER, $1, $3)); }
	| comparison AT_LEAST unary		{ TAKE($$, sql_order(s, SQL_OP_GREATER_EQUAL, $1, $3)); }
	| comparison '<' unary			{ TAKE($$, sql_order(s, SQL_OP_LESS, $1, $3)); }
	| comparison AT_MOST unary		{ TAKE($$, sql_order(s, SQL_OP_LESS_EQUAL, $1, $3)); }
	| comparison CONTAINS STRING		{ TAKE($$, sql_search(s, SQL_OP_CONTAINS, false, $1, $3)); }
	| comparison NOT CONTAINS STRING	{ TAKE($$, sql_search(s, SQL_OP_CONTAINS, true, $1, $4)); }
	| comparison STARTSWITH STRING		{ TAKE($$, sql_search(s, SQL_OP_STARTS_WITH, false, $1, $3)); }
	| comparison NOT STARTSWITH STRING	{ TAKE($$, sql_search(s, SQL_OP_STARTS_WITH, true, $1, $4)); }
	| comparison ENDSWITH STRING		{ TAKE($$, sql_search(s, SQL_OP_ENDS_WITH, false, $1, $3)); }
	| comparison NOT ENDSWITH STRING	{ TAKE($$, sql_search(s, SQL_OP_ENDS_WITH, true, $1, $4)); }
	| comparison BETWEEN unary AND unary	{ TAKE($$, sql_between(s, $1, $3, $5)); }
	| comparison NOT BETWEEN unary AND unary { TAKE($$, sql_not_between(s, $1, $4, $6)); }
	| comparison IN '(' texts ')'		{ TAKE($$, sql_in(s, false, $1, $4)); }
	| comparison NOT IN '(' texts ')'	{ TAKE($$, sql_in(s, true, $1, $5)); }
	;
texts
	: STRING				{ TAKE($$, sql_text(s, $1)); }
	| texts ',' STRING			{ TAKE($$, sql_text(s, $3)); $$ = sql_list($1, $$); }
	;
unary
	: primary
	| '+' unary				{ $$ = $2; }
	| '-' unary				{ TAKE($$, sql_negate(s, $2)); }
	| NOT unary				{ TAKE($$, sql_boolean(s, $2)); TAKE($$, sql_not(s, $$)); }
	;
primary
	: literal
	| NAME					{ TAKE($$, sql_property(s, $1)); }
	| '(' disjunction ')'			{ $$ = $2; }
	;
literal
	: STRING				{ TAKE($$, sql_text(s, $1)); }
	| DECIMAL				{ TAKE($$, sql_int(s, $1)); }
	| FLOAT					{ TAKE($$, sql_double(s, $1)); }
	| TRUE_WORD				{ TAKE($$, sql_bool(s, true)); }
	| FALSE_WORD				{ TAKE($$, sql_bool(s, false)); }
	| NULL_WORD				{ TAKE($$, sql_null(s)); }
	;
%%
/* The end of the text could stand here. */
static bool
could_end(const yypcontext_t *at)
{
	yysymbol_kind_t wanted[YYNTOKENS];
	int n = yypcontext_expected_tokens(at, wanted, YYNTOKENS);

	for (int i = 0; i < n; i++)
		if (wanted[i] == YYSYMBOL_YYEOF)
			return true;
	return false;
}

static int
yyreport_syntax_error(const yypcontext_t *at, struct sql_parse *s)
{
	if (!s->no_token && could_end(at))
		s->complete = true;
	else
		sql_yyerror(s, NULL);
	return 0;
}

static void
sql_yyerror(struct sql_parse *s, const char *words)
{
	size_t shown = MIN_OF(s->token_end - s->token_at, (size_t)40);

	if (words != NULL)
		err_set(s->e, "the expression cannot be read: %s at character %zu", words, s->token_at + 1);
	else if (s->token_at >= s->text.n)
		err_set(s->e, "the expression ends too early: an operand is missing");
	else
		err_set(s->e, "the expression cannot be read: \"%.*s\" at character %zu cannot stand there", (int)shown,
		    s->text.p + s->token_at, s->token_at + 1);
}

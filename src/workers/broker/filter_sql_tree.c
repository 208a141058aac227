/*
 * filter_sql_tree: builds the tree of an expression, and refuses what the original refuses when it parses.
 */
#include "workers/broker/filter_sql_int.h"

#include <float.h>

#include "common/str.h"

static bool
is_literal(const struct sql_node *n)
{
	return n->op <= SQL_OP_BOOL;
}

static bool
is_number(const struct sql_node *n)
{
	return n->op <= SQL_OP_DOUBLE;
}

static bool
is_boolean(const struct sql_node *n)
{
	return n->op == SQL_OP_NULL || n->op == SQL_OP_BOOL || n->op >= SQL_OP_CAST;
}

static struct sql_node *
refuse(struct sql_parse *s, const char *why)
{
	err_set(s->e, "the expression cannot be used: %s, before character %zu", why, s->token_end + 1);
	return NULL;
}

static unsigned
depth_of(const struct sql_node *n)
{
	return n != NULL ? n->depth : 0;
}

static struct sql_node *
make(struct sql_parse *s, enum sql_op op, struct sql_node *left, struct sql_node *right)
{
	unsigned depth = 1 + MAX_OF(depth_of(left), depth_of(right));
	struct sql_node *n;

	if (depth > SQL_DEPTH_MAX)
		return refuse(s, "it is nested too deeply");
	n = arena_alloc(s->arena, sizeof(*n));
	*n = (struct sql_node){.op = op, .depth = (uint16_t)depth, .left = left, .right = right};
	return n;
}

/* ---- literals and properties */

struct sql_node *
sql_int(struct sql_parse *s, struct slice digits)
{
	struct sql_node *n = make(s, SQL_OP_LONG, NULL, NULL);
	char last = digits.p[digits.n - 1];

	if (last == 'l' || last == 'L')
		digits.n--;
	if (str_i64(digits, &n->i) != RC_OK)
		return refuse(s, "a number has more than 64 bits");
	if (n->i <= INT32_MAX)
		n->op = SQL_OP_INT;
	return n;
}

struct sql_node *
sql_double(struct sql_parse *s, struct slice digits)
{
	struct sql_node *n = make(s, SQL_OP_DOUBLE, NULL, NULL);

	/* Zero too is below the smallest double that counts there. */
	if (!sql_read_double(digits, &n->d) || n->d > DBL_MAX || n->d <= 0)
		return refuse(s, "a number with a point is 0, or too small, or too large");
	return n;
}

/* Without the quotes around it, and with one quote for each two. */
static struct slice
unquote(struct sql_parse *s, struct slice quoted)
{
	char *to = arena_alloc(s->arena, quoted.n);
	size_t n = 0;

	for (size_t i = 1; i + 1 < quoted.n; i++) {
		to[n++] = quoted.p[i];
		if (quoted.p[i] == '\'')
			i++;
	}
	to[n] = '\0';
	return (struct slice){to, n};
}

struct sql_node *
sql_text(struct sql_parse *s, struct slice quoted)
{
	struct sql_node *n = make(s, SQL_OP_TEXT, NULL, NULL);

	n->text = unquote(s, quoted);
	return n;
}

struct sql_node *
sql_null(struct sql_parse *s)
{
	return make(s, SQL_OP_NULL, NULL, NULL);
}

struct sql_node *
sql_bool(struct sql_parse *s, bool truth)
{
	struct sql_node *n = make(s, SQL_OP_BOOL, NULL, NULL);

	n->truth = truth;
	return n;
}

struct sql_node *
sql_property(struct sql_parse *s, struct slice name)
{
	struct sql_node *n = make(s, SQL_OP_PROPERTY, NULL, NULL);

	n->text = (struct slice){arena_slicedup(s->arena, name), name.n};
	return n;
}

struct sql_node *
sql_negate(struct sql_parse *s, struct sql_node *n)
{
	return make(s, SQL_OP_NEGATE, n, NULL);
}

/* ---- booleans */

struct sql_node *
sql_boolean(struct sql_parse *s, struct sql_node *n)
{
	if (is_boolean(n))
		return n;
	if (n->op == SQL_OP_PROPERTY)
		return make(s, SQL_OP_CAST, n, NULL);
	return refuse(s, "a condition must stand where a value stands");
}

struct sql_node *
sql_not(struct sql_parse *s, struct sql_node *n)
{
	return make(s, SQL_OP_NOT, n, NULL);
}

static struct sql_node *
add_operand(struct sql_parse *s, struct sql_node *logic, struct sql_node *n)
{
	if (1 + n->depth > SQL_DEPTH_MAX)
		return refuse(s, "it is nested too deeply");
	logic->depth = MAX_OF(logic->depth, (uint16_t)(1 + n->depth));
	logic->right->next = n;
	logic->right = n;
	return logic;
}

/* An operand has one parent, so its `next` is free. */
struct sql_node *
sql_logic(struct sql_parse *s, enum sql_op op, struct sql_node *left, struct sql_node *right)
{
	struct sql_node *n;

	if ((right = sql_boolean(s, right)) == NULL)
		return NULL;
	/* a OR b OR c, from left to right, is one list: long chains shall not be deep. */
	if (left->op == op)
		return add_operand(s, left, right);
	if ((left = sql_boolean(s, left)) == NULL || (n = make(s, op, left, right)) == NULL)
		return NULL;
	left->next = right;
	return n;
}

/* ---- comparisons */

struct sql_node *
sql_equal(struct sql_parse *s, struct sql_node *left, struct sql_node *right)
{
	if (left->op == SQL_OP_NULL || right->op == SQL_OP_NULL)
		return refuse(s, "nothing is equal to NULL (IS NULL tells)");
	if (left->op == SQL_OP_BOOL && is_literal(right) && !is_boolean(right))
		return refuse(s, "TRUE or FALSE is compared with a literal of another kind");
	return make(s, SQL_OP_EQUAL, left, right);
}

struct sql_node *
sql_not_equal(struct sql_parse *s, struct sql_node *left, struct sql_node *right)
{
	struct sql_node *n = sql_equal(s, left, right);

	return n != NULL ? sql_not(s, n) : NULL;
}

static bool
has_order(const struct sql_node *n)
{
	return is_number(n) || (!is_literal(n) && !is_boolean(n));
}

struct sql_node *
sql_order(struct sql_parse *s, enum sql_op op, struct sql_node *left, struct sql_node *right)
{
	if (!has_order(left) || !has_order(right))
		return refuse(s, "only numbers and properties have an order");
	return make(s, op, left, right);
}

static double
number_of(const struct sql_node *n)
{
	return n->op == SQL_OP_DOUBLE ? n->d : (double)n->i;
}

static bool
is_above(const struct sql_node *low, const struct sql_node *high)
{
	if (low->op == SQL_OP_DOUBLE || high->op == SQL_OP_DOUBLE)
		return number_of(low) > number_of(high);
	return low->i > high->i;
}

struct sql_node *
sql_between(struct sql_parse *s, struct sql_node *n, struct sql_node *low, struct sql_node *high)
{
	struct sql_node *from, *to;

	if (is_number(low) && is_number(high) && is_above(low, high))
		return refuse(s, "the bounds of BETWEEN stand in the wrong order");
	from = sql_order(s, SQL_OP_GREATER_EQUAL, n, low);
	to = from != NULL ? sql_order(s, SQL_OP_LESS_EQUAL, n, high) : NULL;
	return to != NULL ? sql_logic(s, SQL_OP_AND, from, to) : NULL;
}

struct sql_node *
sql_not_between(struct sql_parse *s, struct sql_node *n, struct sql_node *low, struct sql_node *high)
{
	struct sql_node *below = sql_order(s, SQL_OP_LESS, n, low);
	struct sql_node *above = below != NULL ? sql_order(s, SQL_OP_GREATER, n, high) : NULL;

	return above != NULL ? sql_logic(s, SQL_OP_OR, below, above) : NULL;
}

struct sql_node *
sql_is_null(struct sql_parse *s, struct sql_node *n)
{
	return make(s, SQL_OP_IS_NULL, n, NULL);
}

struct sql_node *
sql_search(struct sql_parse *s, enum sql_op op, bool negated, struct sql_node *left, struct slice quoted)
{
	struct sql_node *n = make(s, op, left, NULL);

	if (n == NULL)
		return NULL;
	n->negated = negated;
	n->text = unquote(s, quoted);
	return n;
}

struct sql_node *
sql_in(struct sql_parse *s, bool negated, struct sql_node *left, struct sql_node *texts)
{
	struct sql_node *n;

	if (left->op != SQL_OP_PROPERTY)
		return refuse(s, "IN is for properties only");
	if ((n = make(s, SQL_OP_IN, left, texts)) != NULL)
		n->negated = negated;
	return n;
}

struct sql_node *
sql_list(struct sql_node *first, struct sql_node *more)
{
	struct sql_node *end = first->last != NULL ? first->last : first;

	end->next = more;
	first->last = more;
	return first;
}

/*
 * filter_sql_eval: what the tree of an expression says of a message.
 *
 * Java's types and their conversions count here, since clients know the original's answers: a text beside a number literal is read
 * as that very type, and what cannot be read is an error of the whole expression, not just FALSE.
 */
#include "workers/broker/filter_sql_int.h"

#include <math.h>

#include "common/message.h"
#include "common/str.h"

enum kind { KIND_NULL, KIND_BOOL, KIND_INT, KIND_LONG, KIND_DOUBLE, KIND_TEXT, KIND_ERROR };

struct value {
	enum kind	 kind;
	union {
		bool		 truth;
		int64_t		 i;
		double		 d;
		struct slice	 text;
	};
};

static struct value	eval(const struct sql_node *n, struct slice props);

static struct value
of_kind(enum kind kind)
{
	return (struct value){.kind = kind};
}

static struct value
of_truth(bool truth)
{
	return (struct value){.kind = KIND_BOOL, .truth = truth};
}

/* ---- doubles as Java reads them */

#define NUMBER_TEXT 64

static struct slice
trim_low(struct slice t)
{
	while (t.n > 0 && (unsigned char)t.p[0] <= ' ')
		t = (struct slice){t.p + 1, t.n - 1};
	while (t.n > 0 && (unsigned char)t.p[t.n - 1] <= ' ')
		t.n--;
	return t;
}

static size_t
count_digits(struct slice *t, bool hex)
{
	size_t n = 0;

	while (n < t->n && ((t->p[n] >= '0' && t->p[n] <= '9') || (hex && strchr("abcdefABCDEF", t->p[n]) != NULL && t->p[n] != '\0')))
		n++;
	*t = (struct slice){t->p + n, t->n - n};
	return n;
}

static bool
take_one(struct slice *t, const char *of)
{
	if (t->n == 0 || t->p[0] == '\0' || strchr(of, t->p[0]) == NULL)
		return false;
	*t = (struct slice){t->p + 1, t->n - 1};
	return true;
}

/* An exponent is digits in both forms; the hexadecimal form must have one. */
static bool
take_exponent(struct slice *t, bool hex)
{
	if (!take_one(t, hex ? "pP" : "eE"))
		return !hex;
	take_one(t, "+-");
	return count_digits(t, false) > 0;
}

/* True: digits with a point and an exponent. *n: how long it is without Java's type letter. */
static bool
is_java_number(struct slice text, size_t *n)
{
	struct slice t = text;
	bool hex = t.n > 2 && t.p[0] == '0' && (t.p[1] == 'x' || t.p[1] == 'X');
	size_t digits;

	if (hex)
		t = (struct slice){t.p + 2, t.n - 2};
	digits = count_digits(&t, hex);
	if (take_one(&t, "."))
		digits += count_digits(&t, hex);
	if (digits == 0 || !take_exponent(&t, hex))
		return false;
	*n = text.n - t.n;
	take_one(&t, "fFdD");
	return t.n == 0;
}

static double
to_double(struct slice digits)
{
	char small[NUMBER_TEXT], *copy = digits.n < sizeof(small) ? small : xmalloc(digits.n + 1);
	double d;

	memcpy(copy, digits.p, digits.n);
	copy[digits.n] = '\0';
	d = strtod(copy, NULL);
	if (copy != small)
		free(copy);
	return d;
}

bool
sql_read_double(struct slice text, double *d)
{
	struct slice t = trim_low(text);
	bool minus = t.n > 0 && t.p[0] == '-';

	take_one(&t, "+-");
	if (slice_is(t, "NaN"))
		*d = NAN;
	else if (slice_is(t, "Infinity"))
		*d = INFINITY;
	else if (is_java_number(t, &t.n))
		*d = to_double(t);
	else
		return false;
	if (minus)
		*d = -*d;
	return true;
}

int
sql_compare_double(double a, double b)
{
	if (a < b)
		return -1;
	if (a > b)
		return 1;
	if (isnan(a) || isnan(b))
		return !!isnan(a) - !!isnan(b);
	return !!signbit(b) - !!signbit(a);
}

/* ---- comparing */

static bool
read_int(struct value *v, bool wide)
{
	int32_t narrow = 0;
	int64_t i = 0;

	if (wide ? str_i64(v->text, &i) != RC_OK : str_i32(v->text, &narrow) != RC_OK)
		return false;
	v->i = wide ? i : narrow;
	return true;
}

/* A text becomes a value of that kind. False: it cannot be read so. */
static bool
convert(struct value *v, enum kind to)
{
	bool ok = true;

	if (to == KIND_BOOL)
		v->truth = str_bool(v->text);
	else if (to == KIND_DOUBLE)
		ok = sql_read_double(v->text, &v->d);
	else
		ok = read_int(v, to == KIND_LONG);
	v->kind = to;
	return ok;
}

static int
compare_text(struct slice a, struct slice b)
{
	int order = memcmp(a.p, b.p, MIN_OF(a.n, b.n));

	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static double
number_of(const struct value *v)
{
	return v->kind == KIND_DOUBLE ? v->d : (double)v->i;
}

/* Two of one kind, or two numbers. */
static int
compare_like(const struct value *a, const struct value *b)
{
	if (a->kind == KIND_TEXT)
		return compare_text(a->text, b->text);
	if (a->kind == KIND_BOOL)
		return a->truth - b->truth;
	if (a->kind == KIND_DOUBLE || b->kind == KIND_DOUBLE)
		return sql_compare_double(number_of(a), number_of(b));
	return (a->i > b->i) - (a->i < b->i);
}

/* False: one cannot be read as the other's kind. Kinds that have nothing in common: the left one counts as smaller. */
static bool
compare(struct value a, struct value b, int *order)
{
	*order = -1;
	if (a.kind != b.kind && a.kind == KIND_BOOL)
		return b.kind != KIND_TEXT;
	if (a.kind != b.kind && a.kind == KIND_TEXT && !convert(&a, b.kind))
		return false;
	if (a.kind != b.kind && b.kind == KIND_BOOL)
		return true;
	if (a.kind != b.kind && b.kind == KIND_TEXT && !convert(&b, a.kind))
		return false;
	*order = compare_like(&a, &b);
	return true;
}

static struct value
eval_equal(const struct sql_node *n, struct slice props)
{
	struct value left = eval(n->left, props), right;
	int order;

	if (left.kind == KIND_ERROR)
		return left;
	right = eval(n->right, props);
	if (right.kind == KIND_ERROR)
		return right;
	if (left.kind == KIND_NULL)
		return right.kind == KIND_NULL ? of_truth(true) : left;
	if (right.kind == KIND_NULL)
		return of_truth(false);
	return compare(left, right, &order) ? of_truth(order == 0) : of_kind(KIND_ERROR);
}

static bool
order_fits(enum sql_op op, int order)
{
	if (op == SQL_OP_LESS)
		return order < 0;
	if (op == SQL_OP_LESS_EQUAL)
		return order <= 0;
	return op == SQL_OP_GREATER ? order > 0 : order >= 0;
}

static struct value
eval_order(const struct sql_node *n, struct slice props)
{
	struct value left = eval(n->left, props), right;
	int order;

	if (left.kind == KIND_NULL || left.kind == KIND_ERROR)
		return left;
	right = eval(n->right, props);
	if (right.kind == KIND_NULL || right.kind == KIND_ERROR)
		return right;
	/* Texts have no order: both are read as numbers. */
	if (left.kind == KIND_TEXT && right.kind == KIND_TEXT && (!convert(&left, KIND_DOUBLE) || !convert(&right, KIND_DOUBLE)))
		return of_kind(KIND_ERROR);
	return compare(left, right, &order) ? of_truth(order_fits(n->op, order)) : of_kind(KIND_ERROR);
}

/* ---- the rest */

static struct value
eval_negate(const struct sql_node *n, struct slice props)
{
	struct value v = eval(n->left, props);

	switch (v.kind) {
	case KIND_INT:
	case KIND_LONG:
		v.i = -v.i;
		return v;
	case KIND_DOUBLE:
		v.d = -v.d;
		return v;
	case KIND_ERROR:
		return v;
	case KIND_NULL:
	case KIND_BOOL:
	case KIND_TEXT:
		break;
	}
	return of_kind(KIND_NULL);
}

static struct value
eval_not(const struct sql_node *n, struct slice props)
{
	struct value v = eval(n->left, props);

	if (v.kind == KIND_BOOL)
		v.truth = !v.truth;
	return v;
}

/* From left to right; the first operand that decides ends it. */
static struct value
eval_logic(const struct sql_node *n, struct slice props)
{
	bool decides = n->op == SQL_OP_OR, some_null = false;

	for (const struct sql_node *it = n->left; it != NULL; it = it->next) {
		struct value v = eval(it, props);

		if (v.kind == KIND_ERROR || (v.kind == KIND_BOOL && v.truth == decides))
			return v;
		some_null |= v.kind == KIND_NULL;
	}
	return some_null ? of_kind(KIND_NULL) : of_truth(!decides);
}

static bool
found_in(const struct sql_node *n, struct slice text)
{
	if (n->op == SQL_OP_CONTAINS)
		return memmem(text.p, text.n, n->text.p, n->text.n) != NULL;
	if (text.n < n->text.n)
		return false;
	return memcmp(n->op == SQL_OP_STARTS_WITH ? text.p : text.p + text.n - n->text.n, n->text.p, n->text.n) == 0;
}

/* A missing property and an empty search text are FALSE, with NOT too. */
static struct value
eval_search(const struct sql_node *n, struct slice props)
{
	struct value v;

	if (n->text.n == 0)
		return of_truth(false);
	v = eval(n->left, props);
	if (v.kind == KIND_ERROR)
		return v;
	return of_truth(v.kind == KIND_TEXT && found_in(n, v.text) != n->negated);
}

static struct value
eval_property(const struct sql_node *n, struct slice props)
{
	struct slice text = props_get(props, n->text.p);

	if (text.n == 0)
		return of_kind(KIND_NULL);
	return (struct value){.kind = KIND_TEXT, .text = text};
}

static struct value
eval_in(const struct sql_node *n, struct slice props)
{
	struct value v = eval_property(n->left, props);
	const struct sql_node *it = n->right;

	if (v.kind == KIND_NULL)
		return v;
	while (it != NULL && !slice_eq(it->text, v.text))
		it = it->next;
	return of_truth((it != NULL) != n->negated);
}

/* A property is a text, and that is no condition. */
static struct value
eval_cast(const struct sql_node *n, struct slice props)
{
	struct value v = eval_property(n->left, props);

	return v.kind == KIND_NULL ? v : of_truth(false);
}

static struct value
eval_is_null(const struct sql_node *n, struct slice props)
{
	struct value v = eval(n->left, props);

	return v.kind == KIND_ERROR ? v : of_truth(v.kind == KIND_NULL);
}

static struct value
eval(const struct sql_node *n, struct slice props)
{
	switch (n->op) {
	case SQL_OP_INT:
		return (struct value){.kind = KIND_INT, .i = n->i};
	case SQL_OP_LONG:
		return (struct value){.kind = KIND_LONG, .i = n->i};
	case SQL_OP_DOUBLE:
		return (struct value){.kind = KIND_DOUBLE, .d = n->d};
	case SQL_OP_TEXT:
		return (struct value){.kind = KIND_TEXT, .text = n->text};
	case SQL_OP_NULL:
		return of_kind(KIND_NULL);
	case SQL_OP_BOOL:
		return of_truth(n->truth);
	case SQL_OP_PROPERTY:
		return eval_property(n, props);
	case SQL_OP_NEGATE:
		return eval_negate(n, props);
	case SQL_OP_CAST:
		return eval_cast(n, props);
	case SQL_OP_NOT:
		return eval_not(n, props);
	case SQL_OP_AND:
	case SQL_OP_OR:
		return eval_logic(n, props);
	case SQL_OP_EQUAL:
		return eval_equal(n, props);
	case SQL_OP_LESS:
	case SQL_OP_LESS_EQUAL:
	case SQL_OP_GREATER:
	case SQL_OP_GREATER_EQUAL:
		return eval_order(n, props);
	case SQL_OP_IS_NULL:
		return eval_is_null(n, props);
	case SQL_OP_CONTAINS:
	case SQL_OP_STARTS_WITH:
	case SQL_OP_ENDS_WITH:
		return eval_search(n, props);
	case SQL_OP_IN:
		return eval_in(n, props);
	}
	return of_kind(KIND_ERROR);
}

enum sql_truth
sql_filter_eval(const struct sql_filter *f, struct slice props)
{
	struct value v = eval(f->root, props);

	if (v.kind == KIND_BOOL)
		return v.truth ? SQL_TRUE : SQL_FALSE;
	return v.kind == KIND_NULL ? SQL_NULL : SQL_ERROR;
}

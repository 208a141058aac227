/*
 * filter_sql_int: the tree of an expression, between the grammar, its builders and the evaluation.
 */
#ifndef BROKER_FILTER_SQL_INT_H
#define BROKER_FILTER_SQL_INT_H

#include "common/mem.h"
#include "workers/broker/filter_sql.h"

/* The order counts: literals first, then what gives a value of any type, then what gives TRUE, FALSE or NULL. */
enum sql_op {
	/* literals */
	SQL_OP_INT,		/* 32 bits, as Java's Integer */
	SQL_OP_LONG,
	SQL_OP_DOUBLE,
	SQL_OP_TEXT,
	SQL_OP_NULL,		/* NULL, TRUE and FALSE count as boolean too */
	SQL_OP_BOOL,
	/* values */
	SQL_OP_PROPERTY,
	SQL_OP_NEGATE,
	/* booleans */
	SQL_OP_CAST,		/* a bare property where a boolean must stand */
	SQL_OP_NOT,
	SQL_OP_AND,		/* any number of operands, from `left` on by `next` */
	SQL_OP_OR,
	SQL_OP_EQUAL,
	SQL_OP_LESS,
	SQL_OP_LESS_EQUAL,
	SQL_OP_GREATER,
	SQL_OP_GREATER_EQUAL,
	SQL_OP_IS_NULL,
	SQL_OP_CONTAINS,	/* `left` and the text; so the next two */
	SQL_OP_STARTS_WITH,
	SQL_OP_ENDS_WITH,
	SQL_OP_IN		/* the texts from `right` on by `next` */
};

struct sql_node {
	enum sql_op	 op;
	bool		 negated;	/* NOT CONTAINS, NOT STARTSWITH, NOT ENDSWITH, NOT IN */
	uint16_t	 depth;		/* levels below and with this one */
	struct sql_node	*left, *right;
	struct sql_node	*next, *last;	/* of a list: the element behind, and in the first one the last */
	union {
		bool		 truth;
		int64_t		 i;
		double		 d;
		struct slice	 text;	/* terminated */
	};
};

struct sql_filter {
	unsigned	 refs;
	struct arena	 arena;		/* all nodes and texts */
	struct sql_node	*root;
};

/* One parse. */
struct sql_parse {
	struct arena	*arena;
	struct slice	 text;
	size_t		 token_at, token_end;	/* the last token, in text */
	size_t		 last_line_end;		/* behind it there is no line comment */
	bool		 no_token;	/* what stands there is no token at all */
	bool		 complete;	/* the expression is whole; what follows is not looked at */
	struct sql_node	*root;
	struct err	*e;		/* empty: nothing is wrong so far */
	void		*scanner;
};

/* The generated parser. 0, or s->complete is set: s->root is the expression. Else it is refused and s->e says why. */
int		 sql_parse_run(struct sql_parse *s);

/* Builders; nodes come from the arena. NULL: refused, the sentence is in s->e. */
struct sql_node	*sql_int(struct sql_parse *s, struct slice digits);
struct sql_node	*sql_double(struct sql_parse *s, struct slice digits);
struct sql_node	*sql_text(struct sql_parse *s, struct slice quoted);
struct sql_node	*sql_null(struct sql_parse *s);
struct sql_node	*sql_bool(struct sql_parse *s, bool truth);
struct sql_node	*sql_property(struct sql_parse *s, struct slice name);
struct sql_node	*sql_negate(struct sql_parse *s, struct sql_node *n);
struct sql_node	*sql_boolean(struct sql_parse *s, struct sql_node *n); /* n where a boolean must stand */
struct sql_node	*sql_not(struct sql_parse *s, struct sql_node *n);
struct sql_node	*sql_logic(struct sql_parse *s, enum sql_op op, struct sql_node *left, struct sql_node *right);
struct sql_node	*sql_equal(struct sql_parse *s, struct sql_node *left, struct sql_node *right);
struct sql_node	*sql_not_equal(struct sql_parse *s, struct sql_node *left, struct sql_node *right);
struct sql_node	*sql_order(struct sql_parse *s, enum sql_op op, struct sql_node *left, struct sql_node *right);
struct sql_node	*sql_between(struct sql_parse *s, struct sql_node *n, struct sql_node *low, struct sql_node *high);
struct sql_node	*sql_not_between(struct sql_parse *s, struct sql_node *n, struct sql_node *low, struct sql_node *high);
struct sql_node	*sql_is_null(struct sql_parse *s, struct sql_node *n);
struct sql_node	*sql_search(struct sql_parse *s, enum sql_op op, bool negated, struct sql_node *n, struct slice quoted);
struct sql_node	*sql_in(struct sql_parse *s, bool negated, struct sql_node *n, struct sql_node *texts);
/* One more at the end of a list of texts. */
struct sql_node	*sql_list(struct sql_node *first, struct sql_node *more);

/* Text as Java's Double.valueOf reads it. False: it is no number. */
bool		 sql_read_double(struct slice text, double *d);
/* Java's order of doubles: -0.0 below 0.0, NaN above all and equal to itself. */
int		 sql_compare_double(double a, double b);

#endif

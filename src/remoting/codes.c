/*
 * codes: names of request and response codes.
 */
#include "remoting/codes.h"

struct code_name {
	int code;
	const char *name;
};

#define REQUEST_CODE(NAME, number) {number, #NAME},
#define RESPONSE_CODE(NAME, number)
static const struct code_name request_names[] = {
#include "remoting/codes.tbl"
};
#undef REQUEST_CODE
#undef RESPONSE_CODE
#define REQUEST_CODE(NAME, number)
#define RESPONSE_CODE(NAME, number) {number, #NAME},
static const struct code_name response_names[] = {
#include "remoting/codes.tbl"
};
#undef REQUEST_CODE
#undef RESPONSE_CODE

static const char *
find_name(const struct code_name *rows, unsigned count, int code)
{
	for (unsigned i = 0; i < count; i++)
		if (rows[i].code == code)
			return rows[i].name;
	return "?";
}

const char *
request_name(int code)
{
	return find_name(request_names, sizeof(request_names) / sizeof(request_names[0]), code);
}

const char *
response_name(int code)
{
	return find_name(response_names, sizeof(response_names) / sizeof(response_names[0]), code);
}

/*
 * codes: request and response codes as enums REQ_* and RES_*, and their names.
 */
#ifndef REMOTING_CODES_H
#define REMOTING_CODES_H

#define REQUEST_CODE(NAME, number) REQ_##NAME = number,
#define RESPONSE_CODE(NAME, number)
enum request_code {
#include "remoting/codes.tbl"
};
#undef REQUEST_CODE
#undef RESPONSE_CODE
#define REQUEST_CODE(NAME, number)
#define RESPONSE_CODE(NAME, number) RES_##NAME = number,
enum response_code {
#include "remoting/codes.tbl"
};
#undef REQUEST_CODE
#undef RESPONSE_CODE

const char	*request_name(int code);  /* "SEND_MESSAGE"; "?" if unknown */
const char	*response_name(int code);

#define REMOTING_VERSION	479	/* V5_3_3: what we write in every header */
#define REMOTING_VERSION_TEXT	"V5_3_3"

#endif

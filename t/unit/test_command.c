/*
 * test_command: frames and both header codecs, as clients write them and as broken or hostile peers do.
 */
#include "remoting/command.h"

#include <stdio.h>

#include "common/mem.h"
#include "test.h"

static const char java_send[] =
    "{\"code\":310,\"extFields\":{\"a\":\"group\",\"b\":\"topic\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"3\",\"f\":\"0\","
    "\"g\":\"1700000000000\",\"h\":\"0\",\"i\":\"UNIQ_KEY\\u00017F\\u0002WAIT\\u0001true\\u0002\",\"j\":\"0\",\"k\":"
    "\"false\","
    "\"m\":\"false\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":77,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":"
    "479}";
static const char go_send[] =
    "{\"code\":310,\"language\":\"GO\",\"version\":317,\"opaque\":5,\"flag\":0,\"remark\":\"\","
    "\"extFields\":{\"b\":\"t\",\"a\":\"g\",\"i\":\"KEYS\\u0001k\\\"1\\u0002\"}}";
static const char cpp_send[] =
    "{\"code\":10,\"extFields\":{\"AccessKey\":\"\",\"OnsChannel\":\"\",\"Signature\":\"\",\"batch\":false,"
    "\"bornTimestamp\":\"1700\",\"queueId\":3,\"sysFlag\":-1,\"unitMode\":null},\"flag\":0,\"language\":\"CPP\","
    "\"opaque\":9,\"version\":333}\n";

/* A frame with that header and body; the caller frees it. */
static char *
make_frame(int codec, struct slice header, struct slice body, size_t *total)
{
	char *p;

	*total = FRAME_PREFIX + header.n + body.n;
	p = xmalloc(*total);
	be32_put(p, (uint32_t)(*total - 4));
	be32_put(p + 4, (uint32_t)codec << 24 | (uint32_t)header.n);
	memcpy(p + FRAME_PREFIX, header.p, header.n);
	if (body.n)
		memcpy(p + FRAME_PREFIX + header.n, body.p, body.n);
	return p;
}

/* Decodes a JSON header; its frame stays alive in *frame. */
static enum rc
decode_json(struct command *c, const char *header, char **frame)
{
	struct err e;
	size_t total;

	*frame = make_frame(CODEC_JSON, slice_of(header), SLICE_LIT("body"), &total);
	return command_decode(c, *frame, total, &e);
}

static void
java_header_is_read(void)
{
	struct command c;
	char *frame;

	CU_ASSERT_EQUAL_FATAL(decode_json(&c, java_send, &frame), RC_OK);
	CU_ASSERT_EQUAL(c.code, REQ_SEND_MESSAGE_V2);
	CU_ASSERT_EQUAL(c.opaque, 77);
	CU_ASSERT_EQUAL(c.version, 479);
	CU_ASSERT_EQUAL(c.language, LANG_JAVA);
	CU_ASSERT_EQUAL(c.field_count, 12);
	CU_ASSERT(slice_is(field_get(&c, "b"), "topic"));
	CU_ASSERT(slice_is(field_get(&c, "i"), "UNIQ_KEY\0017F\002WAIT\001true\002"));
	CU_ASSERT_EQUAL(field_i64(&c, "g", 0), 1700000000000);
	CU_ASSERT_FALSE(field_bool(&c, "k", true));
	CU_ASSERT(field_get(&c, "z").p == NULL);
	CU_ASSERT(slice_is(c.body, "body"));
	free(frame);
}

static void
go_header_is_read_in_any_order(void)
{
	struct command c;
	char *frame;

	CU_ASSERT_EQUAL_FATAL(decode_json(&c, go_send, &frame), RC_OK);
	CU_ASSERT_EQUAL(c.language, LANG_GO);
	CU_ASSERT_EQUAL(c.remark.n, 0);
	CU_ASSERT(slice_is(field_get(&c, "a"), "g"));
	CU_ASSERT(slice_is(field_get(&c, "i"), "KEYS\001k\"1\002"));
	free(frame);
}

static void
cpp_header_with_numbers_and_a_newline_is_read(void)
{
	struct command c;
	char *frame;
	int32_t v;

	CU_ASSERT_EQUAL_FATAL(decode_json(&c, cpp_send, &frame), RC_OK);
	CU_ASSERT_EQUAL(c.language, LANG_CPP);
	CU_ASSERT_EQUAL(field_i32(&c, "queueId", -5), 3);
	CU_ASSERT_EQUAL(field_i32(&c, "sysFlag", 0), -1);
	CU_ASSERT(slice_is(field_get(&c, "batch"), "false"));
	CU_ASSERT_EQUAL(field_need_i32(&c, "unitMode", &v), RC_NOTFOUND);
	CU_ASSERT_EQUAL(field_need_i32(&c, "batch", &v), RC_INVAL);
	CU_ASSERT_EQUAL(field_need_i32(&c, "AccessKey", &v), RC_NOTFOUND);
	free(frame);
}

static void
unknown_keys_are_passed_over(void)
{
	struct command c;
	char *frame;

	CU_ASSERT_EQUAL(
	    decode_json(&c,
			" { \"x\" : {\"y\":[1,2,{\"z\":\"\\\"}\"}],\"w\":null} , \"code\" : 34 ,\n"
			"\"extFields\" : { \"k\" : {\"n\":[1,\"a\\u0001\"]} , \"k2\":[] }, \"v\":[ ] } \r\n",
			&frame),
	    RC_OK);
	CU_ASSERT_EQUAL(c.code, 34);
	CU_ASSERT(slice_is(field_get(&c, "k"), "{\"n\":[1,\"a\\u0001\"]}"));
	free(frame);
}

static void
last_of_equal_names_wins(void)
{
	struct command c;
	char *frame;

	CU_ASSERT_EQUAL(
	    decode_json(&c, "{\"extFields\":{\"a\":\"1\",\"a\":\"2\",\"long\":\"3\",\"long\":\"4\"}}", &frame), RC_OK);
	CU_ASSERT_EQUAL(field_i32(&c, "a", 0), 2);
	CU_ASSERT_EQUAL(field_i32(&c, "long", 0), 4);
	free(frame);
}

static void
escapes_are_resolved_in_place(void)
{
	struct command c;
	char *frame;

	CU_ASSERT_EQUAL_FATAL(
	    decode_json(&c,
			"{\"extFields\":{\"k\\u0065y\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\uD83D\\uDE00 plain "
			"text which is long enough "
			"for the wide moves \\u0001 and more of it, still more of it \\uD83D.\\uDE00\"}}",
			&frame),
	    RC_OK);
	CU_ASSERT(slice_is(field_get(&c, "key"), "\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 plain text which "
						 "is long enough for the wide moves \001 and "
						 "more of it, still more of it ?.?"));
	free(frame);
}

static void
every_place_of_an_escape_gives_the_same_text(void)
{
	for (size_t before = 0; before < 40; before++) {
		for (size_t after = 0; after < 40; after++) {
			char header[256], want[128];
			struct command c;
			char *frame;

			memset(want, 'x', sizeof(want));
			want[before] = want[before + 1] = 1;
			want[before + 2 + after] = '"';
			snprintf(header, sizeof(header), "{\"extFields\":{\"k\":\"%.*s\\u0001\\u0001%.*s\\\"\"}}",
				 (int)before, want, (int)after, want + before + 2);
			CU_ASSERT_EQUAL_FATAL(decode_json(&c, header, &frame), RC_OK);
			CU_ASSERT(slice_eq(field_get(&c, "k"), (struct slice){want, before + after + 3}));
			free(frame);
		}
	}
}

static void
broken_utf8_passes_as_bytes(void)
{
	struct command c;
	char *frame;

	CU_ASSERT_EQUAL(decode_json(&c, "{\"extFields\":{\"i\":\"\xff\xc3\x80\xed\xa0\x80\"}}", &frame), RC_OK);
	CU_ASSERT(slice_is(field_get(&c, "i"), "\xff\xc3\x80\xed\xa0\x80"));
	free(frame);
}

static void
broken_json_is_refused(void)
{
	static const char *const texts[] = {"",
					    "{",
					    "[]",
					    "null",
					    "{}x",
					    "{\"code\"}",
					    "{\"code\":}",
					    "{\"code\":1,}",
					    "{\"code\":\"x\"}",
					    "{\"code\":99999999999}",
					    "{\"extFields\":[]}",
					    "{\"extFields\":{\"a\"}}",
					    "{\"extFields\":{\"a\":\"\\x\"}}",
					    "{\"extFields\":{\"a\":\"\\u12\"}}",
					    "{\"extFields\":{\"a\":\"\\u12g4\"}}",
					    "{\"extFields\":{\"a\":tru}}",
					    "{\"a\":{\"b\",1}}",
					    "{\"a\":[1 2]}",
					    "{\"extFields\":{a:1}}",
					    "{\"extFields\":{\"a\":\"b\\\"}}"};
	struct command c;
	char *frame;

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		CU_ASSERT_EQUAL(decode_json(&c, texts[i], &frame), RC_BADDATA);
		free(frame);
	}
}

static void
deep_nesting_is_refused(void)
{
	char text[4096] = "{\"a\":";
	struct command c;
	char *frame;

	memset(text + strlen(text), '[', 2000);
	CU_ASSERT_EQUAL(decode_json(&c, text, &frame), RC_BADDATA);
	free(frame);
}

static void
too_many_fields_are_refused(void)
{
	struct buf b = {0};
	struct command c;
	char *text, *frame;

	buf_put_str(&b, "{\"extFields\":{\"f\":1");
	for (int i = 0; i < FIELDS_MAX; i++)
		buf_printf(&b, ",\"f%d\":%d", i, i);
	buf_put_str(&b, "}}");
	text = buf_steal(&b);
	CU_ASSERT_EQUAL(decode_json(&c, text, &frame), RC_LIMIT);
	free(frame);
	free(text);
}

/* Every beginning of a valid header, in a frame of exactly its size so that ASan sees each byte too far. */
static void
check_truncations(int codec, struct slice header)
{
	for (size_t n = 0; n < header.n; n++) {
		struct command c;
		struct err e;
		size_t total;
		char *frame = make_frame(codec, (struct slice){header.p, n}, SLICE_NONE, &total);

		CU_ASSERT_EQUAL(command_decode(&c, frame, total, &e), RC_BADDATA);
		CU_ASSERT(strlen(e.text) > 10);
		free(frame);
	}
}

static void
every_truncation_of_a_json_header_is_refused(void)
{
	check_truncations(CODEC_JSON, slice_of(java_send));
	check_truncations(CODEC_JSON, slice_of(go_send));
	check_truncations(CODEC_JSON,
			  (struct slice){cpp_send, strlen(cpp_send) - 1}); /* without its newline it is whole */
}

static void
put_binary_request(struct buf *b)
{
	struct frame_out f;

	frame_begin_request(&f, b, CODEC_ROCKETMQ, REQ_PULL_MESSAGE, 1234, true);
	frame_remark(&f, SLICE_LIT("why not"));
	frame_field(&f, "topic", SLICE_LIT("t"));
	frame_field_i64(&f, "queueOffset", INT64_MIN);
	frame_field_bool(&f, "flag", true);
	frame_end(&f, 3);
	buf_put_str(b, "abc");
}

static void
binary_request_is_read_back(void)
{
	struct buf b = {0};
	struct command c;
	struct err e;
	size_t total;

	put_binary_request(&b);
	CU_ASSERT_EQUAL_FATAL(frame_length(b.p, b.len, &total, &e), RC_OK);
	CU_ASSERT_EQUAL_FATAL(total, b.len);
	CU_ASSERT_EQUAL_FATAL(command_decode(&c, b.p, total, &e), RC_OK);
	CU_ASSERT_EQUAL(c.codec, CODEC_ROCKETMQ);
	CU_ASSERT_EQUAL(c.code, REQ_PULL_MESSAGE);
	CU_ASSERT_EQUAL(c.opaque, 1234);
	CU_ASSERT(command_is_oneway(&c));
	CU_ASSERT(slice_is(c.remark, "why not"));
	CU_ASSERT(slice_is(field_get(&c, "topic"), "t"));
	CU_ASSERT_EQUAL(field_i64(&c, "queueOffset", 0), INT64_MIN);
	CU_ASSERT(field_bool(&c, "flag", false));
	CU_ASSERT(slice_is(c.body, "abc"));
	buf_free(&b);
}

static void
binary_header_has_the_bytes_of_the_protocol(void)
{
	static const char want[] = "\0\0\0\x24\1\0\0\x20"
				   "\0\x0b\0\x01\xdf\0\0\x04\xd2\0\0\0\0\0\0\0\0\0\0\0\x0b"
				   "\0\1a\0\0\0\4-123";
	struct buf b = {0};
	struct frame_out f;

	frame_begin_request(&f, &b, CODEC_ROCKETMQ, REQ_PULL_MESSAGE, 1234, false);
	frame_field_i64(&f, "a", -123);
	frame_end(&f, 0);
	CU_ASSERT(slice_eq(buf_slice(&b), (struct slice){want, sizeof(want) - 1}));
	buf_free(&b);
}

static void
every_truncation_of_a_binary_header_is_refused(void)
{
	struct buf b = {0};

	put_binary_request(&b);
	check_truncations(CODEC_ROCKETMQ, (struct slice){b.p + FRAME_PREFIX, b.len - FRAME_PREFIX - 3});
	buf_free(&b);
}

static void
lengths_beyond_a_binary_header_are_refused(void)
{
	char h[64] = {0};
	struct command c;
	struct err e;
	size_t total;
	char *frame;

	for (size_t at = 13; at < 32; at++) {
		memset(h, 0, sizeof(h));
		be32_put(h + 17, 11);
		be16_put(h + 21, 1);
		be32_put(h + 24, 4);
		h[at] |= (char)0x80;
		frame = make_frame(CODEC_ROCKETMQ, (struct slice){h, 32}, SLICE_NONE, &total);
		if (at != 23 && at < 28)
			CU_ASSERT_EQUAL(command_decode(&c, frame, total, &e), RC_BADDATA);
		free(frame);
	}
}

static void
frame_lengths_are_checked(void)
{
	char p[8] = {0};
	size_t total;
	struct err e;

	CU_ASSERT_EQUAL(frame_length(p, 3, &total, &e), RC_AGAIN);
	be32_put(p, 3);
	CU_ASSERT_EQUAL(frame_length(p, 4, &total, &e), RC_BADDATA);
	be32_put(p, FRAME_MAX - 4);
	CU_ASSERT_EQUAL(frame_length(p, 4, &total, &e), RC_OK);
	CU_ASSERT_EQUAL(total, FRAME_MAX);
	be32_put(p, FRAME_MAX - 3);
	CU_ASSERT_EQUAL(frame_length(p, 4, &total, &e), RC_LIMIT);
	be32_put(p, 0xffffffff);
	CU_ASSERT_EQUAL(frame_length(p, 4, &total, &e), RC_LIMIT);
	CU_ASSERT_EQUAL(frame_length("GET /", 5, &total, &e), RC_LIMIT);
	CU_ASSERT(strstr(e.text, "HTTP") != NULL);
}

static void
header_length_beyond_the_frame_is_refused(void)
{
	char p[16] = {0, 0, 0, 12};
	struct command c;
	struct err e;

	p[7] = 9;
	CU_ASSERT_EQUAL(command_decode(&c, p, 16, &e), RC_BADDATA);
	p[4] = 2;
	p[7] = 1;
	CU_ASSERT_EQUAL(command_decode(&c, p, 16, &e), RC_BADDATA);
	CU_ASSERT(strstr(e.text, "codec 2") != NULL);
	CU_ASSERT_EQUAL(command_decode(&c, p, 7, &e), RC_BADDATA);
}

static void
answer_has_the_codec_and_opaque_of_its_request(void)
{
	struct request_id id = {.opaque = -7, .codec = CODEC_JSON};
	struct buf b = {0};
	struct frame_out f;
	struct command c;
	struct err e;

	frame_begin_response(&f, &b, &id, RES_SUCCESS);
	frame_field_i64(&f, "queueOffset", 12);
	frame_field(&f, "msgId", SLICE_LIT("AB"));
	frame_end(&f, 0);
	CU_ASSERT(slice_is((struct slice){b.p + FRAME_PREFIX, b.len - FRAME_PREFIX},
			   "{\"code\":0,\"flag\":1,\"language\":\"JAVA\",\"opaque\":-7,\"serializeTypeCurrentRPC\":"
			   "\"JSON\",\"version\":479,"
			   "\"extFields\":{\"queueOffset\":\"12\",\"msgId\":\"AB\"}}"));
	CU_ASSERT_EQUAL(command_decode(&c, b.p, b.len, &e), RC_OK);
	CU_ASSERT(command_is_response(&c));
	CU_ASSERT_EQUAL(c.opaque, -7);
	buf_free(&b);
}

static void
written_values_are_escaped(void)
{
	struct request_id id = {.codec = CODEC_JSON};
	struct buf b = {0};
	struct frame_out f;
	struct command c;
	struct err e;

	frame_begin_response(&f, &b, &id, RES_SYSTEM_ERROR);
	frame_remark(&f, SLICE_LIT("a \"quoted\"\nword"));
	frame_field(&f, "p", SLICE_LIT("KEYS\001a\002"));
	frame_field(&f, "q", SLICE_LIT("\xc3\xa4\\"));
	frame_field(&f, "empty", SLICE_NONE);
	frame_end(&f, 0);
	CU_ASSERT(memmem(b.p, b.len, "KEYS\\u0001a\\u0002", 16) != NULL);
	CU_ASSERT_EQUAL(command_decode(&c, b.p, b.len, &e), RC_OK);
	CU_ASSERT(slice_is(c.remark, "a \"quoted\"\nword"));
	CU_ASSERT(slice_is(field_get(&c, "p"), "KEYS\001a\002"));
	CU_ASSERT(slice_is(field_get(&c, "q"), "\xc3\xa4\\"));
	buf_free(&b);
}

static void
frame_over_the_limit_fails_the_buffer(void)
{
	struct request_id id = {.codec = CODEC_JSON};
	struct buf b = {0};
	struct frame_out f;

	frame_begin_response(&f, &b, &id, RES_SUCCESS);
	frame_end(&f, FRAME_MAX);
	CU_ASSERT(b.failed);
	buf_free(&b);
}

static void
names_of_codes_are_known(void)
{
	CU_ASSERT_STRING_EQUAL(request_name(310), "SEND_MESSAGE_V2");
	CU_ASSERT_STRING_EQUAL(request_name(-1), "?");
	CU_ASSERT_STRING_EQUAL(response_name(17), "TOPIC_NOT_EXIST");
	CU_ASSERT_STRING_EQUAL(language_name(9), "GO");
	CU_ASSERT_STRING_EQUAL(language_name(99), "OTHER");
}

TEST_MAIN("remoting/command", TEST(java_header_is_read), TEST(go_header_is_read_in_any_order),
	  TEST(cpp_header_with_numbers_and_a_newline_is_read), TEST(unknown_keys_are_passed_over),
	  TEST(last_of_equal_names_wins), TEST(escapes_are_resolved_in_place),
	  TEST(every_place_of_an_escape_gives_the_same_text), TEST(broken_utf8_passes_as_bytes),
	  TEST(broken_json_is_refused), TEST(deep_nesting_is_refused), TEST(too_many_fields_are_refused),
	  TEST(every_truncation_of_a_json_header_is_refused), TEST(binary_request_is_read_back),
	  TEST(binary_header_has_the_bytes_of_the_protocol), TEST(every_truncation_of_a_binary_header_is_refused),
	  TEST(lengths_beyond_a_binary_header_are_refused), TEST(frame_lengths_are_checked),
	  TEST(header_length_beyond_the_frame_is_refused), TEST(answer_has_the_codec_and_opaque_of_its_request),
	  TEST(written_values_are_escaped), TEST(frame_over_the_limit_fails_the_buffer), TEST(names_of_codes_are_known))

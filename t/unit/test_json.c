/*
 * test_json: the relaxed dialect, lenient getters, config files with their .bak.
 */
#include "test.h"

#include <stdio.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

static bool
relaxes_to(const char *in, const char *want)
{
	struct buf b = {0};
	struct err e = {""};
	bool same = json_relax(slice_of(in), &b, &e) == RC_OK && slice_is(buf_slice(&b), want);

	if (!same)
		printf("[%s] gives [%.*s] %s\n", in, (int)b.len, b.p, e.text);
	buf_free(&b);
	return same;
}

static enum rc
load(const char *text)
{
	struct err e = {""};
	json_t *o = NULL;
	enum rc rc = json_load_relaxed(slice_of(text), &o, &e);

	CU_ASSERT_EQUAL(rc == RC_OK, e.text[0] == '\0');
	if (rc == RC_OK)
		json_decref(o);
	return rc;
}

static void
strict_json_stays_as_it_is(void)
{
	CU_ASSERT(relaxes_to("{\"a\":[1,-2.5e3,true,null,\"x\\n\\u00e4\"],\"b\":{}}",
			     "{\"a\":[1,-2.5e3,true,null,\"x\\n\\u00e4\"],\"b\":{}}"));
	CU_ASSERT(relaxes_to(" { \"a\" : 1 }\n", "{\"a\":1}"));
}

static void
number_keys_get_quotes(void)
{
	CU_ASSERT(relaxes_to("{\"offsetTable\":{0:1,1:5}}", "{\"offsetTable\":{\"0\":1,\"1\":5}}"));
	CU_ASSERT(relaxes_to("{-1:2,abc:3}", "{\"-1\":2,\"abc\":3}"));
	CU_ASSERT(relaxes_to("{'a':'b\"c'}", "{\"a\":\"b\\\"c\"}"));
}

static void
object_keys_become_text(void)
{
	CU_ASSERT(relaxes_to("{{\"a\":1}:{\"b\":2}}", "{\"{\\\"a\\\":1}\":{\"b\":2}}"));
	CU_ASSERT(relaxes_to("{{{\"x\":1}:2}:3}", "{\"{\\\"{\\\\\\\"x\\\\\\\":1}\\\":2}\":3}"));
}

static void
an_object_key_can_be_read_in_its_turn(void)
{
	struct err e;
	json_t *o, *key;
	const char *text;

	CU_ASSERT_EQUAL_FATAL(json_load_relaxed(SLICE_LIT("{\"t\":{{\"queueId\":1,\"topic\":\"T\"}:7}}"), &o, &e),
			      RC_OK);
	text = json_object_iter_key(json_object_iter(json_object_get(o, "t")));
	CU_ASSERT_EQUAL_FATAL(json_load_relaxed(slice_of(text), &key, &e), RC_OK);
	CU_ASSERT_EQUAL(json_get_i64(key, "queueId", 0), 1);
	CU_ASSERT_STRING_EQUAL(json_get_str(key, "topic", ""), "T");
	json_decref(key);
	json_decref(o);
}

static void
commas_too_many_are_dropped(void)
{
	CU_ASSERT(relaxes_to("{\"a\":1,}", "{\"a\":1}"));
	CU_ASSERT(relaxes_to("[1,,2,]", "[1,2]"));
	CU_ASSERT(relaxes_to("[,]", "[]"));
}

static void
broken_text_is_mended_as_java_reads_it(void)
{
	CU_ASSERT(relaxes_to("[\"a\xff" "b\"]", "[\"a\xef\xbf\xbd" "b\"]"));
	CU_ASSERT(relaxes_to("[\"a\tb\"]", "[\"a\\u0009b\"]"));
	CU_ASSERT(relaxes_to("[\"\\x41\\'\\v\"]", "[\"\\u0041'\\u000b\"]"));
}

static void
what_is_no_json_is_refused_with_its_place(void)
{
	static const char *const bad[] = {"",
					  "   ",
					  "{",
					  "[",
					  "{\"a\"",
					  "{\"a\":",
					  "{\"a\":}",
					  "{\"a\":1",
					  "{:1}",
					  "[1 2]",
					  "{\"a\":1 \"b\":2}",
					  "\"abc",
					  "\"abc\\",
					  "[1]]",
					  "{\"a\":1}x",
					  "{{\"a\":1}",
					  "{{\"a\":1}}",
					  "nul",
					  "[01x]",
					  "@",
					  "{\"a\":\"\\ud800\"}",
					  "\xff\xfe"};

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		CU_ASSERT_EQUAL(load(bad[i]), RC_BADDATA);
}

static void
text_cut_off_anywhere_is_refused(void)
{
	static const char text[] = "{\"t\":{0:1,{\"b\":\"x\\n\"}:[true,{\"c\":1.5}]},\"z\":null}";

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		char *cut = xstrndup(text, n);

		CU_ASSERT_EQUAL(load(cut), RC_BADDATA);
		free(cut);
	}
	CU_ASSERT_EQUAL(load(text), RC_OK);
}

/* Found by fuzzing: each key of a key doubles the backslashes, so forty bytes could become gigabytes. */
static void
object_keys_within_object_keys_are_limited(void)
{
	json_t *o = NULL;
	struct err e;

	CU_ASSERT_EQUAL(json_load_relaxed(SLICE_LIT("{{{{\"a\":1}:2}:3}:4}"), &o, &e), RC_OK);
	json_decref(o);
	CU_ASSERT_EQUAL(json_load_relaxed(SLICE_LIT("{{{{{{\"a\":1}:2}:3}:4}:5}:6}"), &o, &e), RC_LIMIT);
}

static void
nesting_is_limited(void)
{
	char text[400];

	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	text[128] = '\0';
	CU_ASSERT_EQUAL(load(text), RC_OK);
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	text[130] = '\0';
	CU_ASSERT_EQUAL(load(text), RC_LIMIT);
	memset(text, '{', sizeof(text) - 1); /* objects as keys of objects count too */
	text[sizeof(text) - 1] = '\0';
	CU_ASSERT_EQUAL(load(text), RC_LIMIT);
}

static void
getters_take_what_java_takes(void)
{
	static const char *const names[] = {"PULL", "PUSH"};
	struct err e;
	json_t *o;

	CU_ASSERT_EQUAL_FATAL(
	    json_load_relaxed(SLICE_LIT("{n:5,t:\"6\",d:7.9,b:true,bs:\"TRUE\",z:null,e:\"PUSH\",en:1,eb:9,x:\"no\"}"),
			      &o, &e),
	    RC_OK);
	CU_ASSERT_EQUAL(json_get_i64(o, "n", 0), 5);
	CU_ASSERT_EQUAL(json_get_i64(o, "t", 0), 6);
	CU_ASSERT_EQUAL(json_get_i64(o, "d", 0), 7);
	CU_ASSERT_EQUAL(json_get_i64(o, "x", -3), -3);
	CU_ASSERT_EQUAL(json_get_i64(o, "z", -4), -4);
	CU_ASSERT_EQUAL(json_get_i64(o, "missing", -5), -5);
	CU_ASSERT_EQUAL(json_get_i64(NULL, "missing", -6), -6);
	CU_ASSERT(json_get_bool(o, "b", false));
	CU_ASSERT(json_get_bool(o, "bs", false));
	CU_ASSERT(json_get_bool(o, "z", true));
	CU_ASSERT_STRING_EQUAL(json_get_str(o, "n", ""), "5");
	CU_ASSERT_STRING_EQUAL(json_get_str(o, "x", ""), "no");
	CU_ASSERT_STRING_EQUAL(json_get_str(o, "z", "dflt"), "dflt");
	CU_ASSERT_EQUAL(json_get_enum(o, "e", names, 2, 0), 1);
	CU_ASSERT_EQUAL(json_get_enum(o, "en", names, 2, 0), 1);
	CU_ASSERT_EQUAL(json_get_enum(o, "eb", names, 2, -1), -1);
	CU_ASSERT_EQUAL(json_get_enum(o, "x", names, 2, -1), -1);
	json_decref(o);
}

/* A directory of its own with names of the files in it. */
struct place {
	char	dir[256], file[300], bak[310], tmp[310], bak_tmp[320], broken[310];
};

static void
place_make(struct place *p)
{
	const char *base = getenv("TMPDIR");

	snprintf(p->dir, sizeof(p->dir), "%s/test_json.XXXXXX", base != NULL ? base : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p->dir));
	snprintf(p->file, sizeof(p->file), "%s/a.json", p->dir);
	snprintf(p->bak, sizeof(p->bak), "%s.bak", p->file);
	snprintf(p->tmp, sizeof(p->tmp), "%s.tmp", p->file);
	snprintf(p->bak_tmp, sizeof(p->bak_tmp), "%s.tmp", p->bak);
	snprintf(p->broken, sizeof(p->broken), "%s.broken", p->file);
}

static void
place_remove(struct place *p)
{
	unlink(p->file);
	unlink(p->bak);
	unlink(p->tmp);
	unlink(p->bak_tmp);
	unlink(p->broken);
	CU_ASSERT_EQUAL(rmdir(p->dir), 0);
}

static bool
file_is(const char *path, const char *want)
{
	struct buf b = {0};
	struct err e;
	bool same = file_read(path, 1 << 20, &b, &e) == RC_OK && slice_is(buf_slice(&b), want);

	buf_free(&b);
	return same;
}

static void
file_put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

static void
replacing_keeps_the_old_file_as_bak(void)
{
	struct place p;
	struct err e;

	place_make(&p);
	CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("one"), &e), RC_OK);
	CU_ASSERT(file_is(p.file, "one"));
	CU_ASSERT_NOT_EQUAL(access(p.bak, F_OK), 0);
	CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("two"), &e), RC_OK);
	CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("three"), &e), RC_OK);
	CU_ASSERT(file_is(p.file, "three"));
	CU_ASSERT(file_is(p.bak, "two"));
	CU_ASSERT_NOT_EQUAL(access(p.tmp, F_OK), 0);
	CU_ASSERT_NOT_EQUAL(access(p.bak_tmp, F_OK), 0);
	place_remove(&p);
}

static void
replacing_goes_on_after_a_kill_in_the_middle(void)
{
	struct place p;
	struct err e;

	place_make(&p);
	CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("one"), &e), RC_OK);
	file_put(p.tmp, "half of a ne");
	CU_ASSERT_EQUAL(link(p.file, p.bak), 0); /* killed between keeping the old one and the rename */
	CU_ASSERT_EQUAL(link(p.file, p.bak_tmp), 0);
	CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("two"), &e), RC_OK);
	CU_ASSERT(file_is(p.file, "two"));
	CU_ASSERT(file_is(p.bak, "one"));
	CU_ASSERT_NOT_EQUAL(access(p.bak_tmp, F_OK), 0);
	place_remove(&p);
}

static void
a_file_that_cannot_be_written_leaves_the_old_one(void)
{
	struct err e = {""};

	CU_ASSERT_EQUAL(file_replace("/nonexistent-dir/x.json", SLICE_LIT("x"), &e), RC_IO);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "/nonexistent-dir/x.json"));
	if (access("/dev/full", W_OK) == 0) {
		struct place p;

		place_make(&p);
		file_put(p.file, "old");
		CU_ASSERT_EQUAL(symlink("/dev/full", p.tmp), 0);
		CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("new"), &e), RC_FULL);
		CU_ASSERT(file_is(p.file, "old"));
		place_remove(&p);
	}
}

static int64_t
loaded_n(const char *path, enum rc *rc)
{
	struct err e = {""};
	json_t *o = NULL;
	int64_t n = -1;

	*rc = json_load_config(path, &o, &e);
	if (*rc == RC_OK) {
		n = json_get_i64(o, "n", -2);
		json_decref(o);
	} else
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, path));
	return n;
}

static void
a_torn_or_empty_config_is_read_from_bak(void)
{
	struct place p;
	enum rc rc;

	place_make(&p);
	file_put(p.bak, "{n:2}");
	CU_ASSERT_EQUAL(loaded_n(p.file, &rc), 2); /* missing */
	file_put(p.file, "");
	CU_ASSERT_EQUAL(loaded_n(p.file, &rc), 2);
	file_put(p.file, "{\"n\":1");
	CU_ASSERT_EQUAL(loaded_n(p.file, &rc), 2);
	file_put(p.file, "{\"n\":1}");
	CU_ASSERT_EQUAL(loaded_n(p.file, &rc), 1);
	place_remove(&p);
}

/* The next version makes a .bak of what is there: that must not be the broken one, the .bak is all that is left. */
static void
a_broken_config_goes_aside_and_never_becomes_the_bak(void)
{
	struct place p;
	struct err e;
	json_t *o;
	enum rc rc;

	place_make(&p);
	file_put(p.bak, "{n:2}");
	file_put(p.file, "{\"n\":1");
	CU_ASSERT_EQUAL(json_read_config(p.file, &o, &e), RC_OK);
	json_decref(o);
	CU_ASSERT_EQUAL(access(p.file, F_OK), 0); /* who only reads moves nothing */
	CU_ASSERT_EQUAL(loaded_n(p.file, &rc), 2);
	CU_ASSERT_EQUAL(access(p.broken, F_OK), 0);
	CU_ASSERT_EQUAL(file_replace(p.file, SLICE_LIT("{\"n\":3}"), &e), RC_OK);
	CU_ASSERT_EQUAL(loaded_n(p.file, &rc), 3);
	CU_ASSERT_EQUAL(loaded_n(p.bak, &rc), 2);
	place_remove(&p);
}

static void
no_config_is_a_first_start_but_a_broken_one_is_an_error(void)
{
	struct place p;
	enum rc rc;

	place_make(&p);
	loaded_n(p.file, &rc);
	CU_ASSERT_EQUAL(rc, RC_NOTFOUND);
	file_put(p.file, "");
	loaded_n(p.file, &rc);
	CU_ASSERT_EQUAL(rc, RC_BADDATA);
	file_put(p.file, "{\"n\":1");
	file_put(p.bak, "garbage");
	loaded_n(p.file, &rc);
	CU_ASSERT_EQUAL(rc, RC_BADDATA);
	unlink(p.file);
	loaded_n(p.file, &rc);
	CU_ASSERT_EQUAL(rc, RC_BADDATA);
	place_remove(&p);
}

static void
reading_is_limited(void)
{
	struct place p;
	struct buf b = {0};
	struct err e;

	place_make(&p);
	file_put(p.file, "0123456789");
	CU_ASSERT_EQUAL(file_read(p.file, 9, &b, &e), RC_LIMIT);
	buf_reset(&b, 0);
	CU_ASSERT_EQUAL(file_read(p.file, 10, &b, &e), RC_OK);
	CU_ASSERT_EQUAL(file_read(p.bak, 10, &b, &e), RC_NOTFOUND);
	buf_free(&b);
	place_remove(&p);
}

/* A peer's text in the log: one line, whatever is in it. */
static void
a_log_line_stays_one_line(void)
{
	struct place p;
	struct buf b = {0};
	struct err e;

	place_make(&p);
	CU_ASSERT_EQUAL(log_to_file(p.file), RC_OK);
	log_set_role("tester");
	log_info("peer says %s", "a\nb\x1b[2J");
	log_debug("not shown at info");
	CU_ASSERT_EQUAL(rename(p.file, p.bak), 0);
	log_info("still the old file");
	log_reopen();
	log_warn("the new file");
	log_to_stderr();
	CU_ASSERT_EQUAL(file_read(p.bak, 4096, &b, &e), RC_OK);
	buf_put_char(&b, '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(b.p, " INFO tester["));
	CU_ASSERT_PTR_NOT_NULL(strstr(b.p, "]: peer says a b [2J\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(b.p, "still the old file\n"));
	CU_ASSERT_PTR_NULL(strstr(b.p, "not shown"));
	buf_reset(&b, 4096);
	CU_ASSERT_EQUAL(file_read(p.file, 4096, &b, &e), RC_OK);
	buf_put_char(&b, '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(b.p, " WARN tester["));
	buf_free(&b);
	place_remove(&p);
}

static void
log_levels_have_names(void)
{
	CU_ASSERT_EQUAL(log_set_level("loud"), RC_INVAL);
	CU_ASSERT_EQUAL(log_set_level("debug"), RC_OK);
	CU_ASSERT_EQUAL(log_level_now, LOG_LV_DEBUG);
	CU_ASSERT_EQUAL(log_set_level("INFO"), RC_OK);
}

TEST_MAIN("common/json", TEST(strict_json_stays_as_it_is), TEST(number_keys_get_quotes), TEST(object_keys_become_text),
	  TEST(an_object_key_can_be_read_in_its_turn), TEST(commas_too_many_are_dropped),
	  TEST(broken_text_is_mended_as_java_reads_it), TEST(what_is_no_json_is_refused_with_its_place),
	  TEST(text_cut_off_anywhere_is_refused), TEST(nesting_is_limited),
	  TEST(object_keys_within_object_keys_are_limited), TEST(getters_take_what_java_takes),
	  TEST(replacing_keeps_the_old_file_as_bak), TEST(replacing_goes_on_after_a_kill_in_the_middle),
	  TEST(a_file_that_cannot_be_written_leaves_the_old_one), TEST(a_torn_or_empty_config_is_read_from_bak), TEST(a_broken_config_goes_aside_and_never_becomes_the_bak),
	  TEST(no_config_is_a_first_start_but_a_broken_one_is_an_error), TEST(reading_is_limited),
	  TEST(a_log_line_stays_one_line), TEST(log_levels_have_names))

/*
 * fuzz_json_relax: any bytes as a JSON body of a peer or a config file of the original.
 */
#include "common/json.h"
#include "fuzz.h"

/* What was loaded is JSON: written strictly it loads again, as the same. */
static void
check_again(const json_t *j)
{
	char *text = json_dumps(j, JSON_ENCODE_ANY);
	json_t *back = NULL;
	struct err e;

	if (text == NULL)
		return; /* deeper than jansson writes */
	must(json_load_relaxed(slice_of(text), &back, &e) == RC_OK);
	must(json_equal(back, j));
	json_decref(back);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = fuzz_copy(data, size);
	struct err e = {""};
	json_t *j = NULL;

	if (json_load_relaxed((struct slice){p, size}, &j, &e) == RC_OK) {
		json_get_i64(j, "code", 0);
		json_get_bool(j, "order", false);
		json_get_str(j, "topic", "");
		check_again(j);
		json_decref(j);
	} else {
		must(e.text[0] != '\0');
	}
	free(p);
	return 0;
}

/*
 * fuzz_properties: any bytes as Java properties text: broker.conf, an include, the body of updateBrokerConfig.
 */
#include "common/conf.h"
#include "fuzz.h"

static enum rc
set_one(void *arg, struct slice key, struct slice value, int line)
{
	const struct param *p = param_find(&broker_params, key);
	struct err e = {""};

	must(line > 0);
	if (p && param_set(p, arg, value, &e) != RC_OK)
		must(e.text[0] != '\0');
	return RC_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = fuzz_copy(data, size);
	struct broker_conf conf;
	struct buf b = {0};

	broker_conf_init(&conf);
	if (properties_walk((struct slice){p, size}, set_one, &conf) == RC_OK)
		params_put_properties(&broker_params, &conf, &b);
	buf_free(&b);
	broker_conf_free(&conf);
	free(p);
	return 0;
}

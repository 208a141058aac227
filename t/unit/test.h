/*
 * test: the frame of a unit test program: CUnit, one suite, the names of the tests as sentences.
 *
 *	static void torn_last_record_is_cut(void) { CU_ASSERT_EQUAL(...); }
 *	TEST_MAIN("store/recover", TEST(torn_last_record_is_cut), TEST(...))
 */
#ifndef T_UNIT_TEST_H
#define T_UNIT_TEST_H

#include <CUnit/Basic.h>
#include <stdlib.h>

struct test_row {
	const char	*name;
	CU_TestFunc	 run;
};

#define TEST(name) {#name, name}
#define TEST_MAIN(suite_name, ...)                                                                                     \
	int main(void)                                                                                                 \
	{                                                                                                              \
		static const struct test_row rows[] = {__VA_ARGS__};                                                   \
		return test_run(suite_name, rows, sizeof(rows) / sizeof(rows[0]));                                     \
	}

/* Runs all, prints CUnit's report; the exit status says whether all passed. */
static inline int
test_run(const char *suite_name, const struct test_row *rows, size_t count)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return EXIT_FAILURE;
	suite = CU_add_suite(suite_name, NULL, NULL);
	for (size_t i = 0; i < count; i++)
		if (suite == NULL || CU_add_test(suite, rows[i].name, rows[i].run) == NULL)
			return EXIT_FAILURE;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + CU_get_number_of_tests_failed();
	if (CU_get_number_of_tests_run() != count)
		failed++;
	CU_cleanup_registry();
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif

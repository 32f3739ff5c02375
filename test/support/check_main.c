/* check_main.c - main() of every unit test: runs the suite that the test file defines.
 *
 * The environment chooses the output (CK_TAP_LOG_FILE_NAME=-, CK_VERBOSITY) and the cases (CK_RUN_CASE, CK_FORK); without it
 * a summary is printed.
 */
#include <check.h>
#include <stdlib.h>

Suite *bc_suite(void);

int main(void)
{
    SRunner *runner = srunner_create(bc_suite());
    srunner_run_all(runner, CK_ENV);
    int ran = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return ran > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

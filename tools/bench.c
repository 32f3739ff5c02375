/* bench.c - bitcask-bench: measures a store with the benchmarks, names and lines of db_bench. */
#include "tools/bench.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int bench_say(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    flockfile(stderr);
    fputs("bitcask-bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(args);
    return code;
}

static void on_signal(int number)
{
    (void)number;
    bench_interrupt();
}

static int run(const struct bench_config *config)
{
    struct bench_store store = {0};
    int code = bench_store_init(&store, config);
    if (code == BENCH_OK) {
        bench_report_header(&store);
        for (size_t i = 0; code == BENCH_OK && i < config->selected_count; i++) {
            struct bench_result result;
            code = bench_measure(&store, config->selected[i], &result);
            if (code == BENCH_OK)
                bench_report_result(&store, &result, i == 0);
        }
        bench_report_end(&store);
    }
    bench_store_free(&store);
    return code;
}

int main(int argc, char **argv)
{
    struct bench_config config;
    int code = bench_options_parse(argc, argv, &config);
    if (code > BENCH_OK)
        return code;
    if (code == BENCH_OK) {
        /* The temporary store goes also when the run is interrupted or nobody reads the figures any more. */
        struct sigaction action = {.sa_handler = on_signal};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGHUP, &action, NULL);
        signal(SIGPIPE, SIG_IGN);
        code = run(&config);
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && code <= BENCH_OK)
        return bench_say(BENCH_ERROR, "stdout: write error");
    return code < 0 ? BENCH_OK : code;
}

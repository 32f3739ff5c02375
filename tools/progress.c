#include "tools/progress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/size.h"

#define REDRAW_MS 100
#define BAR_WIDTH 30
#define BYTES_BAR_WIDTH 16 /* more stands behind that one, and all of it fits into 80 columns */

static volatile sig_atomic_t interrupted;

/* Under the lock of stderr. */
static struct {
    bool on_screen;
    char phase[32]; /* the clock of the ETA starts with each phase */
    int64_t started_ms;
    int64_t drawn_ms;
} bar;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void progress_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool progress_interrupted(void)
{
    return interrupted != 0;
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool wanted(void)
{
    const char *term = getenv("TERM");
    return !cli_quiet() && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* A line that wraps could not be erased. */
static int columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

static void format_eta(char *text, size_t size, uint64_t done, uint64_t total, int64_t elapsed_ms)
{
    if (done == 0 || done >= total) {
        *text = '\0';
        return;
    }
    uint64_t left_s = (uint64_t)((double)elapsed_ms * (double)(total - done) / (double)done / 1000) + 1;
    if (left_s >= 3600)
        snprintf(text, size, "  ETA %ju:%02ju:%02ju", (uintmax_t)(left_s / 3600), (uintmax_t)(left_s / 60 % 60),
                 (uintmax_t)(left_s % 60));
    else
        snprintf(text, size, "  ETA %ju:%02ju", (uintmax_t)(left_s / 60), (uintmax_t)(left_s % 60));
}

static void format_count(char *text, size_t size, uint64_t count, bool bytes)
{
    if (bytes)
        snprintf(text, size, "%s", size_text(count));
    else
        snprintf(text, size, "%ju", (uintmax_t)count);
}

/* Nothing at first, when it would say nothing. */
static void format_speed(char *text, size_t size, uint64_t done, int64_t elapsed_ms)
{
    *text = '\0';
    if (elapsed_ms >= REDRAW_MS)
        snprintf(text, size, "  %s/s", size_text((uint64_t)((double)done * 1000 / (double)elapsed_ms)));
}

static void draw(const char *phase, uint64_t done, uint64_t total, bool bytes, int64_t elapsed_ms)
{
    char line[200], eta[48], speed[32] = "", filled[BAR_WIDTH + 1], done_text[24], total_text[24];
    int width = bytes ? BYTES_BAR_WIDTH : BAR_WIDTH;
    format_count(done_text, sizeof done_text, done, bytes);
    format_count(total_text, sizeof total_text, total, bytes);
    if (bytes)
        format_speed(speed, sizeof speed, done, elapsed_ms);
    if (total == 0) {
        snprintf(line, sizeof line, "%s  %s%s", phase, done_text, speed);
    } else {
        double part = done < total ? (double)done / (double)total : 1;
        int cells = (int)(part * width);
        memset(filled, '.', (size_t)width);
        memset(filled, '#', (size_t)cells);
        filled[width] = '\0';
        format_eta(eta, sizeof eta, done, total, elapsed_ms);
        snprintf(line, sizeof line, "%s  [%s]  %s/%s  %d %%%s%s", phase, filled, done_text, total_text, (int)(part * 100),
                 speed, eta);
    }
    fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    fflush(stderr);
    bar.on_screen = true;
}

static int show(const char *phase, uint64_t done, uint64_t total, bool bytes)
{
    if (!wanted())
        return interrupted;
    progress_lock();
    int64_t now = now_ms();
    if (strncmp(bar.phase, phase, sizeof bar.phase - 1) != 0) {
        snprintf(bar.phase, sizeof bar.phase, "%s", phase);
        bar.started_ms = now;
    }
    if (!bar.on_screen || now - bar.drawn_ms >= REDRAW_MS) {
        draw(phase, done, total, bytes, now - bar.started_ms);
        bar.drawn_ms = now;
    }
    progress_unlock();
    return interrupted;
}

int progress_show(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    (void)ctx;
    return show(phase, done, total, false);
}

int progress_show_bytes(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    (void)ctx;
    return show(phase, done, total, true);
}

void progress_lock(void)
{
    flockfile(stderr);
}

void progress_erase(void)
{
    if (!bar.on_screen)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    bar.on_screen = false;
}

void progress_unlock(void)
{
    funlockfile(stderr);
}

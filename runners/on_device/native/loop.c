/* The timed loop, and what comes before it. The invocation alone is timed, and every duration is kept. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK_NS 500000000
#define CHUNK 65536

volatile int stopped;

static void wait_until(int64_t at) {
    int64_t left = at - now_ns();
    if (left <= 0) return;
    struct timespec pause = {left / 1000000000, left % 1000000000};
    nanosleep(&pause, NULL);
}

int64_t timed(void (*invoke)(void), int64_t runs, int64_t limit_ns, Give give, void *with, int64_t period_ns) {
    static int64_t chunk[CHUNK];
    size_t held = 0;
    int64_t count = 0, begun = now_ns(), flushed = begun;
    while (count < runs) {
        if (period_ns) wait_until(begun + count * period_ns);
        int64_t start = now_ns();
        invoke();
        int64_t end = now_ns();
        chunk[held++] = end - start;
        count++;
        if (end - flushed >= CHUNK_NS || held == CHUNK) {
            bool enough = give(chunk, held, with);
            held = 0;
            flushed = now_ns();
            if (enough) break;
        }
        if (stopped || end - begun >= limit_ns) break;
    }
    if (held) give(chunk, held, with);
    return count;
}

void next_to_spool(const Job *job, const char *ending, char *path, size_t room) {
    const char *dot = strrchr(job->spool, '.'), *slash = strrchr(job->spool, '/');
    int length = dot && (!slash || dot > slash) ? (int)(dot - job->spool) : (int)strlen(job->spool);
    snprintf(path, room, "%.*s%s", length, job->spool, ending);
}

Golden load_and_first(const Job *job, Runtime *runtime, void (*loaded)(void)) {
    int64_t start = now_ns();
    runtime->load(job);
    int64_t took = now_ns() - start;
    tell("load");
    put(",\"ns\":%lld", (long long)took);
    told();
    if (loaded) loaded();
    Golden golden = golden_read(job, runtime);
    runtime->feed(golden.samples);
    start = now_ns();
    runtime->invoke();
    took = now_ns() - start;
    tell("first");
    put(",\"ns\":%lld", (long long)took);
    told();
    return golden;
}

typedef struct {
    int64_t *numbers;
    size_t count;
} Kept;

static bool keep(const int64_t *chunk, size_t count, void *with) {
    Kept *kept = with;
    int64_t *more = realloc(kept->numbers, (kept->count + count) * sizeof *more);
    if (!more) trouble("invoke", "no memory for durations");
    memcpy(more + kept->count, chunk, count * sizeof *more);
    kept->numbers = more;
    kept->count += count;
    return false;
}

void warm_up(const Job *job, const Runtime *runtime, bool loud) {
    Kept kept = {NULL, 0};
    timed(runtime->invoke, job->warmup, job->max_ns, keep, &kept, 0);
    if (loud) {
        tell("warmup");
        put_numbers("ns", kept.numbers, kept.count);
        told();
    }
    free(kept.numbers);
}

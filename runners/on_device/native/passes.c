/* The passes of latency, memory and operators: what is done in which order, and what is told of it. */
#include "runner.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONDITIONS_EVERY 4 /* chunks: every other second */
#define OVERHEAD_RUNS 1000
#define OVERHEAD_NS 100000000
#define MOST_OUTPUT_BYTES (8u << 20)
#define WATCH_US 5000
#define PROFILE_RUNS 40

static void nothing(void) {}

static bool give_samples(const int64_t *chunk, size_t count, void *with) {
    static int chunks;
    tell("samples");
    put_numbers("ns", chunk, count);
    told();
    if (++chunks % CONDITIONS_EVERY == 0) tell_conditions("during");
    return access(with, F_OK) == 0;
}

static bool give_overhead(const int64_t *chunk, size_t count, void *with) {
    (void)with;
    tell("overhead");
    put_numbers("ns", chunk, count);
    told();
    return false;
}

static void tell_placed(int before, const Runtime *runtime) {
    char allowed[LONGEST_TEXT] = "";
    read_field("/proc/self/status", "Cpus_allowed_list", allowed, sizeof allowed);
    tell("placed");
    put(",\"threads_before\":%d,\"threads_after\":%d", before, threads_now());
    put_text("cpus_allowed", allowed);
    const Delegated *delegated = &runtime->delegated;
    if (delegated->nodes) {
        put(",\"delegated\":{\"nodes\":%d,\"taken\":%d", delegated->nodes, delegated->taken);
        put_numbers("left", delegated->left, (size_t)delegated->left_count);
        put("}");
    }
    if (runtime->provider) {
        put(",\"providers\":[");
        put_quoted(runtime->provider);
        put("]");
    }
    told();
}

static void tell_outputs(size_t index, const Golden *golden, const Runtime *runtime) {
    runtime->feed(golden->samples + index * golden->elements);
    runtime->invoke();
    for (int number = 0; number < runtime->outputs(); number++) {
        int64_t shape[MOST_DIMS];
        int rank;
        size_t count;
        float *values = runtime->output(number, shape, &rank, &count);
        if (!values) trouble("invoke", "no memory for output %d", number);
        if (count * sizeof *values > MOST_OUTPUT_BYTES)
            trouble("invoke", "output %d has %zu bytes: over %u", number, count * sizeof *values, MOST_OUTPUT_BYTES);
        tell("output");
        put(",\"golden\":%zu,\"output\":%d", index, number);
        put_numbers("shape", shape, (size_t)rank);
        put_bytes("data", values, count * sizeof *values);
        told();
        free(values);
    }
}

int64_t latency_pass(const Job *job, Runtime *runtime) {
    char enough[LONGEST_TEXT];
    int threads = threads_now();
    next_to_spool(job, ".enough", enough, sizeof enough);
    tell_conditions("before");
    Golden golden = load_and_first(job, runtime, NULL);
    warm_up(job, runtime, true);
    tell_placed(threads, runtime);
    tell_conditions("during");
    int64_t count = stopped ? 0 : timed(runtime->invoke, job->runs, job->max_ns, give_samples, enough, job->period_ns);
    tell_conditions("after");
    timed(nothing, OVERHEAD_RUNS, OVERHEAD_NS, give_overhead, NULL, 0);
    for (size_t i = 0; i < golden.count && !stopped; i++) tell_outputs(i, &golden, runtime);
    return count;
}

/* --- memory: /proc/self/smaps_rollup, or the sum over smaps --- */
typedef struct {
    int64_t pss, dirty, swap, file;
    bool tells_file;
} Memory;

static bool sum_up(const char *path, Memory *sum) {
    char line[512], key[64];
    long long kib;
    int64_t swap = 0, swap_pss = -1;
    bool has_pss = false, has_dirty = false;
    FILE *file = fopen(path, "re");
    *sum = (Memory){0};
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63[A-Za-z_]: %lld kB", key, &kib) != 2) continue;
        if (strcmp(key, "Pss") == 0) has_pss = true, sum->pss += kib * 1024;
        if (strcmp(key, "Private_Dirty") == 0) has_dirty = true, sum->dirty += kib * 1024;
        if (strcmp(key, "Swap") == 0) swap += kib * 1024;
        if (strcmp(key, "SwapPss") == 0) swap_pss = (swap_pss < 0 ? 0 : swap_pss) + kib * 1024;
        if (strcmp(key, "Pss_File") == 0) sum->tells_file = true, sum->file += kib * 1024;
    }
    if (file) fclose(file);
    sum->swap = swap_pss < 0 ? swap : swap_pss;
    return has_pss && has_dirty;
}

static struct {
    pthread_mutex_t lock;
    Memory peak;
    volatile bool done;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

static Memory take(void) {
    Memory now;
    if (!sum_up("/proc/self/smaps_rollup", &now) && !sum_up("/proc/self/smaps", &now))
        trouble("memory", "neither /proc/self/smaps_rollup nor /proc/self/smaps can be read");
    pthread_mutex_lock(&watch.lock);
    if (now.pss + now.swap > watch.peak.pss + watch.peak.swap) watch.peak = now;
    pthread_mutex_unlock(&watch.lock);
    return now;
}

static void *watch_on(void *unused) {
    while (!watch.done) {
        usleep(WATCH_US);
        take();
    }
    return unused;
}

static void tell_memory(const char *phase, Memory memory) {
    tell("memory");
    put_text("phase", phase);
    put(",\"pss_bytes\":%lld,\"private_dirty_bytes\":%lld,\"swap_bytes\":%lld", (long long)memory.pss,
        (long long)memory.dirty, (long long)memory.swap);
    if (memory.tells_file) put(",\"file_bytes\":%lld", (long long)memory.file);
    told();
}

static void tell_loaded(void) { tell_memory("loaded", take()); }

int64_t memory_pass(const Job *job, Runtime *runtime) {
    pthread_t thread;
    int64_t runs = job->runs < MEMORY_RUNS ? job->runs : MEMORY_RUNS, count = 0;
    tell_memory("baseline", take());
    if (pthread_create(&thread, NULL, watch_on, NULL) != 0) trouble("memory", "no thread to watch it");
    load_and_first(job, runtime, tell_loaded);
    tell_memory("first", take());
    int64_t limit = now_ns() + job->max_ns;
    for (; count < runs && !stopped && now_ns() < limit; count++) {
        runtime->invoke();
        take();
    }
    watch.done = true;
    pthread_join(thread, NULL);
    tell_memory("peak", watch.peak);
    return count;
}

/* --- operators: the runtimes' profilers are not reached from here, and that is said --- */
static int64_t plain[PROFILE_RUNS];

static bool give_plain(const int64_t *chunk, size_t count, void *with) {
    size_t *held = with;
    for (size_t i = 0; i < count && *held < PROFILE_RUNS; i++) plain[(*held)++] = chunk[i];
    return false;
}

int64_t profile_pass(const Job *job, Runtime *runtime) {
    size_t held = 0;
    load_and_first(job, runtime, NULL);
    warm_up(job, runtime, false);
    timed(runtime->invoke, PROFILE_RUNS, job->max_ns, give_plain, &held, 0);
    tell("nodes");
    put(",\"nodes\":[]");
    told();
    tell("profiler");
    put_numbers("plain_ns", plain, held);
    put_text("unavailable", "the native program does not reach the runtime's profiler; one with Python does");
    told();
    return (int64_t)held;
}

/* The power pass: sensors read beside the timed loop, by a process of its own that can be held. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES 16000
#define SETTLE_MS 300 /* a runtime's threads go on spinning for a while after the last invocation */
#define READY_MS 20000
#define COMMAND_MS 5000
#define TOLD_OF_SEGMENT 65536
#define TOLD_OF_CHUNK 250
#define ENDLESS ((int64_t)1 << 60)

typedef struct {
    const Json *reads, *commands;
    int64_t period_ns, idle_ns, segment_ns, pairs;
} Watch;

static struct {
    pid_t process; /* 0 where there is nothing to read */
    char path[LONGEST_TEXT];
    off_t read;
} sampler;

static void pause_ms(int64_t milliseconds) {
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    if (milliseconds > 0) nanosleep(&pause, NULL);
}

static int64_t number_of(const Json *watch, const char *key) {
    const Json *value = json_get(watch, key);
    if (!value || value->kind != NUMBER || !value->whole || value->integer < 1)
        trouble("job", "the watch's %s is none that this program takes", key);
    return value->integer;
}

static const Json *table_of(const Json *watch, const char *key, Kind kind) {
    const Json *value = json_get(watch, key);
    if (!value || value->kind != TABLE) trouble("job", "the watch's %s is no table", key);
    for (const Json *one = value->first; one; one = one->next) {
        if (one->kind != kind) trouble("job", "the watch's %s are none that this program takes", key);
        for (const Json *word = kind == LIST ? one->first : NULL; word; word = word->next)
            if (word->kind != TEXT) trouble("job", "the watch's %s are none that this program takes", key);
    }
    return value;
}

static Watch watch_of(const Job *job) {
    if (!job->watch || json_count(job->watch) != 6) trouble("job", "the job's watch is none of a power pass");
    return (Watch){table_of(job->watch, "reads", TEXT), table_of(job->watch, "commands", LIST),
                   number_of(job->watch, "period_ns"), number_of(job->watch, "idle_ns"),
                   number_of(job->watch, "segment_ns"), number_of(job->watch, "pairs")};
}

/* --- the process that reads --- */
static _Noreturn void run_it(const Json *command, int out) {
    char *argv[64];
    int count = 0, null = open("/dev/null", O_RDWR);
    for (const Json *word = command->first; word && count < 63; word = word->next) argv[count++] = word->text;
    argv[count] = NULL;
    dup2(null, 0);
    dup2(out, 1);
    dup2(null, 2);
    if (count) execvp(argv[0], argv);
    _exit(127);
}

/* What a command prints, in time; NULL, or why not. */
static const char *answer_of(const Json *command, char *into) {
    int ends[2], status = 0;
    size_t size = 0;
    if (pipe(ends) != 0) return strerror(errno);
    pid_t child = fork();
    if (child == 0) run_it(command, ends[1]);
    close(ends[1]);
    int64_t limit = now_ns() + COMMAND_MS * (int64_t)1000000;
    const char *why = child < 0 ? strerror(errno) : NULL;
    while (!why && size < TEXT_BYTES) {
        struct pollfd ready = {ends[0], POLLIN, 0};
        int64_t left = (limit - now_ns()) / 1000000;
        if (left <= 0 || poll(&ready, 1, (int)left) == 0) {
            why = "it took too long";
            break;
        }
        ssize_t count = read(ends[0], into + size, TEXT_BYTES - size);
        if (count <= 0) break;
        size += (size_t)count;
    }
    close(ends[0]);
    into[size] = 0;
    if (child < 0) return why;
    if (why) kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return why ? why : status == 0 || size == TEXT_BYTES ? NULL : "it failed";
}

typedef struct {
    const char *key;
    char *text;
    const char *error;
} Reading;

static size_t read_all(const Watch *watch, Reading *readings) {
    size_t count = 0;
    for (const Json *one = watch->reads->first; one; one = one->next) {
        errno = 0;
        readings[count].error = read_small(one->text, readings[count].text, TEXT_BYTES) == (size_t)-1 ? strerror(errno) : NULL;
        readings[count++].key = one->key;
    }
    for (const Json *one = watch->commands->first; one; one = one->next) {
        readings[count].error = answer_of(one, readings[count].text);
        readings[count++].key = one->key;
    }
    return count;
}

static void put_those(const char *name, const Reading *readings, size_t count, bool failed) {
    bool more = false;
    put(",\"%s\":{", name);
    for (size_t i = 0; i < count; i++)
        if (!readings[i].error != failed) {
            if (more) put_raw(",", 1);
            put_quoted(readings[i].key);
            put_raw(":", 1);
            put_quoted(failed ? readings[i].error : readings[i].text);
            more = true;
        }
    put_raw("}", 1);
}

static _Noreturn void sample(const Watch *watch, pid_t parent) {
    size_t size = (size_t)(json_count(watch->reads) + json_count(watch->commands));
    Reading *readings = calloc(size, sizeof *readings);
    cpu_set_t all;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* held, it could not see for itself that nobody is there any more */
    memset(&all, 0xff, sizeof all);
    sched_setaffinity(0, sizeof all, &all); /* the loop's CPUs are for the loop */
    for (size_t i = 0; i < size; i++)
        if (!readings || !(readings[i].text = malloc(TEXT_BYTES + 1))) _exit(1);
    srand((unsigned)getpid());
    spool_open(sampler.path, "power");
    while (!stopped && getppid() == parent) {
        int64_t begin = now_ns();
        size_t count = read_all(watch, readings);
        int64_t took = now_ns() - begin;
        bool failed = false;
        for (size_t i = 0; i < count; i++) failed |= readings[i].error != NULL;
        tell_at("reading", begin);
        put(",\"took_ns\":%lld", (long long)took);
        put_those("raw", readings, count, false);
        if (failed) put_those("errors", readings, count, true);
        told();
        /* Never in step with what is measured: the pauses are spread over half a period. */
        double spread = 0.75 + 0.5 * rand() / RAND_MAX;
        pause_ms(((int64_t)((double)watch->period_ns * spread) - (now_ns() - begin)) / 1000000);
    }
    _exit(0);
}

/* --- the process that invokes --- */
static void hold(bool held) {
    if (sampler.process) kill(sampler.process, held ? SIGSTOP : SIGCONT);
}

static void relay(void) {
    int handle = sampler.process ? open(sampler.path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat state;
    if (handle < 0) return;
    if (fstat(handle, &state) == 0 && state.st_size > sampler.read) {
        size_t size = (size_t)(state.st_size - sampler.read);
        char *text = malloc(size);
        ssize_t count = text ? pread(handle, text, size, sampler.read) : 0;
        while (count > 0 && text[count - 1] != '\n') count--; /* whole lines, as they are */
        if (count > 0) {
            put_raw(text, (size_t)count);
            sampler.read += count;
        }
        free(text);
    }
    close(handle);
}

static void leave(void) {
    if (!sampler.process) return;
    hold(false);
    kill(sampler.process, SIGTERM);
    for (int i = 0; i < 50 && waitpid(sampler.process, NULL, WNOHANG) == 0; i++) {
        if (i == 49) kill(sampler.process, SIGKILL);
        pause_ms(100);
    }
    relay();
}

static void begin_sampler(const Job *job, const Watch *watch) {
    struct stat state;
    pid_t parent = getpid();
    snprintf(sampler.path, sizeof sampler.path, "%s.readings", job->spool);
    if (!watch->reads->first && !watch->commands->first) return;
    sampler.process = fork();
    if (sampler.process == 0) sample(watch, parent);
    if (sampler.process < 0) trouble("job", "the sampler did not start: %s", strerror(errno));
    for (int waited = 0; stat(sampler.path, &state) != 0 || state.st_size == 0; waited += 10) {
        if (waited > READY_MS || waitpid(sampler.process, NULL, WNOHANG) != 0)
            trouble("job", "the sampler did not start; the log of the pass says why");
        pause_ms(10);
    }
    hold(true);
}

static void idle(const char *when, const Watch *watch) {
    if (!stopped) pause_ms(SETTLE_MS);
    int64_t begin = now_ns();
    while (now_ns() < begin + watch->idle_ns && !stopped) {
        int64_t left = (begin + watch->idle_ns - now_ns()) / 1000000;
        pause_ms(left > 200 ? 200 : left > 0 ? left : 1);
    }
    int64_t end = now_ns();
    tell("idle");
    put_text("when", when);
    put(",\"begin_ns\":%lld,\"end_ns\":%lld", (long long)begin, (long long)end);
    told();
    relay();
}

static struct {
    int64_t numbers[TOLD_OF_SEGMENT];
    size_t held;
} told_of;

static bool give(const int64_t *chunk, size_t count, void *with) {
    (void)with;
    size_t step = count / TOLD_OF_CHUNK ? count / TOLD_OF_CHUNK : 1;
    for (size_t i = 0; i < count && told_of.held < TOLD_OF_SEGMENT; i += step) told_of.numbers[told_of.held++] = chunk[i];
    return false;
}

static int64_t segment(const Job *job, const Runtime *runtime, const Watch *watch, bool sampling) {
    told_of.held = 0;
    int64_t begin = now_ns();
    int64_t count = timed(runtime->invoke, ENDLESS, watch->segment_ns, give, NULL, job->period_ns);
    int64_t end = now_ns();
    tell("segment");
    put(",\"sampling\":%s,\"begin_ns\":%lld,\"end_ns\":%lld,\"count\":%lld", sampling ? "true" : "false", (long long)begin,
        (long long)end, (long long)count);
    put_numbers("ns", told_of.numbers, told_of.held);
    told();
    return count;
}

int64_t power_pass(const Job *job, Runtime *runtime) {
    static const bool abba[] = {true, false, false, true};
    Watch watch = watch_of(job);
    int64_t count = 0;
    begin_sampler(job, &watch); /* before the runtime has threads */
    load_and_first(job, runtime, NULL);
    warm_up(job, runtime, true);
    hold(false);
    idle("before", &watch);
    for (int64_t number = 0; number < 2 * watch.pairs && !stopped; number++) {
        bool sampling = abba[number % 4] || !sampler.process;
        hold(!sampling);
        count += segment(job, runtime, &watch, sampling);
        relay();
    }
    hold(false);
    idle("after", &watch);
    leave();
    return count;
}

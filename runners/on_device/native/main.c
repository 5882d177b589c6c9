/* The command line: one pass of one job, or a runtime tried.
 *
 *     edgekit_runner JOB.json PASS
 *     edgekit_runner --import RUNTIME SITE...    prints {"runtime", "version"} or an error line
 *     edgekit_runner --clock                     prints the clock of all times
 *
 * Exit codes: 0 the pass ended, 1 it broke off and the spool says why, 2 the job or its spool can't be used. */
#include "runner.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(int number) { stopped = number; }

static Runtime *open_runtime(const char *name, const Json *site) {
    if (strcmp(name, "litert") == 0) return open_tflite(site);
    if (strcmp(name, "onnxruntime") == 0) return open_onnxruntime(site);
    if (strcmp(name, "null") == 0) return open_null(site);
    trouble("runtime", "unknown runtime '%s'; known: litert, null, onnxruntime", name);
}

static void pin(const Json *cpus) {
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    for (const Json *one = cpus->first; one; one = one->next)
        if (one->integer < CPU_SETSIZE) CPU_SET((size_t)one->integer, &wanted);
    if (cpus->first && sched_setaffinity(0, sizeof wanted, &wanted) != 0)
        trouble("job", "it can't be kept to these CPUs: %s", strerror(errno));
}

static int try_import(int count, char **words) {
    Json paths[64], site = {.kind = LIST};
    memset(paths, 0, sizeof paths);
    for (int i = 0; i < count - 1 && i < 64; i++) {
        paths[i] = (Json){.kind = TEXT, .text = words[i + 1], .next = NULL};
        if (i) paths[i - 1].next = &paths[i];
        site.first = paths;
    }
    Runtime *runtime = open_runtime(count ? words[0] : "", &site);
    printf("{\"runtime\": \"%s\", \"version\": \"%s\"}\n", words[0], runtime->version);
    fflush(stdout);
    _exit(0); /* a library's own end is none of our business */
}

static int64_t (*pass_of(const char *name))(const Job *, Runtime *) {
    if (strcmp(name, "memory") == 0) return memory_pass;
    if (strcmp(name, "latency") == 0) return latency_pass;
    if (strcmp(name, "power") == 0) return power_pass;
    if (strcmp(name, "profile") == 0) return profile_pass;
    trouble("job", "unknown pass '%s'", name);
}

static void tell_hello(const Job *job, const Runtime *runtime) {
    tell("hello");
    put(",\"protocol\":%d,\"pid\":%d,\"threads\":%d", PROTOCOL, getpid(), job->threads);
    put_text("run", job->run);
    put_text("program", "native");
    put_text("runtime", job->runtime);
    put_text("version", runtime->version);
    told();
}

static void tell_end(const Job *job, const char *pass, int64_t count) {
    char enough[LONGEST_TEXT];
    next_to_spool(job, ".enough", enough, sizeof enough);
    int64_t asked = strcmp(pass, "power") == 0 ? 1 : job->runs;
    if (strcmp(pass, "latency") != 0 && asked > MEMORY_RUNS) asked = MEMORY_RUNS;
    const char *reason = count >= asked ? "done" : access(enough, F_OK) == 0 ? "enough" : "limit";
    tell("end");
    put_text("reason", stopped ? "stopped" : reason);
    put(",\"count\":%lld", (long long)count);
    told();
}

int main(int count, char **words) {
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    if (count >= 3 && strcmp(words[1], "--import") == 0) return try_import(count - 2, words + 2);
    if (count == 2 && strcmp(words[1], "--clock") == 0) return printf("%lld\n", (long long)now_ns()) < 0;
    if (count != 3) trouble("job", "give a job and a pass: edgekit_runner JOB.json PASS");
    Job job = job_read(words[1]);
    int64_t (*pass)(const Job *, Runtime *) = pass_of(words[2]);
    spool_open(job.spool, words[2]);
    pin(job.cpus);
    Runtime *runtime = open_runtime(job.runtime, job.site);
    tell_hello(&job, runtime);
    tell_end(&job, words[2], pass(&job, runtime));
    spool_close();
    _exit(0); /* a library's own end is none of our business */
}

/* The job: what the host asks for, every key there and of its type; and the golden inputs. */
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_JOB (1 << 20)
#define LONGEST_HEADER 65536
#define MOST_S 1e6

static char *whole_file(const char *path) {
    FILE *file = fopen(path, "re");
    char *text = malloc(LONGEST_JOB + 1);
    if (!file || !text) trouble("job", "%s: %s", path, strerror(errno));
    size_t size = fread(text, 1, LONGEST_JOB + 1, file);
    fclose(file);
    if (size > LONGEST_JOB) trouble("job", "%s is too long", path);
    text[size] = 0;
    return text;
}

static const Json *need(const Json *job, const char *key, Kind kind) {
    const Json *value = json_get(job, key);
    if (!value) trouble("job", "the job has no %s", key);
    if (value->kind != kind) trouble("job", "the job's %s is none that this program takes", key);
    return value;
}

static int64_t whole(const Json *job, const char *key, int64_t least) {
    const Json *value = need(job, key, NUMBER);
    if (!value->whole || value->integer < least) trouble("job", "the job's %s is none that this program takes", key);
    return value->integer;
}

static void check_keys(const Json *job) {
    static const char *known[] = {"protocol", "run", "runtime", "site", "artifact", "golden", "threads", "cpus",
                                  "warmup", "runs", "period_ns", "max_s", "spool", "watch", "profile"};
    const size_t count = sizeof known / sizeof *known;
    for (const Json *one = job->first; one; one = one->next) {
        bool found = false;
        for (size_t i = 0; i < count; i++) found |= strcmp(one->key, known[i]) == 0;
        if (!found) trouble("job", "the job has a key that is not known: %s", one->key);
    }
    for (size_t i = 0; i < count; i++)
        if (!json_get(job, known[i])) trouble("job", "the job has no %s", known[i]);
}

static const Json *table_or_null(const Json *json, const char *key) {
    const Json *value = json_get(json, key);
    if (value->kind != TABLE && value->kind != NOTHING) trouble("job", "the job's %s is no table", key);
    return value->kind == TABLE ? value : NULL;
}

Job job_read(const char *path) {
    const char *why = NULL;
    const Json *json = json_read(whole_file(path), &why);
    if (!json || json->kind != TABLE) trouble("job", "the job can't be read: %s", why ? why : "it is no table");
    check_keys(json);
    if (whole(json, "protocol", 0) != PROTOCOL) trouble("job", "the job's protocol is none that this program takes");
    const Json *golden = json_get(json, "golden");
    if (golden->kind != TEXT && golden->kind != NOTHING) trouble("job", "the job's golden is no path");
    double max_s = need(json, "max_s", NUMBER)->number;
    if (!(max_s > 0 && max_s < MOST_S)) trouble("job", "the job's max_s is none that this program takes");
    Job job = {
        .run = need(json, "run", TEXT)->text,
        .runtime = need(json, "runtime", TEXT)->text,
        .artifact = need(json, "artifact", TEXT)->text,
        .golden = golden->text,
        .spool = need(json, "spool", TEXT)->text,
        .site = need(json, "site", LIST),
        .cpus = need(json, "cpus", LIST),
        .watch = table_or_null(json, "watch"),
        .threads = (int)whole(json, "threads", 1),
        .warmup = whole(json, "warmup", 0),
        .runs = whole(json, "runs", 1),
        .period_ns = whole(json, "period_ns", 0),
        .max_ns = (int64_t)(max_s * 1e9),
    };
    table_or_null(json, "profile");
    for (const Json *one = job.site->first; one; one = one->next)
        if (one->kind != TEXT) trouble("job", "the job's site holds what is no path");
    for (const Json *one = job.cpus->first; one; one = one->next)
        if (one->kind != NUMBER || !one->whole || one->integer < 0) trouble("job", "the job's cpus are no numbers");
    return job;
}

/* The shape in the header of a .npy: "'shape': (8, 32, 32, 3)". Returns its rank, or -1. */
static int npy_shape(const char *header, int64_t *shape) {
    const char *at = strstr(header, "'shape': (");
    int rank = 0;
    if (!at) return -1;
    for (at += strlen("'shape': ("); *at && *at != ')' && rank <= MOST_DIMS;) {
        char *end;
        shape[rank++] = strtoll(at, &end, 10);
        if (end == at) return -1;
        at = end + strspn(end, ", ");
    }
    return *at == ')' ? rank : -1;
}

static bool fits(const int64_t *shape, int rank, const int64_t *input, int input_rank) {
    if (rank != input_rank && rank - 1 != input_rank) return false;
    for (int i = 1; i < rank; i++)
        if (shape[i] != input[input_rank - rank + i]) return false;
    return input_rank > 0 && input[0] == 1;
}

static FILE *npy_open(const char *path, char *header) {
    FILE *file = fopen(path, "re");
    unsigned char head[12];
    if (!file) trouble("job", "%s: %s", path, strerror(errno));
    if (fread(head, 1, 10, file) != 10 || memcmp(head, "\x93NUMPY", 6) != 0) trouble("job", "%s is no .npy", path);
    size_t length = head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) {
        if (fread(head + 10, 1, 2, file) != 2) trouble("job", "%s is no .npy", path);
        length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    if (length >= LONGEST_HEADER || fread(header, 1, length, file) != length) trouble("job", "%s is no .npy", path);
    header[length] = 0;
    return file;
}

Golden golden_read(const Job *job, const Runtime *runtime) {
    Golden made = {NULL, 0, 0};
    static char header[LONGEST_HEADER];
    int64_t shape[MOST_DIMS + 1];
    if (runtime->rank < 0) return made;
    made.elements = elements_of(runtime->shape, runtime->rank);
    if (!job->golden) {
        made.samples = calloc(made.elements, sizeof *made.samples);
        if (!made.samples) trouble("job", "no memory for an input");
        return made;
    }
    FILE *file = npy_open(job->golden, header);
    int rank = npy_shape(header, shape);
    if (rank < 1 || !strstr(header, "'descr': '<f4'") || !strstr(header, "'fortran_order': False") ||
        !fits(shape, rank, runtime->shape, runtime->rank)) {
        char wanted[256] = "";
        for (int i = 0; i < runtime->rank; i++)
            snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), i ? ", %lld" : "%lld", (long long)runtime->shape[i]);
        header[strcspn(header, "\n")] = 0;
        trouble("job", "golden inputs are %.300s, the artifact's input has the shape (%s)", header, wanted);
    }
    made.count = (size_t)shape[0];
    size_t total = made.count * made.elements;
    made.samples = malloc((total ? total : 1) * sizeof *made.samples);
    if (!made.samples || fread(made.samples, sizeof *made.samples, total, file) != total)
        trouble("job", "%s is not whole", job->golden);
    fclose(file);
    return made;
}

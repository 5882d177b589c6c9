/* EdgeKit's program for devices without a Python. What it does and tells is in ../__init__.py. */
#ifndef EDGEKIT_RUNNER_H
#define EDGEKIT_RUNNER_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL 2
#define MOST_DIMS 8
#define LONGEST_TEXT 4096

/* json.c: what the job says. */
typedef enum { NOTHING, TRUTH, NUMBER, TEXT, LIST, TABLE } Kind;
typedef struct Json {
    Kind kind;
    bool whole; /* a number without fraction or exponent */
    int64_t integer;
    double number;
    char *text, *key;
    struct Json *first, *next;
} Json;
Json *json_read(const char *text, const char **why);
const Json *json_get(const Json *table, const char *key);
int json_count(const Json *list);

/* spool.c: what is told. */
_Noreturn void trouble(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t now_ns(void);
void spool_open(const char *path, const char *pass);
void spool_close(void);
void tell(const char *event);                /* begins a line */
void tell_at(const char *event, int64_t t);  /* begins a line with another time */
void put(const char *format, ...) __attribute__((format(printf, 1, 2)));
void put_text(const char *key, const char *text);  /* ,"key":"text" */
void put_quoted(const char *text);
void put_numbers(const char *key, const int64_t *numbers, size_t count);
void put_bytes(const char *key, const void *bytes, size_t count); /* base64 */
void put_raw(const char *bytes, size_t count);     /* whole lines from elsewhere */
void told(void);                             /* ends it, and hands it to the kernel */

/* sysfs.c: what the device is like. */
size_t read_small(const char *path, char *into, size_t room); /* stripped; (size_t)-1 when unreadable */
bool read_number(const char *path, int64_t *into);
bool read_field(const char *path, const char *name, char *into, size_t room);
void tell_conditions(const char *when);
int threads_now(void);

/* job.c */
typedef struct {
    char *run, *runtime, *artifact, *golden, *spool;
    const Json *site, *cpus, *watch;
    int threads;
    int64_t warmup, runs, period_ns, max_ns;
} Job;
Job job_read(const char *path);

/* runtimes: one of them is opened. */
#define MOST_LEFT 256
typedef struct {
    int nodes, taken, left_count;
    int64_t left[MOST_LEFT]; /* numbers of builtin operators */
} Delegated;
typedef struct {
    const char *version;
    void (*load)(const Job *job);
    void (*feed)(const float *sample);
    void (*invoke)(void);
    int (*outputs)(void);
    float *(*output)(int index, int64_t *shape, int *rank, size_t *count); /* freed by who asks */
    int64_t shape[MOST_DIMS];
    int rank; /* of the only input; -1 without one */
    const char *provider; /* that executes every node, or NULL */
    Delegated delegated;
} Runtime;
extern const char *library_release; /* of the library opened last, or NULL */
void *library_of(const Json *site, const char *name);
void *symbol_of(void *library, const char *name);
Runtime *open_onnxruntime(const Json *site);
Runtime *open_tflite(const Json *site);
Runtime *open_null(const Json *site);
size_t elements_of(const int64_t *shape, int rank);

/* golden.c: the inputs. */
typedef struct {
    float *samples;
    size_t count, elements;
} Golden;
Golden golden_read(const Job *job, const Runtime *runtime);

/* loop.c */
typedef bool (*Give)(const int64_t *chunk, size_t count, void *with); /* true: it is enough */
extern volatile int stopped;
int64_t timed(void (*invoke)(void), int64_t runs, int64_t limit_ns, Give give, void *with, int64_t period_ns);
Golden load_and_first(const Job *job, Runtime *runtime, void (*loaded)(void));
void warm_up(const Job *job, const Runtime *runtime, bool loud);
void next_to_spool(const Job *job, const char *ending, char *path, size_t room);

/* passes: each returns how many invocations it timed. */
int64_t latency_pass(const Job *job, Runtime *runtime);
int64_t memory_pass(const Job *job, Runtime *runtime);
int64_t power_pass(const Job *job, Runtime *runtime);
int64_t profile_pass(const Job *job, Runtime *runtime);
#define MEMORY_RUNS 20

#endif

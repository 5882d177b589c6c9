/* ONNX Runtime by its C API: a table of functions that only ever grows, so that a number names one for good.
 * The timed span is Run, with the same input and outputs every time. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT32 = 1, UINT8 = 2, INT8 = 3, FLOAT16 = 10, FLOAT64 = 11 };
enum { API_VERSION = 11, CPU_ARENA = 1, DEFAULT_MEMORY = 0, ONLY_ERRORS = 3, MOST_OUTPUTS = 64 };
enum {
    GET_MESSAGE = 2, CREATE_ENV = 3, DISABLE_TELEMETRY = 6, CREATE_SESSION = 7, RUN = 9, CREATE_OPTIONS = 10,
    SET_SEVERITY = 22, SET_INTRA_THREADS = 24, SET_INTER_THREADS = 25, INPUT_COUNT = 30, OUTPUT_COUNT = 31,
    INPUT_TYPE = 33, OUTPUT_TYPE = 34, INPUT_NAME = 36, OUTPUT_NAME = 37, TENSOR_WITH_DATA = 49, TENSOR_DATA = 51,
    AS_TENSOR_INFO = 55, ELEMENT_TYPE = 60, DIMS_COUNT = 61, DIMS = 62, ELEMENT_COUNT = 64, TENSOR_INFO = 65,
    CPU_MEMORY = 69, DEFAULT_ALLOCATOR = 78,
};

typedef struct {
    const void *const *(*api)(uint32_t version);
    const char *(*version)(void);
} Base;

static const void *const *table;
static Runtime runtime;
static void *env, *session, *given, *given_back[MOST_OUTPUTS];
static char *input_name, *output_names[MOST_OUTPUTS];
static size_t output_count;
static int input_type;
static void *input_data;

/* Calls the function of that number; its error is the kind of trouble that `kind` says. */
#define CALL(kind, number, types, ...) \
    checked(kind, ((void *(*)types)(uintptr_t)table[number])(__VA_ARGS__))

static void checked(const char *kind, void *status) {
    if (status) trouble(kind, "ONNX Runtime: %s", ((const char *(*)(const void *))(uintptr_t)table[GET_MESSAGE])(status));
}

static const char *name_of(int type) {
    static const char *names[] = {"?", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool",
                                  "float16", "double", "uint32", "uint64"};
    return type > 0 && type < (int)(sizeof names / sizeof *names) ? names[type] : "unknown type";
}

static int type_of(size_t index, int number) {
    void *info;
    const void *tensor = NULL;
    int type = 0;
    CALL("load", number, (void *, size_t, void **), session, index, &info);
    CALL("load", AS_TENSOR_INFO, (void *, const void **), info, &tensor);
    if (tensor) CALL("load", ELEMENT_TYPE, (const void *, int *), tensor, &type);
    if (number != INPUT_TYPE || !tensor) return type;
    size_t rank;
    CALL("load", DIMS_COUNT, (const void *, size_t *), tensor, &rank);
    if (rank < 1 || rank > MOST_DIMS) trouble("load", "the input has %zu dimensions", rank);
    CALL("load", DIMS, (const void *, int64_t *, size_t), tensor, runtime.shape, rank);
    runtime.rank = (int)rank;
    return type;
}

static void name_all(void) {
    void *allocator;
    size_t inputs;
    CALL("load", DEFAULT_ALLOCATOR, (void **), &allocator);
    CALL("load", INPUT_COUNT, (void *, size_t *), session, &inputs);
    CALL("load", OUTPUT_COUNT, (void *, size_t *), session, &output_count);
    if (inputs != 1) trouble("load", "the artifact has %zu inputs; golden inputs are for one", inputs);
    if (output_count > MOST_OUTPUTS) trouble("load", "the artifact has %zu outputs", output_count);
    CALL("load", INPUT_NAME, (void *, size_t, void *, char **), session, (size_t)0, allocator, &input_name);
    for (size_t i = 0; i < output_count; i++) {
        CALL("load", OUTPUT_NAME, (void *, size_t, void *, char **), session, i, allocator, &output_names[i]);
        int type = type_of(i, OUTPUT_TYPE);
        if (type == INT8 || type == UINT8)
            trouble("load", "output '%s': an .onnx does not tell an %s's scale", output_names[i], name_of(type));
    }
}

static size_t size_of(int type) { return type == FLOAT32 ? 4 : type == FLOAT16 ? 2 : type == FLOAT64 ? 8 : 0; }

static void load(const Job *job) {
    void *options, *memory;
    CALL("load", CREATE_OPTIONS, (void **), &options);
    CALL("load", SET_SEVERITY, (void *, int), options, ONLY_ERRORS);
    CALL("load", SET_INTRA_THREADS, (void *, int), options, job->threads);
    CALL("load", SET_INTER_THREADS, (void *, int), options, 1);
    CALL("load", CREATE_SESSION, (const void *, const char *, const void *, void **), env, job->artifact, options, &session);
    name_all();
    input_type = type_of(0, INPUT_TYPE);
    if (runtime.shape[0] < 1) runtime.shape[0] = 1;
    for (int i = 0; i < runtime.rank; i++)
        if (runtime.shape[i] < 1 || !size_of(input_type))
            trouble("load", "input '%s': %s is no float of fixed shape", input_name, name_of(input_type));
    size_t bytes = elements_of(runtime.shape, runtime.rank) * size_of(input_type);
    input_data = calloc(1, bytes);
    if (!input_data) trouble("load", "no memory for the input");
    CALL("load", CPU_MEMORY, (int, int, void **), CPU_ARENA, DEFAULT_MEMORY, &memory);
    CALL("load", TENSOR_WITH_DATA, (const void *, void *, size_t, const int64_t *, size_t, int, void **), memory,
         input_data, bytes, runtime.shape, (size_t)runtime.rank, input_type, &given);
}

static void feed(const float *sample) {
    size_t count = elements_of(runtime.shape, runtime.rank);
    for (size_t i = 0; i < count; i++) {
        if (input_type == FLOAT32) ((float *)input_data)[i] = sample[i];
        if (input_type == FLOAT16) ((_Float16 *)input_data)[i] = (_Float16)sample[i];
        if (input_type == FLOAT64) ((double *)input_data)[i] = sample[i];
    }
}

static void invoke(void) {
    CALL("invoke", RUN,
         (void *, const void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **), session,
         NULL, (const char *const *)&input_name, &given, (size_t)1, (const char *const *)output_names, output_count, given_back);
}

static int outputs(void) { return (int)output_count; }

static float *output(int index, int64_t *shape, int *rank, size_t *count) {
    void *info, *data;
    int type = 0;
    size_t dims;
    CALL("invoke", TENSOR_INFO, (const void *, void **), given_back[index], &info);
    CALL("invoke", ELEMENT_TYPE, (const void *, int *), info, &type);
    CALL("invoke", DIMS_COUNT, (const void *, size_t *), info, &dims);
    if (dims > MOST_DIMS) trouble("invoke", "output %d has %zu dimensions", index, dims);
    if (!size_of(type)) trouble("invoke", "output %d is of %s", index, name_of(type));
    CALL("invoke", DIMS, (const void *, int64_t *, size_t), info, shape, dims);
    CALL("invoke", ELEMENT_COUNT, (const void *, size_t *), info, count);
    CALL("invoke", TENSOR_DATA, (void *, void **), given_back[index], &data);
    *rank = (int)dims;
    float *made = malloc(*count * sizeof *made + 1);
    for (size_t i = 0; made && i < *count; i++)
        made[i] = type == FLOAT32 ? ((float *)data)[i]
                : type == FLOAT16 ? (float)((_Float16 *)data)[i]
                                  : (float)((double *)data)[i];
    return made;
}

Runtime *open_onnxruntime(const Json *site) {
    void *library = library_of(site, "libonnxruntime.so");
    const Base *(*base_of)(void);
    void *found = symbol_of(library, "OrtGetApiBase");
    memcpy(&base_of, &found, sizeof found);
    const Base *base = base_of();
    table = base->api(API_VERSION);
    if (!table) trouble("runtime", "onnxruntime %s has no C API of version %d", base->version(), API_VERSION);
    CALL("runtime", CREATE_ENV, (int, const char *, void **), ONLY_ERRORS, "edgekit", &env);
    CALL("runtime", DISABLE_TELEMETRY, (const void *), env);
    runtime = (Runtime){base->version(), load, feed, invoke, outputs, output, {0}, -1, "CPUExecutionProvider", {0}};
    return &runtime;
}

/* LiteRT by the TFLite C API, which libLiteRt.so of ai-edge-litert 2.1.0 exports. The timed span is
 * TfLiteInterpreterInvoke. The few prototypes are written from the API's documentation. */
#include "runner.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLOAT32 = 1, UINT8 = 3, INT16 = 7, INT8 = 9, FLOAT16 = 10 };

typedef struct {
    float scale;
    int32_t zero_point;
} Scale;

/* TfLiteXNNPackDelegateOptions begins with the number of threads and grows with the releases. */
typedef struct {
    int32_t threads;
    char rest[1020];
} Delegation;

static struct {
    const char *(*version)(void);
    void *(*model)(const char *);
    void *(*options)(void);
    void (*set_threads)(void *, int32_t);
    void (*set_reporter)(void *, void (*)(void *, const char *, va_list), void *);
    void (*add_delegate)(void *, void *);
    Delegation (*delegation)(void);
    void *(*delegate)(const Delegation *);
    void *(*interpreter)(const void *, const void *);
    int (*allocate)(void *);
    int (*invoke)(void *);
    int32_t (*inputs)(const void *), (*outputs)(const void *);
    void *(*input)(const void *, int32_t);
    const void *(*output)(const void *, int32_t);
    int (*type)(const void *);
    int32_t (*dims)(const void *), (*dim)(const void *, int32_t);
    size_t (*bytes)(const void *);
    void *(*data)(const void *);
    Scale (*scale)(const void *);
    const char *(*name)(const void *);
} api;

/* The beginnings of TfLiteContext, TfLiteIntArray, TfLiteRegistration and TfLiteDelegate, which are public
 * and which delegates outside of LiteRT hang on. */
typedef struct {
    int size, data[];
} Numbers;

typedef struct Context {
    size_t tensors;
    int (*plan)(struct Context *, Numbers **);
    void *some[5];
    int (*node)(struct Context *, int, void **, void **);
} Context;

typedef struct {
    void *functions[5];
    int32_t builtin;
} Registration;

typedef struct Delegate {
    void *data;
    int (*prepare)(Context *, struct Delegate *);
} Delegate;

static Runtime runtime;
static int (*plain_prepare)(Context *, Delegate *);
static void *net, *input;
static char said[1000];

static void note(void *unused, const char *format, va_list values) {
    (void)unused;
    vsnprintf(said, sizeof said, format, values);
}

static size_t size_of(int type) {
    switch (type) {
    case FLOAT32: return 4;
    case FLOAT16:
    case INT16: return 2;
    case INT8:
    case UINT8: return 1;
    default: return 0;
    }
}

/* Lets the delegate take its nodes, and counts them: those that it takes become nodes with higher numbers. */
static int counting_prepare(Context *context, Delegate *delegate) {
    Numbers *plan;
    Delegated *told = &runtime.delegated;
    bool counts = context->plan(context, &plan) == 0;
    int before = counts ? plan->size : 0, highest = -1;
    for (int i = 0; i < before; i++) highest = plan->data[i] > highest ? plan->data[i] : highest;
    int result = plain_prepare(context, delegate);
    if (result != 0 || !counts || context->plan(context, &plan) != 0) return result;
    told->nodes = before;
    told->left_count = 0;
    int left = 0;
    for (int i = 0; i < plan->size; i++) {
        void *node;
        Registration *kind;
        if (plan->data[i] > highest) continue;
        left++;
        if (told->left_count < MOST_LEFT && context->node(context, plan->data[i], &node, (void **)&kind) == 0)
            told->left[told->left_count++] = kind->builtin;
    }
    told->taken = before - left;
    return result;
}

static void load(const Job *job) {
    void *options = api.options(), *model;
    if (access(job->artifact, R_OK) != 0) trouble("load", "%s: %s", job->artifact, strerror(errno));
    api.set_reporter(options, note, NULL);
    api.set_threads(options, job->threads);
    model = api.model(job->artifact);
    if (!model) trouble("load", "it is no .tflite that can be read");
    Delegation delegation = api.delegation();
    delegation.threads = job->threads;
    Delegate *delegate = api.delegate(&delegation);
    if (!delegate) trouble("load", "LiteRT can't make its XNNPACK delegate");
    plain_prepare = delegate->prepare;
    delegate->prepare = counting_prepare;
    api.add_delegate(options, delegate);
    net = api.interpreter(model, options);
    if (!net || api.allocate(net) != 0) trouble("load", "LiteRT can't prepare it: %s", *said ? said : "it does not say why");
    if (api.inputs(net) != 1) trouble("load", "the artifact has %d inputs; golden inputs are for one", api.inputs(net));
    input = api.input(net, 0);
    runtime.rank = api.dims(input);
    if (runtime.rank > MOST_DIMS) trouble("load", "the input has %d dimensions", runtime.rank);
    for (int i = 0; i < runtime.rank; i++) runtime.shape[i] = api.dim(input, i);
    int type = api.type(input);
    if (!size_of(type)) trouble("load", "input '%s' is of type %d", api.name(input), type);
    if (type != FLOAT32 && type != FLOAT16 && api.scale(input).scale == 0)
        trouble("load", "input '%s' is an integer without a scale", api.name(input));
}

static double step_of(float value, Scale scale, double low, double high) {
    double step = rint((double)value / scale.scale) + scale.zero_point;
    return step < low ? low : step > high ? high : step;
}

static void feed(const float *sample) {
    void *into = api.data(input);
    Scale scale = api.scale(input);
    int type = api.type(input);
    size_t count = api.bytes(input) / size_of(type);
    for (size_t i = 0; i < count; i++) {
        if (type == FLOAT32) ((float *)into)[i] = sample[i];
        if (type == FLOAT16) ((_Float16 *)into)[i] = (_Float16)sample[i];
        if (type == INT8) ((int8_t *)into)[i] = (int8_t)step_of(sample[i], scale, -128, 127);
        if (type == UINT8) ((uint8_t *)into)[i] = (uint8_t)step_of(sample[i], scale, 0, 255);
        if (type == INT16) ((int16_t *)into)[i] = (int16_t)step_of(sample[i], scale, -32768, 32767);
    }
}

static void invoke(void) {
    if (api.invoke(net) != 0) trouble("invoke", "LiteRT: %s", *said ? said : "it does not say why");
}

static int outputs(void) { return api.outputs(net); }

static double stored(const void *data, int type, size_t i) {
    switch (type) {
    case INT8: return ((const int8_t *)data)[i];
    case UINT8: return ((const uint8_t *)data)[i];
    case INT16: return ((const int16_t *)data)[i];
    case FLOAT16: return (double)((const _Float16 *)data)[i];
    default: return ((const float *)data)[i];
    }
}

static float *output(int index, int64_t *shape, int *rank, size_t *count) {
    const void *tensor = api.output(net, index);
    const void *data = api.data(tensor);
    Scale scale = api.scale(tensor);
    int type = api.type(tensor);
    if (!size_of(type)) trouble("invoke", "output %d is of type %d", index, type);
    *rank = api.dims(tensor);
    if (*rank > MOST_DIMS) trouble("invoke", "output %d has %d dimensions", index, *rank);
    for (int i = 0; i < *rank; i++) shape[i] = api.dim(tensor, i);
    *count = api.bytes(tensor) / size_of(type);
    float *told = malloc(*count * sizeof *told + 1);
    for (size_t i = 0; told && i < *count; i++) {
        double value = stored(data, type, i);
        bool steps = type != FLOAT32 && type != FLOAT16 && scale.scale != 0;
        told[i] = (float)(steps ? (value - scale.zero_point) * scale.scale : value);
    }
    return told;
}

Runtime *open_tflite(const Json *site) {
    void *library = library_of(site, "libLiteRt.so");
    const struct {
        const char *name;
        void *into;
    } wanted[] = {
        {"TfLiteVersion", &api.version},
        {"TfLiteModelCreateFromFile", &api.model},
        {"TfLiteInterpreterOptionsCreate", &api.options},
        {"TfLiteInterpreterOptionsSetNumThreads", &api.set_threads},
        {"TfLiteInterpreterOptionsSetErrorReporter", &api.set_reporter},
        {"TfLiteInterpreterOptionsAddDelegate", &api.add_delegate},
        {"TfLiteXNNPackDelegateOptionsDefault", &api.delegation},
        {"TfLiteXNNPackDelegateCreate", &api.delegate},
        {"TfLiteInterpreterCreate", &api.interpreter},
        {"TfLiteInterpreterAllocateTensors", &api.allocate},
        {"TfLiteInterpreterInvoke", &api.invoke},
        {"TfLiteInterpreterGetInputTensorCount", &api.inputs},
        {"TfLiteInterpreterGetOutputTensorCount", &api.outputs},
        {"TfLiteInterpreterGetInputTensor", &api.input},
        {"TfLiteInterpreterGetOutputTensor", &api.output},
        {"TfLiteTensorType", &api.type},
        {"TfLiteTensorNumDims", &api.dims},
        {"TfLiteTensorDim", &api.dim},
        {"TfLiteTensorByteSize", &api.bytes},
        {"TfLiteTensorData", &api.data},
        {"TfLiteTensorQuantizationParams", &api.scale},
        {"TfLiteTensorName", &api.name},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = symbol_of(library, wanted[i].name);
        memcpy(wanted[i].into, &found, sizeof found);
    }
    runtime = (Runtime){library_release ? library_release : api.version(), load, feed, invoke, outputs, output, {0}, -1, NULL, {0}};
    return &runtime;
}

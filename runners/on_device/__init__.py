"""What is pushed to a device: self-contained, JSON lines out, never imports edgekit.

The protocol, version 2. A program is started as `PROGRAM JOB.json PASS`, appends one JSON object a line to
the spool named in the job, flushes each, and ends. The job is one JSON object of these keys, all of them:

    protocol 2             run      the run's id (the nonce that finds the process again)
    runtime  litert | onnxruntime | coreml | null
    site     folders with the runtime's libraries, first come first
    artifact absolute path golden   absolute path of a float32 .npy, N x the artifact's input shape
    threads  count                  without its batch (or with a batch of 1), or null
    cpus     numbers of the CPUs to keep to, or [] for all
    warmup   invocations before the timed ones
    runs     how many timed invocations at most
    period_ns  from the beginning of a timed invocation to that of the next one, or 0: back to back
    max_s    seconds that the warm-up and the timed loop may each last at most
    spool    absolute path of the file to append to; each pass has its own
    watch    what the power pass samples, or null: reads {name: path}, commands {name: argv},
             period_ns (between readings), idle_ns (each of two), segment_ns, pairs (of segments)
    profile  {"runs": profiled invocations, 200 at most}, or null

PASS is "memory", "latency", "power" or "profile"; each is a process of its own. The timed loop of the latency
pass ends early when a file named like the spool, but with the ending .enough, appears. Every line has "e"
(what it tells), "pass", and "t" (CLOCK_MONOTONIC_RAW, nanoseconds):

    hello       protocol, run, pid, program ("python" | "native"), runtime, version, threads (as the runtime
                was told; 0 where that is its own affair)
    conditions  when ("before" | "during" | "after"), load1, mem_available_bytes, cpus_allowed ("0-3"),
                clusters [{cpus, governor, cur_khz, max_khz}], temperatures {zone: degrees C},
                trips {zone: {kind in the kernel's words: lowest degrees C}} (before only),
                throttled (text or null), wall_ns (CLOCK_REALTIME), canary_ns (a fixed piece of work,
                the same in all lines of a run); what can't be read is left out
    memory      phase ("baseline" before load | "loaded" | "first" | "peak"), pss_bytes, private_dirty_bytes,
                swap_bytes, file_bytes (left out where the kernel does not tell); "peak" is the largest of
                all samples of the pass, which a second thread takes while the first one loads and invokes;
                measure ("footprint" on a Mac, where pss_bytes is the process's physical footprint)
    load        ns         from opening the artifact to being ready for the first invocation
    first       ns         the first invocation
    warmup      ns [...]   the invocations before the timed ones
    placed      threads_before (the load), threads_after (the warm-up), cpus_allowed ("0-3"); not on a
                Mac. Where the runtime tells who executes the network: nodes (as below), or delegated {nodes,
                taken (by the delegate), left [numbers of builtin operators that it left]}, or providers
                [names]
    samples     ns [...]   timed invocations, in order, in chunks
    overhead    ns [...]   the same loop around a call that does nothing
    nodes       nodes [{index, kind, inputs, outputs}]: LiteRT's nodes and tensors by number, those that its
                delegates made of others too (kind "DELEGATE", after the rest); [] of other runtimes
    profiler    plain_ns [...] invocations without the profiler, profiled_ns [...] with it, resolution_ns of
                its clock; or plain_ns and unavailable (why there are no times of operators)
    cores       cpus {number: how often a working thread was seen there between profiled invocations}
    op          index, kind, name, where ("XNNPACK" | "built-in" | "delegate" | ONNX Runtime's provider),
                ns [...] by profiled invocation, inputs and outputs [types] where the runtime tells
    output      golden (index), output (index), shape, data (base64 of little-endian float32, dequantized)
    idle        when ("before" | "after" the segments), begin_ns, end_ns: nothing ran but the sampler
    segment     sampling (whether sensors were read meanwhile), begin_ns, end_ns, count (invocations),
                ns (some of their durations)
    reading     t (when it began), took_ns, raw {name: text}, errors {name: why it could not be read}
    end         reason ("done" | "limit" | "enough" | "stopped" by SIGTERM),
                count (timed invocations; in the memory pass those after the first)
    error       kind ("runtime" | "load" | "invoke" | "job" | "memory"), message; nothing follows it

Their order: memory: hello, memory baseline, load, memory loaded, first, memory first, memory peak, end.
latency: hello, conditions before, load, first, warmup, placed, conditions during, samples (with more
conditions between), conditions after, overhead, output, end. profile: hello, load, first, nodes, profiler,
cores, op of each operator in the order in which they ran, end.
power: hello, load, first, warmup, idle before, segments in the order on, off, off, on, idle after, end;
behind each the readings that came meanwhile, in the order of t. They are taken by a process of its own,
`PROGRAM --watch JOB.json PARENT`, of the Python program and a child of the
native one, which is stopped (SIGSTOP) while a segment shall run without it.
`PROGRAM --clock` prints the clock of all these times.

Inputs are the golden inputs, quantized here where the artifact's own input is; without a golden file
zeros. The timed span is the runtime's invocation alone: Interpreter.invoke() of LiteRT,
run_with_iobinding() of ONNX Runtime; in the native program TfLiteInterpreterInvoke and OrtApi.Run; Core ML's
own time of its prediction, as coremltools tells it (what is asked of Core ML beside the job stands in the
environment: EDGEKIT_COMPUTE_UNITS, EDGEKIT_REMOTE_DEVICE). The
null runtime invokes nothing and has no outputs: its samples are what the loop costs. A line is complete
when it ends with a newline; the host's side of all this is edgekit.runners.lines.
"""

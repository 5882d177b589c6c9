"""What is pushed to a device: self-contained, JSON lines out, never imports edgekit.

The protocol, version 1. A program is started as `PROGRAM JOB.json PASS`, appends one JSON object a line to the
spool named in the job, flushes each, and ends. The job is one JSON object:

    protocol 1             run      the run's id (the nonce that finds the process again)
    runtime  litert | onnxruntime | null
    site     folders with the runtime's libraries, first come first
    artifact absolute path golden   absolute path of a float32 .npy, N x input shape, or null
    threads  count         warmup   invocations before the timed ones
    runs     how many timed invocations at most
    max_s    seconds the timed loop may last at most
    spool    absolute path of the file to append to

PASS is "memory" or "latency"; each is a process of its own. Every line has "e" (what it tells), "pass", and
"t" (CLOCK_MONOTONIC_RAW, nanoseconds):

    hello       protocol, run, pid, program ("python"), runtime, version, threads (as honoured)
    conditions  when ("before" | "during" | "after"), load1, mem_available_bytes, cpus_allowed ("0-3"),
                clusters [{cpus, governor, cur_khz, max_khz}], temperatures {zone: degrees C},
                throttled (text or null); what can't be read is left out
    memory      phase ("baseline" before load | "loaded" | "first" | "peak"), pss_bytes, private_dirty_bytes,
                swap_bytes, file_bytes; "peak" is the largest of all samples of the pass
    load        ns         from opening the artifact to being ready for the first invocation
    first       ns         the first invocation
    warmup      ns [...]   the invocations before the timed ones
    samples     ns [...]   timed invocations, in order, in chunks
    output      golden (index), output (index), shape, data (base64 of little-endian float32, dequantized)
    end         reason ("done" | "limit"), count
    error       kind ("runtime" | "load" | "invoke" | "job" | "memory"), message

Inputs are the golden inputs, quantized here where the artifact's own input is; without a golden file zeros.
The timed span is the runtime's invocation alone. A line is complete when it ends with a newline.
"""

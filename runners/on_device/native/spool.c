/* Lines of JSON, appended to a file, handed to the kernel at once, on the disk within a second. A full disk keeps
 * lines waiting. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 10
#define SYNC_EVERY_NS 1000000000 /* so much a power cut may cost, where nobody has fetched it */

static struct {
    int handle;
    const char *pass;
    char *waiting;
    size_t size, room, whole; /* whole: how much of it is lines that were ended */
    int64_t synced;
} spool = {-1, "", NULL, 0, 0, 0, 0};

int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC_RAW, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

void put_raw(const char *bytes, size_t count) {
    while (spool.size + count + 1 > spool.room) {
        spool.room = spool.room ? 2 * spool.room : 1 << 16;
        spool.waiting = realloc(spool.waiting, spool.room);
        if (!spool.waiting) _exit(1);
    }
    memcpy(spool.waiting + spool.size, bytes, count);
    spool.size += count;
    spool.waiting[spool.size] = 0;
}

void put(const char *format, ...) {
    char text[LONGEST_TEXT];
    va_list values;
    va_start(values, format);
    int count = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    put_raw(text, count < (int)sizeof text ? (size_t)count : sizeof text - 1);
}

/* The length of the UTF-8 sequence at `at`, or 0 where there is none. */
static int sequence(const unsigned char *at) {
    int more = *at < 0x80 ? 0 : *at >= 0xC2 && *at < 0xE0 ? 1 : *at >= 0xE0 && *at < 0xF0 ? 2 : *at >= 0xF0 && *at < 0xF5 ? 3 : -1;
    for (int i = 1; i <= more; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if ((*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F)) return 0;
    if ((*at == 0xF0 && at[1] < 0x90) || (*at == 0xF4 && at[1] > 0x8F)) return 0;
    return more + 1;
}

void put_quoted(const char *text) {
    put_raw("\"", 1);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int length = sequence(at);
        if (*at == '"' || *at == '\\') {
            put("\\%c", *at++);
        } else if (*at < 0x20) {
            put("\\u%04x", *at++);
        } else if (!length) {
            put("\\ufffd");
            at++;
        } else {
            put_raw((const char *)at, (size_t)length);
            at += length;
        }
    }
    put_raw("\"", 1);
}

void put_text(const char *key, const char *text) {
    put(",\"%s\":", key);
    put_quoted(text);
}

void put_numbers(const char *key, const int64_t *numbers, size_t count) {
    put(",\"%s\":[", key);
    for (size_t i = 0; i < count; i++) put(i ? ",%lld" : "%lld", (long long)numbers[i]);
    put_raw("]", 1);
}

void put_bytes(const char *key, const void *bytes, size_t count) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    put(",\"%s\":\"", key);
    for (size_t i = 0; i < count; i += 3) {
        uint32_t three = (uint32_t)in[i] << 16;
        if (i + 1 < count) three |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < count) three |= in[i + 2];
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63], digits[three >> 6 & 63], digits[three & 63]};
        if (i + 1 >= count) four[2] = '=';
        if (i + 2 >= count) four[3] = '=';
        put_raw(four, 4);
    }
    put_raw("\"", 1);
}

void tell_at(const char *event, int64_t t) {
    put("{\"e\":\"%s\",\"pass\":\"%s\",\"t\":%lld", event, spool.pass, (long long)t);
}

void tell(const char *event) { tell_at(event, now_ns()); }

static void flush(void) {
    size_t written = 0;
    while (written < spool.size) {
        ssize_t count = write(spool.handle, spool.waiting + written, spool.size - written);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && (errno == ENOSPC || errno == EDQUOT)) break;
        if (count < 0) {
            perror("edgekit_runner: the spool can't be written");
            _exit(1);
        }
        written += (size_t)count;
    }
    memmove(spool.waiting, spool.waiting + written, spool.size - written);
    spool.size -= written;
    spool.whole = spool.size;
    if (now_ns() > spool.synced + SYNC_EVERY_NS) {
        fsync(spool.handle);
        spool.synced = now_ns();
    }
}

void told(void) {
    put_raw("}\n", 2);
    flush();
}

void spool_open(const char *path, const char *pass) {
    int handle = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (handle < 0) trouble("job", "the spool %s can't be opened: %s", path, strerror(errno));
    spool.handle = handle;
    spool.pass = pass;
    spool.size = spool.whole = 0; /* what waits is another process's */
    spool.synced = now_ns();
}

void spool_close(void) {
    for (int second = 0; spool.size && second < PATIENCE_S; second++) {
        sleep(1);
        flush();
    }
    fsync(spool.handle);
    if (spool.size) {
        fputs("edgekit_runner: no space left on the device for the spool\n", stderr);
        _exit(1);
    }
}

void trouble(const char *kind, const char *format, ...) {
    char text[2000];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    spool.size = spool.whole; /* a line that was begun is not told */
    if (spool.handle >= 0) {
        tell("error");
        put_text("kind", kind);
        put_text("message", text);
        told();
        spool_close();
        _exit(1);
    }
    put("{\"e\":\"error\"");
    put_text("kind", kind);
    put_text("message", text);
    put("}\n");
    fwrite(spool.waiting, 1, spool.size, stderr);
    fflush(stderr);
    _exit(2);
}

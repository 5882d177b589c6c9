/* What the device is like: clocks, temperatures, throttling, load, and how fast a fixed piece of work is. */
#include "runner.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_ZONES 64
#define MOST_TRIPS 8
#define CANARY_TIMES 5
#define CANARY_STEPS 100000

size_t read_small(const char *path, char *into, size_t room) {
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) return (size_t)-1;
    size_t size = 0;
    ssize_t count;
    while (size + 1 < room && (count = read(handle, into + size, room - 1 - size)) != 0) {
        if (count < 0) {
            close(handle);
            return (size_t)-1;
        }
        size += (size_t)count;
    }
    close(handle);
    while (size && (into[size - 1] == 0 || into[size - 1] == '\n' || into[size - 1] == ' ')) size--;
    into[size] = 0;
    return size;
}

bool read_number(const char *path, int64_t *into) {
    char text[64], *end;
    if (read_small(path, text, sizeof text) == (size_t)-1 || !*text) return false;
    *into = strtoll(text, &end, 0);
    return *end == 0;
}

bool read_field(const char *path, const char *name, char *into, size_t room) {
    char line[512];
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        *colon = 0;
        if (strcmp(line, name) != 0) continue;
        char *from = colon + 1 + strspn(colon + 1, " \t");
        from[strcspn(from, "\n")] = 0;
        snprintf(into, room, "%s", from);
        found = true;
    }
    if (file) fclose(file);
    return found;
}

int threads_now(void) {
    char text[64];
    return read_field("/proc/self/status", "Threads", text, sizeof text) ? atoi(text) : 0;
}

static void put_file(const char *key, const char *folder, const char *name, bool *more) {
    char path[512], text[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (read_small(path, text, sizeof text) == (size_t)-1 || !*text) return;
    put("%s\"%s\":", *more ? "," : "", key);
    put_quoted(text);
    *more = true;
}

static void put_clock(const char *key, const char *folder, const char *name, bool *more) {
    char path[512];
    int64_t khz;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!read_number(path, &khz) || khz < 0) return;
    put("%s\"%s\":%lld", *more ? "," : "", key, (long long)khz);
    *more = true;
}

static void put_clusters(void) {
    glob_t found;
    if (glob("/sys/devices/system/cpu/cpufreq/policy*", 0, NULL, &found) == 0) {
        put(",\"clusters\":[");
        for (size_t i = 0; i < found.gl_pathc; i++) {
            bool more = false;
            put(i ? ",{" : "{");
            put_file("cpus", found.gl_pathv[i], "affected_cpus", &more);
            put_file("governor", found.gl_pathv[i], "scaling_governor", &more);
            put_clock("cur_khz", found.gl_pathv[i], "scaling_cur_freq", &more);
            put_clock("max_khz", found.gl_pathv[i], "cpuinfo_max_freq", &more);
            put("}");
        }
        put("]");
        globfree(&found);
    }
}

/* The lowest degrees of each kind of trip point of a zone. */
static void put_trips(const char *zone, const char *name, bool *more) {
    glob_t found;
    char path[512], kinds[MOST_TRIPS][64], kind[64];
    int64_t lowest[MOST_TRIPS], value;
    size_t count = 0;
    snprintf(path, sizeof path, "%s/trip_point_*_type", zone);
    if (glob(path, 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (read_small(found.gl_pathv[i], kind, 61) == (size_t)-1 || !*kind) continue;
        snprintf(path, sizeof path, "%.*stemp", (int)strlen(found.gl_pathv[i]) - 4, found.gl_pathv[i]);
        if (!read_number(path, &value)) continue;
        size_t at = 0;
        while (at < count && strcmp(kinds[at], kind) != 0) at++;
        if (at == MOST_TRIPS) continue;
        if (at == count || value < lowest[at]) lowest[at] = value;
        if (at == count) strcpy(kinds[count++], kind);
    }
    globfree(&found);
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            put(*more ? "," : ",\"trips\":{");
            put_quoted(name);
            *more = true;
        }
        put(i ? "," : ":{");
        put_quoted(kinds[i]);
        put(":%.3f", (double)lowest[i] / 1000.0);
    }
    if (count) put("}");
}

static void put_temperatures(bool with_trips) {
    glob_t found;
    char names[MOST_ZONES][96], folders[MOST_ZONES][64];
    size_t count = 0;
    if (glob("/sys/class/thermal/thermal_zone*", 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc && count < MOST_ZONES; i++) {
        char path[512], *name = names[count];
        int64_t value;
        snprintf(path, sizeof path, "%s/temp", found.gl_pathv[i]);
        if (!read_number(path, &value)) continue;
        snprintf(path, sizeof path, "%s/type", found.gl_pathv[i]);
        if (read_small(path, name, 61) == (size_t)-1 || !*name) strcpy(name, "zone");
        put(count ? "," : ",\"temperatures\":{");
        const char *number = strstr(found.gl_pathv[i], "zone") + 4;
        bool again = false;
        for (size_t j = 0; j < count; j++) again |= strcmp(names[j], name) == 0;
        if (again) snprintf(name + strlen(name), 32, "#%s", number);
        put_quoted(name);
        put(":%.3f", (double)value / 1000.0);
        snprintf(folders[count++], sizeof *folders, "%s", found.gl_pathv[i]);
    }
    if (count) put("}");
    globfree(&found);
    bool more = false;
    for (size_t i = 0; with_trips && i < count; i++) put_trips(folders[i], names[i], &more);
    if (more) put("}");
}

static bool slows_the_cpu(const char *kind) {
    static const char *kinds[] = {"cpufreq", "thermal-cpufreq", "cpu-cluster", "Processor"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(kind, kinds[i], strlen(kinds[i])) == 0) return true;
    return false;
}

/* What holds the clock back, or did since the first look; nothing is said where nothing tells. */
static void put_throttling(void) {
    static const char *names[] = {"under-voltage", "frequency capped", "throttled", "soft temperature limit"};
    static int64_t at_first = -1;
    char text[1024] = "", path[512], kind[64];
    int64_t mask, state;
    bool tells = read_number("/sys/devices/platform/soc/soc:firmware/get_throttled", &mask);
    if (tells) {
        if (at_first < 0) at_first = mask;
        int64_t held = mask | ((mask >> 16) & ~(at_first >> 16));
        for (int bit = 0; bit < 4; bit++)
            if (held >> bit & 1) {
                if (*text) strcat(text, ", ");
                strcat(text, names[bit]);
            }
    }
    glob_t found;
    if (glob("/sys/class/thermal/cooling_device*", 0, NULL, &found) == 0) {
        tells = true;
        for (size_t i = 0; i < found.gl_pathc && strlen(text) < sizeof text - 128; i++) {
            snprintf(path, sizeof path, "%s/type", found.gl_pathv[i]);
            if (read_small(path, kind, 61) == (size_t)-1 || !slows_the_cpu(kind)) continue;
            snprintf(path, sizeof path, "%s/cur_state", found.gl_pathv[i]);
            if (!read_number(path, &state) || !state) continue;
            size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, "%s%s at step %lld", used ? ", " : "", kind, (long long)state);
        }
        globfree(&found);
    }
    if (tells && *text) put_text("throttled", text);
    if (tells && !*text) put(",\"throttled\":null");
}

static int by_size(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static int64_t canary(void) {
    int64_t times[CANARY_TIMES];
    volatile uint32_t kept = 1;
    for (int i = 0; i < CANARY_TIMES; i++) {
        uint32_t word = kept;
        int64_t start = now_ns();
        for (int step = 0; step < CANARY_STEPS; step++) {
            word ^= word << 13;
            word ^= word >> 17;
            word ^= word << 5;
        }
        kept = word | 1;
        times[i] = now_ns() - start;
    }
    qsort(times, CANARY_TIMES, sizeof *times, by_size);
    return times[CANARY_TIMES / 2];
}

void tell_conditions(const char *when) {
    char text[256];
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t sang = canary();
    tell("conditions");
    put_text("when", when);
    put(",\"wall_ns\":%lld", (long long)wall.tv_sec * 1000000000 + wall.tv_nsec);
    put(",\"canary_ns\":%lld", (long long)sang);
    if (read_small("/proc/loadavg", text, sizeof text) != (size_t)-1) put(",\"load1\":%.2f", atof(text));
    if (read_field("/proc/meminfo", "MemAvailable", text, sizeof text))
        put(",\"mem_available_bytes\":%lld", atoll(text) * 1024);
    if (read_field("/proc/self/status", "Cpus_allowed_list", text, sizeof text)) put_text("cpus_allowed", text);
    put_clusters();
    put_temperatures(strcmp(when, "before") == 0);
    put_throttling();
    told();
}

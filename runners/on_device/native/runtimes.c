/* The runtimes' own libraries, found in the folders that the host names, and the one that computes nothing. */
#include "runner.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t elements_of(const int64_t *shape, int rank) {
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
    return count;
}

/* A library's file may end with its release, which it does not always know itself: libLiteRt.so.2.1.0 */
const char *library_release = NULL;

void *library_of(const Json *site, const char *name) {
    char pattern[LONGEST_TEXT];
    const char *why = "it is in none of the site's folders";
    for (const Json *folder = site->first; folder; folder = folder->next) {
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s/%s*", folder->text, name);
        if (glob(pattern, 0, NULL, &found) != 0) continue;
        const char *path = found.gl_pathv[0], *release = path + strlen(folder->text) + 1 + strlen(name);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        library_release = *release == '.' ? strdup(release + 1) : NULL;
        globfree(&found);
        if (library) return library;
        why = dlerror();
    }
    trouble("runtime", "%s can't be opened: %s", name, why);
}

void *symbol_of(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) trouble("runtime", "the library has no %s", name);
    return found;
}

static void load_nothing(const Job *job) { (void)job; }
static void feed_nothing(const float *sample) { (void)sample; }
static void invoke_nothing(void) {}
static int no_outputs(void) { return 0; }

Runtime *open_null(const Json *site) {
    static Runtime null = {"1", load_nothing, feed_nothing, invoke_nothing, no_outputs, NULL, {0}, -1, NULL, {0}};
    (void)site;
    return &null;
}

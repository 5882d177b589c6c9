/* A small reader of JSON: the job comes from the host, and nothing of it is believed unseen. */
#include "runner.h"

#include <stdlib.h>
#include <string.h>

#define DEEPEST 16

typedef struct {
    const char *at, *why;
    int depth;
} Reader;

static Json *value_of(Reader *in);

static void *fresh(size_t size) {
    void *made = calloc(1, size);
    if (!made) trouble("job", "no memory for the job");
    return made;
}

static void spaces(Reader *in) {
    while (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r') in->at++;
}

static Json *wrong(Reader *in, const char *why) {
    if (!in->why) in->why = why;
    return NULL;
}

static int hex4(Reader *in) {
    int code = 0;
    for (int i = 0; i < 4; i++) {
        char c = *in->at;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
        in->at++;
    }
    return code;
}

static char *utf8(char *into, int code) {
    if (code < 0x80) {
        *into++ = (char)code;
    } else if (code < 0x800) {
        *into++ = (char)(0xC0 | code >> 6);
        *into++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *into++ = (char)(0xE0 | code >> 12);
        *into++ = (char)(0x80 | (code >> 6 & 63));
        *into++ = (char)(0x80 | (code & 63));
    } else {
        *into++ = (char)(0xF0 | code >> 18);
        *into++ = (char)(0x80 | (code >> 12 & 63));
        *into++ = (char)(0x80 | (code >> 6 & 63));
        *into++ = (char)(0x80 | (code & 63));
    }
    return into;
}

static char *escaped(Reader *in, char *into) {
    static const char named[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    char c = *in->at++;
    for (const char *pair = named; *pair; pair += 2)
        if (c == *pair) {
            *into++ = pair[1];
            return into;
        }
    int code = c == 'u' ? hex4(in) : -1;
    if (code >= 0xD800 && code < 0xDC00 && in->at[0] == '\\' && in->at[1] == 'u') {
        in->at += 2;
        int low = hex4(in);
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : -1;
    }
    if (code <= 0) {
        wrong(in, "a text has an escape that is none");
        return into;
    }
    return utf8(into, code);
}

static char *text_of(Reader *in) {
    char *text = fresh(strlen(in->at) + 1), *into = text;
    in->at++;
    while (*in->at && *in->at != '"' && !in->why) {
        if (*in->at == '\\') {
            in->at++;
            into = escaped(in, into);
        } else {
            *into++ = *in->at++;
        }
    }
    if (*in->at != '"') {
        wrong(in, "a text has no end");
        return text;
    }
    in->at++;
    return text;
}

static Json *number_of(Reader *in) {
    char *end;
    Json *made = fresh(sizeof *made);
    made->kind = NUMBER;
    made->number = strtod(in->at, &end);
    made->whole = strcspn(in->at, ".eE") >= (size_t)(end - in->at);
    made->integer = made->whole ? strtoll(in->at, NULL, 10) : 0;
    if (end == in->at || !strchr("-0123456789", *in->at)) return wrong(in, "a value is none");
    in->at = end;
    return made;
}

static Json *members_of(Reader *in, Kind kind, char end) {
    Json *made = fresh(sizeof *made), **last = &made->first;
    made->kind = kind;
    in->at++;
    for (spaces(in); *in->at != end; spaces(in)) {
        char *key = NULL;
        if (made->first) {
            if (*in->at++ != ',') return wrong(in, "a comma is missing");
            spaces(in);
        }
        if (kind == TABLE) {
            if (*in->at != '"') return wrong(in, "a key is missing");
            key = text_of(in);
            spaces(in);
            if (json_get(made, key)) return wrong(in, "a key stands twice");
            if (*in->at++ != ':') return wrong(in, "a colon is missing");
        }
        Json *value = value_of(in);
        if (!value) return NULL;
        value->key = key;
        *last = value;
        last = &value->next;
    }
    in->at++;
    return made;
}

static Json *word_of(Reader *in, const char *word, Kind kind, int64_t integer) {
    if (strncmp(in->at, word, strlen(word)) != 0) return wrong(in, "a value is none");
    Json *made = fresh(sizeof *made);
    made->kind = kind;
    made->integer = integer;
    in->at += strlen(word);
    return made;
}

static Json *value_of(Reader *in) {
    Json *made = NULL;
    spaces(in);
    if (++in->depth > DEEPEST) return wrong(in, "it is too deep");
    switch (*in->at) {
    case '{': made = members_of(in, TABLE, '}'); break;
    case '[': made = members_of(in, LIST, ']'); break;
    case '"':
        made = fresh(sizeof *made);
        made->kind = TEXT;
        made->text = text_of(in);
        break;
    case 't': made = word_of(in, "true", TRUTH, 1); break;
    case 'f': made = word_of(in, "false", TRUTH, 0); break;
    case 'n': made = word_of(in, "null", NOTHING, 0); break;
    default: made = number_of(in);
    }
    in->depth--;
    return in->why ? NULL : made;
}

Json *json_read(const char *text, const char **why) {
    Reader in = {text, NULL, 0};
    Json *made = value_of(&in);
    spaces(&in);
    if (made && *in.at) wrong(&in, "something follows it");
    *why = in.why;
    return in.why ? NULL : made;
}

const Json *json_get(const Json *table, const char *key) {
    for (const Json *one = table ? table->first : NULL; one; one = one->next)
        if (one->key && strcmp(one->key, key) == 0) return one;
    return NULL;
}

int json_count(const Json *list) {
    int count = 0;
    for (const Json *one = list->first; one; one = one->next) count++;
    return count;
}

/* ctl/cmd_key.c - get, set and del: one key at a time. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/key.h"
#include "ctl/output.h"
#include "lib/base/rk_percent.h"

enum {
    OPT_ENCODED = CTL_OPT_OWN,
    OPT_LEVEL,
};

#define READ_STEP 65536u

int key_parse(const char *command, const char *text, bool encoded, bool may_be_empty, struct rk_buf *ret)
{
    if (!encoded)
        rk_buf_append_str(ret, text);
    else if (rk_percent_decode(ret, rk_slice_str(text)) < 0)
        return ctl_usage(command, "\"%s\" is not percent-encoded: %% takes two hexadecimal digits", text);
    if (ret->len == 0 && !may_be_empty)
        return ctl_usage(command, "a key has at least one byte");
    if (ret->len > RK_KEY_BYTES_MAX)
        return ctl_usage(command, "a key has %u bytes at most, this one has %zu", RK_KEY_BYTES_MAX, ret->len);
    return CTL_GO_ON;
}

char *key_text(struct rk_slice key, bool encoded)
{
    struct rk_buf buf = {0};
    if (encoded)
        rk_percent_encode(&buf, key, true);
    else
        output_escape(&buf, key);
    rk_buf_append(&buf, "", 1);
    return (char *)buf.data;
}

static int key_missing(struct rk_slice key)
{
    RK_CLEANUP(rk_freep) char *text = key_text(key, false);
    return ctl_error(CTL_NOT_FOUND, NULL, "there is no key %s", text);
}

static void print_revision(uint64_t revision)
{
    if (ctl_settings.json) {
        json_t *json = json_pack("{s:I}", "revision", (json_int_t)revision);
        output_json(json);
        json_decref(json);
    } else if (ctl_settings.verbose) {
        printf("revision %llu\n", (unsigned long long)revision);
    }
}

/* ---- get ---- */

struct get_options {
    bool raw, encoded;
    enum client_level level;
};

static void get_print_json(struct rk_slice key, const struct client_value *value)
{
    json_t *json = json_object();
    output_json_bytes(json, "key", key);
    output_json_bytes(json, "value", rk_buf_slice(&value->bytes));
    json_object_set_new(json, "mod_revision", json_integer((json_int_t)value->mod_revision));
    json_object_set_new(json, "version", json_integer((json_int_t)value->version));
    output_json(json);
    json_decref(json);
}

static void get_print(const struct get_options *options, const struct client_value *value)
{
    struct rk_slice bytes = rk_buf_slice(&value->bytes);
    if (bytes.len > 0)
        fwrite(bytes.data, 1, bytes.len, stdout);
    if (!options->raw)
        putchar('\n');
    if (ctl_settings.verbose)
        fprintf(stderr, "revision %llu, version %llu\n", (unsigned long long)value->mod_revision,
                (unsigned long long)value->version);
}

static int get(const struct get_options *options, struct rk_slice key)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    struct client_value value;
    int r = client_get(client, key, options->level, &value);
    if (r == CLIENT_E_NOT_FOUND)
        return key_missing(key);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot get the key");
    if (ctl_settings.json)
        get_print_json(key, &value);
    else
        get_print(options, &value);
    rk_buf_deinit(&value.bytes);
    return CTL_OK;
}

static int get_option(int c, char **argv, struct get_options *options)
{
    switch (c) {
    case 'n':
        options->raw = true;
        return CTL_GO_ON;
    case OPT_ENCODED:
        options->encoded = true;
        return CTL_GO_ON;
    case OPT_LEVEL:
        if (!ctl_parse_level(optarg, &options->level))
            return ctl_usage("get", "--level is consistent, default or stale, not \"%s\"", optarg);
        return CTL_GO_ON;
    default:
        return ctl_option(c, argv, "get");
    }
}

int cmd_get(int argc, char **argv)
{
    static const struct option longs[] = {
        {"raw", no_argument, NULL, 'n'},
        {"encoded", no_argument, NULL, OPT_ENCODED},
        {"level", required_argument, NULL, OPT_LEVEL},
        CTL_LONG,
    };
    struct get_options options = {0};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT "n", longs, NULL)) >= 0)
        if ((r = get_option(c, argv, &options)) != CTL_GO_ON)
            return r;
    if (argc - optind != 1)
        return ctl_usage("get", "exactly one KEY is needed");
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key = {0};
    r = key_parse("get", argv[optind], options.encoded, false, &key);
    return r != CTL_GO_ON ? r : get(&options, rk_buf_slice(&key));
}

/* --- set and del
 * ------------------------------------------------------------------------------------------------------ */

/* The one option that set and del have; leaves the words from optind on. */
static int parse_encoded(int argc, char **argv, const char *command, int min, int max, bool *ret_encoded)
{
    static const struct option longs[] = {{"encoded", no_argument, NULL, OPT_ENCODED}, CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, longs, NULL)) >= 0) {
        if (c == OPT_ENCODED)
            *ret_encoded = true;
        else if ((r = ctl_option(c, argv, command)) != CTL_GO_ON)
            return r;
    }
    if (argc - optind < min)
        return ctl_usage(command, "the KEY is missing");
    if (argc - optind > max)
        return ctl_usage(command, "\"%s\" is one argument too many", argv[optind + max]);
    return CTL_GO_ON;
}

static int read_stdin(struct rk_buf *value)
{
    for (;;) {
        ssize_t n = read(STDIN_FILENO, rk_buf_reserve(value, READ_STEP), READ_STEP);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ctl_error(CTL_FAILED, NULL, "cannot read the value from standard input: %s",
                             strerror(errno));
        if (n == 0)
            return CTL_GO_ON;
        rk_buf_commit(value, (size_t)n);
        if (value->len > RK_REQUEST_BYTES_MAX)
            return ctl_error(CTL_FAILED, "Keep large data elsewhere, or split it over several keys.",
                             "the value is larger than %u KiB", RK_REQUEST_BYTES_MAX / 1024);
    }
}

static int set(struct rk_slice key, struct rk_slice value)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    uint64_t revision;
    int r = client_set(client, key, value, &revision);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot set the key");
    print_revision(revision);
    return CTL_OK;
}

int cmd_set(int argc, char **argv)
{
    bool encoded = false;
    int r = parse_encoded(argc, argv, "set", 1, 2, &encoded);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf value = {0};
    r = key_parse("set", argv[optind], encoded, false, &key);
    if (r != CTL_GO_ON)
        return r;
    const char *text = argc - optind == 2 ? argv[optind + 1] : "-";
    if (strcmp(text, "-") != 0)
        rk_buf_append_str(&value, text);
    else if ((r = read_stdin(&value)) != CTL_GO_ON)
        return r;
    return set(rk_buf_slice(&key), rk_buf_slice(&value));
}

static int del(struct rk_slice key)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    uint64_t deleted, revision;
    int r = client_delete(client, key, &deleted, &revision);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot delete the key");
    if (deleted == 0)
        return key_missing(key);
    print_revision(revision);
    return CTL_OK;
}

int cmd_del(int argc, char **argv)
{
    bool encoded = false;
    int r = parse_encoded(argc, argv, "del", 1, 1, &encoded);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key = {0};
    r = key_parse("del", argv[optind], encoded, false, &key);
    return r != CTL_GO_ON ? r : del(rk_buf_slice(&key));
}

/* ctl/cmd_keys.c - list keys, page by page: memory holds one page, however many keys there are.
 *
 * Each page is a read of its own, so a listing of several pages may mix states.
 * JSON is written as it comes for the same reason: one object around the items. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/key.h"
#include "ctl/output.h"

#define PAGE_KEYS 1000u

enum {
    OPT_LIMIT = CTL_OPT_OWN,
    OPT_VALUES,
    OPT_ENCODED,
    OPT_LEVEL,
};

struct listing {
    struct rk_buf prefix, after;
    uint32_t limit; /* 0: all */
    bool values, encoded;
    enum client_level level;
    uint64_t printed;
};

static void listing_deinit(struct listing *listing)
{
    rk_buf_deinit(&listing->prefix);
    rk_buf_deinit(&listing->after);
}

static void print_json(struct listing *listing, const struct client_page *page)
{
    if (listing->printed == 0)
        printf("{\"revision\": %llu, \"kvs\": [", (unsigned long long)page->revision);
    for (size_t i = 0; i < page->count; i++) {
        const struct client_kv *kv = &page->kvs[i];
        json_t *json = json_object();
        output_json_bytes(json, "key", kv->key);
        if (listing->values)
            output_json_bytes(json, "value", kv->value);
        json_object_set_new(json, "create_revision", json_integer((json_int_t)kv->create_revision));
        json_object_set_new(json, "mod_revision", json_integer((json_int_t)kv->mod_revision));
        json_object_set_new(json, "version", json_integer((json_int_t)kv->version));
        fputs(listing->printed + i > 0 ? ",\n  " : "\n  ", stdout);
        json_dumpf(json, stdout, JSON_COMPACT);
        json_decref(json);
    }
}

static void print_text(struct listing *listing, const struct client_page *page)
{
    static const char *const headings[] = {"KEY", "VALUE"};
    struct output_table table = {.columns = listing->values ? 2 : 1,
                                 .headings = listing->values && listing->printed == 0 ? headings : NULL};
    for (size_t i = 0; i < page->count; i++) {
        struct rk_buf value = {0};
        RK_CLEANUP(rk_freep) char *key = key_text(page->kvs[i].key, listing->encoded);
        output_escape(&value, page->kvs[i].value);
        rk_buf_append(&value, "", 1);
        output_table_add(&table, (const char *const[]){key, (const char *)value.data});
        rk_buf_deinit(&value);
    }
    output_table_print(&table);
    output_table_deinit(&table);
}

/* One page; *ret_more says whether another should follow. */
static int list_page(struct client *client, struct listing *listing, bool *ret_more)
{
    struct client_range range = {
        .prefix = rk_buf_slice(&listing->prefix),
        .after = rk_buf_slice(&listing->after),
        .limit = PAGE_KEYS,
        .keys_only = !listing->values,
        .level = listing->level,
    };
    if (listing->limit > 0)
        range.limit = (uint32_t)rk_min_u64(PAGE_KEYS, listing->limit - listing->printed);
    struct client_page page;
    int r = client_range(client, &range, &page);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot list the keys");
    if (ctl_settings.json)
        print_json(listing, &page);
    else
        print_text(listing, &page);
    listing->printed += page.count;
    *ret_more = page.more;
    if (page.count > 0) {
        rk_buf_clear(&listing->after);
        rk_buf_append_slice(&listing->after, page.kvs[page.count - 1].key);
    }
    client_page_deinit(&page);
    return CTL_OK;
}

static int list(struct listing *listing)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    bool more = true;
    while (more && (listing->limit == 0 || listing->printed < listing->limit)) {
        int r = list_page(client, listing, &more);
        if (r != CTL_OK)
            return r;
        if (ferror(stdout))
            return CTL_FAILED; /* output_finish() says why */
    }
    if (ctl_settings.json)
        printf("%s], \"more\": %s}\n", listing->printed > 0 ? "\n" : "", more ? "true" : "false");
    return CTL_OK;
}

static int option(int c, char **argv, struct listing *listing)
{
    switch (c) {
    case OPT_LIMIT:
        if (!ctl_parse_number(optarg, UINT32_MAX, &listing->limit))
            return ctl_usage("keys", "--limit takes a number from 1 on, not \"%s\"", optarg);
        return CTL_GO_ON;
    case OPT_VALUES:
        listing->values = true;
        return CTL_GO_ON;
    case OPT_ENCODED:
        listing->encoded = true;
        return CTL_GO_ON;
    case OPT_LEVEL:
        if (!ctl_parse_level(optarg, &listing->level))
            return ctl_usage("keys", "--level is consistent, default or stale, not \"%s\"", optarg);
        return CTL_GO_ON;
    default:
        return ctl_option(c, argv, "keys");
    }
}

int cmd_keys(int argc, char **argv)
{
    static const struct option longs[] = {
        {"limit", required_argument, NULL, OPT_LIMIT},
        {"values", no_argument, NULL, OPT_VALUES},
        {"encoded", no_argument, NULL, OPT_ENCODED},
        {"level", required_argument, NULL, OPT_LEVEL},
        CTL_LONG,
    };
    RK_CLEANUP(listing_deinit) struct listing listing = {0};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, longs, NULL)) >= 0)
        if ((r = option(c, argv, &listing)) != CTL_GO_ON)
            return r;
    if (argc - optind > 1)
        return ctl_usage("keys", "\"%s\" is one argument too many", argv[optind + 1]);
    r = key_parse("keys", optind < argc ? argv[optind] : "", listing.encoded, true, &listing.prefix);
    return r != CTL_GO_ON ? r : list(&listing);
}

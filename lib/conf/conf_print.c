/* lib/conf/conf_print.c - the values in the syntax of the file, the sample file, and what a reload cannot
 * change. */
#include "config.h" /* _GNU_SOURCE */

#include "lib/conf/conf_private.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 100u

static void put_quoted(struct rk_buf *out, const char *text)
{
    rk_buf_append_str(out, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            rk_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            rk_buf_printf(out, "\\x%02x", c);
        else
            rk_buf_append(out, text, 1);
    }
    rk_buf_append_str(out, "\"");
}

static void put_list(struct rk_buf *out, const struct conf *conf)
{
    rk_buf_append_str(out, "[");
    for (uint32_t i = 0; i < conf->initial_member_count; i++) {
        rk_buf_append_str(out, i > 0 ? ", " : " ");
        put_quoted(out, conf->initial_members[i]);
    }
    rk_buf_append_str(out, " ]");
}

static void put_value(struct rk_buf *out, const struct conf *conf, const struct conf_entry *entry)
{
    switch (entry->kind) {
    case CONF_INTEGER:
        rk_buf_printf(out, "%u", *conf_integer(conf, entry));
        break;
    case CONF_BOOLEAN:
        rk_buf_append_str(out, *conf_boolean(conf, entry) ? "true" : "false");
        break;
    case CONF_STRING:
        put_quoted(out, *conf_strings(conf, entry));
        break;
    case CONF_LIST:
        put_list(out, conf);
        break;
    }
}

static bool list_equal(const struct conf *a, const struct conf *b)
{
    if (a->initial_member_count != b->initial_member_count)
        return false;
    for (uint32_t i = 0; i < a->initial_member_count; i++)
        if (strcmp(a->initial_members[i], b->initial_members[i]) != 0)
            return false;
    return true;
}

static bool value_equal(const struct conf *a, const struct conf *b, const struct conf_entry *entry)
{
    switch (entry->kind) {
    case CONF_INTEGER:
        return *conf_integer(a, entry) == *conf_integer(b, entry);
    case CONF_BOOLEAN:
        return *conf_boolean(a, entry) == *conf_boolean(b, entry);
    case CONF_STRING:
        return strcmp(*conf_strings(a, entry), *conf_strings(b, entry)) == 0;
    case CONF_LIST:
        return list_equal(a, b);
    }
    return false;
}

/* The defaults as they are for these values: two of them follow from other options. */
static void defaults_beside(const struct conf *conf, struct conf *ret)
{
    conf_set_defaults(ret);
    free(ret->peer.advertise);
    ret->peer.advertise = conf_default_peer_advertise(conf);
    free(ret->client.advertise);
    ret->client.advertise = conf_default_client_advertise(conf);
}

static void print_group(const struct conf *conf, const struct conf *defaults, const char *group,
                        struct rk_buf *out)
{
    const char *indent = group[0] ? "    " : "";
    if (group[0])
        rk_buf_printf(out, "%s: {\n", group);
    for (size_t i = 0; i < conf_entry_count; i++) {
        const struct conf_entry *entry = &conf_entries[i];
        if (!conf_entry_in(entry, group))
            continue;
        rk_buf_printf(out, "%s%s = ", indent, conf_entry_leaf(entry));
        put_value(out, conf, entry);
        rk_buf_append_str(out, value_equal(conf, defaults, entry) ? "; # default\n" : ";\n");
    }
    if (group[0])
        rk_buf_append_str(out, "};\n");
}

void conf_print(const struct conf *conf, struct rk_buf *out)
{
    struct conf defaults;
    defaults_beside(conf, &defaults);
    print_group(conf, &defaults, "", out);
    for (size_t i = 0; i < conf_group_count; i++)
        print_group(conf, &defaults, conf_groups[i].name, out);
    conf_deinit(&defaults);
}

/* ---- the sample -------------------------------------------------------------- */

/* A comment of several lines, broken between words. */
static void put_comment(struct rk_buf *out, const char *indent, const char *text)
{
    size_t room = COLUMNS - strlen(indent) - 2;
    while (*text) {
        size_t len = strlen(text);
        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ')
                len--;
            if (len == 0) /* one word longer than a line */
                len = strcspn(text, " ");
        }
        rk_buf_printf(out, "%s# %.*s\n", indent, (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

static void put_facts(struct rk_buf *out, const char *indent, size_t index)
{
    struct conf_option option;
    conf_option_get(index, &option);
    RK_CLEANUP(rk_freep) char *range = NULL;
    if (conf_entries[index].kind == CONF_INTEGER)
        range = rk_asprintf(" from %u to %u", conf_entries[index].min, conf_entries[index].max);
    const char *quote = conf_entries[index].kind == CONF_STRING && conf_entries[index].initial ? "\"" : "";
    RK_CLEANUP(rk_freep)
    char *facts = rk_asprintf("Type: %s%s. Default: %s%s%s.", option.type, range ? range : "", quote,
                              option.default_text, quote);
    put_comment(out, indent, facts);
}

static void sample_entry(struct rk_buf *out, const char *indent, size_t index)
{
    const struct conf_entry *entry = &conf_entries[index];
    const char *value = entry->example ? entry->example : entry->initial;
    const char *open = entry->kind == CONF_STRING ? "\"" : entry->kind == CONF_LIST ? "[ " : "";
    const char *close = entry->kind == CONF_STRING ? "\"" : entry->kind == CONF_LIST ? " ]" : "";
    rk_buf_append_str(out, "\n");
    put_comment(out, indent, entry->help);
    put_facts(out, indent, index);
    rk_buf_printf(out, "%s#%s = %s%s%s;\n", indent, conf_entry_leaf(entry), open, value, close);
}

static void sample_group(struct rk_buf *out, const char *group)
{
    for (size_t i = 0; i < conf_entry_count; i++)
        if (conf_entry_in(&conf_entries[i], group))
            sample_entry(out, group[0] ? "    " : "", i);
}

void conf_sample(struct rk_buf *out)
{
    put_comment(out, "",
                "raftkv.conf - the configuration of raftkvd; see raftkv.conf(5). Options that stand behind a "
                "# are not "
                "in force: remove the # to set one. \"raftkvd --print-config\" tells what is wrong with the "
                "file, or what it means.");
    sample_group(out, "");
    for (size_t i = 0; i < conf_group_count; i++) {
        rk_buf_append_str(out, "\n");
        put_comment(out, "", conf_groups[i].help);
        rk_buf_printf(out, "%s: {", conf_groups[i].name);
        sample_group(out, conf_groups[i].name);
        rk_buf_append_str(out, "};\n");
    }
}

/* ---- reload ------------------------------------------------------------------ */

unsigned conf_changes_needing_restart(const struct conf *running, const struct conf *loaded,
                                      struct rk_buf *out)
{
    unsigned count = 0;
    for (size_t i = 0; i < conf_entry_count; i++) {
        const struct conf_entry *entry = &conf_entries[i];
        if (entry->live || value_equal(running, loaded, entry))
            continue;
        rk_buf_printf(out, "%s changes from ", entry->path);
        put_value(out, running, entry);
        rk_buf_append_str(out, " to ");
        put_value(out, loaded, entry);
        rk_buf_append_str(out, " at the next start only\n");
        count++;
    }
    return count;
}

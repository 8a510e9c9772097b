/* lib/conf/conf_load.c - from the file's text to struct conf, with every problem told.
 *
 * libconfig turns text into a tree of settings; the tree is then walked against
 * the table. Four things are looked at before libconfig sees the text, since it
 * has no way to refuse them: it would open whatever file @include names, would
 * stop in silence at a zero byte, cuts large numbers to 32 bits, and has no
 * bound on size.
 *
 * The walk goes on after a problem, so that one run tells all of them. Nothing
 * reaches the caller's struct unless there was none. */
#include "config.h" /* _GNU_SOURCE */

#include "lib/conf/conf_private.h"

#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/rk_file.h"

static void problem_put(struct conf_report *report, unsigned line, const char *fmt, va_list args)
{
    char text[1024]; /* longer ones are cut: what they quote comes from the file */
    vsnprintf(text, sizeof(text), fmt, args);
    if (line > 0)
        rk_buf_printf(report->problems, "%s:%u: %s\n", report->file, line, text);
    else
        rk_buf_printf(report->problems, "%s: %s\n", report->file, text);
    report->count++;
}

void conf_problem(struct conf_report *report, unsigned line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    problem_put(report, line, fmt, args);
    va_end(args);
}

void conf_problem_at(struct conf_report *report, size_t entry, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    problem_put(report, report->line[entry], fmt, args);
    va_end(args);
    report->bad[entry] = true;
}

/* ---- before libconfig -------------------------------------------------------- */

/* Where a comment or a string that starts at i ends (the index behind it), or i itself. */
static size_t skip_quoted(const char *text, size_t i)
{
    if (text[i] == '#' || (text[i] == '/' && text[i + 1] == '/'))
        return i + strcspn(text + i, "\n");
    if (text[i] == '/' && text[i + 1] == '*') {
        const char *end = strstr(text + i + 2, "*/");
        return end ? (size_t)(end + 2 - text) : strlen(text);
    }
    if (text[i] != '"')
        return i;
    for (i++; text[i] != '\0' && text[i] != '"'; i++)
        if (text[i] == '\\' && text[i + 1] != '\0')
            i++;
    return text[i] == '"' ? i + 1 : i;
}

static unsigned line_of(const char *text, size_t at)
{
    unsigned line = 1;
    for (size_t i = 0; i < at; i++)
        line += text[i] == '\n';
    return line;
}

/* libconfig 1.5 keeps the low 32 bits of a larger number; no option takes one that large. */
static size_t check_number(struct conf_report *report, const char *text, size_t i)
{
    size_t len = strspn(text + i, "0123456789"), zeros = strspn(text + i, "0");
    if (len - zeros > 10 || strtoull(text + i, NULL, 10) > INT32_MAX)
        conf_problem(report, line_of(text, i), "the number %.*s%s is larger than any option takes",
                     len > 20 ? 20 : (int)len, text + i, len > 20 ? "..." : "");
    return i + len;
}

/* Outside of comments and strings the only use of @ is an include. */
static void check_tokens(struct conf_report *report, const char *text)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*";
    static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*-_0123456789";
    for (size_t i = 0; text[i] != '\0';) {
        size_t end = skip_quoted(text, i);
        if (end > i) {
            i = end;
        } else if (strchr(word, text[i])) {
            i += strspn(text + i, more);
        } else if (text[i] >= '0' && text[i] <= '9') {
            i = check_number(report, text, i);
        } else {
            if (text[i] == '@')
                conf_problem(report, line_of(text, i),
                             "@include is not supported: write all options into this one file");
            i++;
        }
    }
}

static bool text_is_sane(struct conf_report *report, struct rk_slice text, const char *terminated)
{
    if (text.len > CONF_FILE_BYTES_MAX)
        conf_problem(report, 0, "the file is larger than %u bytes: is it a configuration?",
                     CONF_FILE_BYTES_MAX);
    else if (strlen(terminated) != text.len)
        conf_problem(report, line_of(terminated, strlen(terminated)),
                     "there is a zero byte here: the file must be plain text");
    else
        check_tokens(report, terminated);
    return report->count == 0;
}

/* ---- the walk ---------------------------------------------------------------- */

static const char *type_name(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return "an integer";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    default:
        return "a list";
    }
}

static void wrong_type(struct conf_report *report, size_t at, const config_setting_t *setting,
                       const char *wanted, const char *example)
{
    conf_problem_at(report, at, "%s must be %s, but is %s here: write %s = %s;", conf_entries[at].path,
                    wanted, type_name(setting), conf_entry_leaf(&conf_entries[at]), example);
}

static void read_integer(struct conf_report *report, size_t at, const config_setting_t *setting,
                         struct conf *conf)
{
    const struct conf_entry *entry = &conf_entries[at];
    int type = config_setting_type(setting);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
        wrong_type(report, at, setting, "an integer", entry->initial);
        return;
    }
    /* libconfig cuts hexadecimal numbers to 32 bits without a word. */
    if (config_setting_get_format(setting) == CONFIG_FORMAT_HEX) {
        conf_problem_at(report, at, "%s must be written as a decimal number", entry->path);
        return;
    }
    long long value = config_setting_get_int64(setting);
    if (value < (long long)entry->min || value > (long long)entry->max) {
        conf_problem_at(report, at, "%s is %lld, but must be from %u to %u", entry->path, value, entry->min,
                        entry->max);
        return;
    }
    *conf_integer(conf, entry) = (uint32_t)value;
}

static void read_boolean(struct conf_report *report, size_t at, const config_setting_t *setting,
                         struct conf *conf)
{
    if (config_setting_type(setting) == CONFIG_TYPE_BOOL)
        *conf_boolean(conf, &conf_entries[at]) = config_setting_get_bool(setting) != 0;
    else
        wrong_type(report, at, setting, "true or false", conf_entries[at].initial);
}

static void read_string(struct conf_report *report, size_t at, const config_setting_t *setting,
                        struct conf *conf)
{
    const struct conf_entry *entry = &conf_entries[at];
    const char *text = config_setting_get_string(setting);
    if (config_setting_type(setting) != CONFIG_TYPE_STRING || !text) {
        RK_CLEANUP(rk_freep)
        char *example = rk_asprintf("\"%s\"", entry->example ? entry->example : entry->initial);
        wrong_type(report, at, setting, "a string in double quotes", example);
        return;
    }
    conf_check_string(report, at, config_setting_source_line(setting), text);
    char **to = conf_strings(conf, entry);
    free(*to);
    *to = rk_strdup(text);
}

static bool read_list_element(struct conf_report *report, size_t at, const config_setting_t *element,
                              char **ret)
{
    const char *text = config_setting_get_string(element);
    if (config_setting_type(element) != CONFIG_TYPE_STRING || !text) {
        wrong_type(report, at, element, "a list of strings", "[ \"node1=node1.example:2380\" ]");
        return false;
    }
    conf_check_string(report, at, config_setting_source_line(element), text);
    *ret = rk_strdup(text);
    return true;
}

static void read_list(struct conf_report *report, size_t at, const config_setting_t *setting,
                      struct conf *conf)
{
    const struct conf_entry *entry = &conf_entries[at];
    if (!config_setting_is_array(setting) && !config_setting_is_list(setting)) {
        wrong_type(report, at, setting, "a list of strings", "[ \"node1=node1.example:2380\" ]");
        return;
    }
    int count = config_setting_length(setting);
    if (count > (int)CONF_INITIAL_MEMBERS_MAX) {
        conf_problem_at(report, at, "%s has %d entries, but may have %u at most", entry->path, count,
                        CONF_INITIAL_MEMBERS_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        const config_setting_t *element = config_setting_get_elem(setting, (unsigned)i);
        if (read_list_element(report, at, element, &conf->initial_members[conf->initial_member_count]))
            conf->initial_member_count++;
    }
}

static void read_entry(struct conf_report *report, size_t at, const config_setting_t *setting,
                       struct conf *conf)
{
    report->line[at] = config_setting_source_line(setting);
    switch (conf_entries[at].kind) {
    case CONF_INTEGER:
        read_integer(report, at, setting, conf);
        break;
    case CONF_BOOLEAN:
        read_boolean(report, at, setting, conf);
        break;
    case CONF_STRING:
        read_string(report, at, setting, conf);
        break;
    case CONF_LIST:
        read_list(report, at, setting, conf);
        break;
    }
}

static bool is_group_name(const char *name)
{
    for (size_t i = 0; i < conf_group_count; i++)
        if (strcmp(conf_groups[i].name, name) == 0)
            return true;
    return false;
}

/* Members of the root (group "") or of one known group; groups do not nest further. */
static void read_group(struct conf_report *report, const config_setting_t *group, const char *group_name,
                       struct conf *conf)
{
    int count = config_setting_length(group);
    for (int i = 0; i < count; i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(setting);
        RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s%s%s", group_name, group_name[0] ? "." : "", name);
        size_t at = conf_entry_find(path);
        if (at < conf_entry_count) {
            read_entry(report, at, setting, conf);
        } else if (group_name[0] == '\0' && is_group_name(name)) {
            if (config_setting_is_group(setting))
                read_group(report, setting, name, conf);
            else
                conf_problem(report, config_setting_source_line(setting),
                             "%s is a group: write its options as %s: { name = value; };", name, name);
        } else {
            RK_CLEANUP(rk_freep) char *hint = conf_suggest(group_name, name);
            conf_problem(report, config_setting_source_line(setting), "%s is no option%s", path, hint);
        }
    }
}

static void tell_syntax(struct conf_report *report, const config_t *tree)
{
    const char *text = config_error_text(tree) ? config_error_text(tree) : "cannot be read";
    unsigned line = config_error_line(tree) > 0 ? (unsigned)config_error_line(tree) : 0;
    const char *hint = ": settings are written name = value; and groups name: { ... };"
                       " look for what is missing here or on the line before";
    if (strstr(text, "duplicate"))
        hint = ": the same name stands twice; remove one of the two";
    conf_problem(report, line, "%s%s", text, hint);
}

static void read_text(struct conf_report *report, const char *text, struct conf *conf)
{
    config_t tree;
    config_init(&tree);
    if (config_read_string(&tree, text) == CONFIG_TRUE)
        read_group(report, config_root_setting(&tree), "", conf);
    else
        tell_syntax(report, &tree);
    config_destroy(&tree);
}

/* An option that is there but empty is as good as one that is not there. */
static void fill_computed(struct conf *conf)
{
    if (!conf->peer.advertise[0]) {
        free(conf->peer.advertise);
        conf->peer.advertise = conf_default_peer_advertise(conf);
    }
    if (!conf->client.advertise[0]) {
        free(conf->client.advertise);
        conf->client.advertise = conf_default_client_advertise(conf);
    }
}

int conf_parse(const char *label, struct rk_slice text, struct conf *ret, struct rk_buf *ret_problems)
{
    RK_CLEANUP(rk_freep) char *terminated = rk_new0(text.len + 1, 1);
    if (text.len > 0)
        memcpy(terminated, text.data, text.len);
    struct conf_report report = {.file = label, .problems = ret_problems};
    if (!text_is_sane(&report, text, terminated))
        return -EINVAL;
    struct conf conf;
    conf_set_defaults(&conf);
    read_text(&report, terminated, &conf);
    conf_check(&report, &conf);
    if (report.count > 0) {
        conf_deinit(&conf);
        return -EINVAL;
    }
    fill_computed(&conf);
    *ret = conf;
    return 0;
}

int conf_load(const char *path, struct conf *ret, struct rk_buf *ret_problems)
{
    if (!path)
        return conf_parse("built-in defaults", rk_slice(NULL, 0), ret, ret_problems);
    struct rk_buf text = {0};
    int r = rk_file_read(path, CONF_FILE_BYTES_MAX, &text);
    if (r < 0) {
        struct conf_report report = {.file = path, .problems = ret_problems};
        conf_problem(&report, 0, "cannot be read: %s", strerror(-r));
        return r;
    }
    r = conf_parse(path, rk_buf_slice(&text), ret, ret_problems);
    rk_buf_deinit(&text);
    return r;
}

/* ctl/option.c - the options that every command takes, and the parsing of arguments. */
#include "ctl/ctl.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/output.h"

struct ctl_settings ctl_settings;

int ctl_usage(const char *command, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    RK_CLEANUP(rk_freep) char *safe = output_safe(text);
    fprintf(stderr, "raftkvctl: %s\n", safe);
    ctl_usage_lines(command);
    return CTL_USAGE;
}

/* getopt leaves the letter in optopt for a short option, and for a long one only the word before optind. */
static int mistake(int c, char **argv, const char *command)
{
    const char *word = argv[optind - 1];
    bool is_long = strncmp(word, "--", 2) == 0;
    char letter[3] = {'-', (char)optopt, '\0'};
    const char *name = is_long ? word : letter;
    if (c == ':')
        return ctl_usage(command, "the option %s needs an argument", name);
    if (is_long && optopt != 0)
        return ctl_usage(command, "the option %s takes no argument", name);
    return ctl_usage(command, "there is no option %s (put -- before an argument that begins with -)", name);
}

int ctl_option(int c, char **argv, const char *command)
{
    switch (c) {
    case CTL_OPT_SOCKET:
        ctl_settings.socket = optarg;
        return CTL_GO_ON;
    case CTL_OPT_JSON:
        ctl_settings.json = true;
        return CTL_GO_ON;
    case 'v':
        ctl_settings.verbose = true;
        return CTL_GO_ON;
    case CTL_OPT_TIMEOUT:
        if (!ctl_parse_seconds(optarg, &ctl_settings.timeout_ms))
            return ctl_usage(command, "--timeout takes seconds, from 0.05 to 86400, not \"%s\"", optarg);
        return CTL_GO_ON;
    case 'h':
        ctl_help(command);
        return CTL_OK;
    default:
        return mistake(c, argv, command);
    }
}

int ctl_options_only(int argc, char **argv, const char *command, int min, int max)
{
    static const struct option options[] = {CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, options, NULL)) >= 0)
        if ((r = ctl_option(c, argv, command)) != CTL_GO_ON)
            return r;
    if (argc - optind < min)
        return ctl_usage(command, "an argument is missing");
    if (argc - optind > max)
        return ctl_usage(command, "\"%s\" is one argument too many", argv[optind + max]);
    return CTL_GO_ON;
}

bool ctl_parse_level(const char *text, enum client_level *ret)
{
    static const char *const names[] = {
        [CLIENT_LEVEL_CONSISTENT] = "consistent",
        [CLIENT_LEVEL_DEFAULT] = "default",
        [CLIENT_LEVEL_STALE] = "stale",
    };
    for (size_t i = 0; i < RK_ARRAY_LEN(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = (enum client_level)i;
            return true;
        }
    }
    return false;
}

bool ctl_parse_number(const char *text, uint32_t max, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno != 0 || value == 0 || value > max)
        return false;
    *ret = (uint32_t)value;
    return true;
}

bool ctl_parse_seconds(const char *text, uint32_t *ret_ms)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !isfinite(seconds) || seconds < 0.05 || seconds > 86400)
        return false;
    *ret_ms = (uint32_t)(seconds * 1000);
    return true;
}

bool ctl_address_good(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint32_t port;
    if (!colon || colon == text || strlen(text) > RK_ADDRESS_BYTES_MAX ||
        !ctl_parse_number(colon + 1, 65535, &port))
        return false;
    if (text[0] == '[')
        return colon[-1] == ']' && colon - text > 2;
    return memchr(text, ':', (size_t)(colon - text)) == NULL; /* an IPv6 address needs its brackets */
}

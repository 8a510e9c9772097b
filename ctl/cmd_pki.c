/* ctl/cmd_pki.c - raftkvctl pki: an authority, certificates of members and clients, and what they say. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ctl/pki.h"

enum pki_option_key {
    OPT_NAME = CTL_OPT_OWN,
    OPT_DAYS,
    OPT_CA,
    OPT_HOST,
    OPT_IP,
    OPT_CLIENT,
};

static int help(void)
{
    fputs(
        "Usage: raftkvctl pki init [--name NAME] [--days N] DIR\n"
        "  Makes an authority in DIR: ca.key, which signs and stays in a safe place, and ca.crt.\n"
        "      --name NAME   its name (raftkv CA)\n"
        "      --days N      how long it is valid (3650)\n"
        "\n"
        "Usage: raftkvctl pki issue --ca DIR --name NAME [--host HOST] [--ip IP] [--days N] [--client] OUT\n"
        "  Makes NAME.key and NAME.crt in the directory OUT, and a copy of ca.crt.\n"
        "      --ca DIR      the authority's directory\n"
        "      --name NAME   the member's name in raftkv.conf, or the client's user name\n"
        "      --host HOST   a host name of the member; may be repeated\n"
        "      --ip IP       an address of the member; may be repeated\n"
        "      --days N      how long it is valid (825)\n"
        "      --client      for a client: no good for the peer port\n"
        "\n"
        "Usage: raftkvctl pki show FILE ...\n"
        "  Shows the certificates in the files: names, use, dates and fingerprint.\n"
        "\n"
        "Existing files are never overwritten.\n",
        stdout);
    return CTL_OK;
}

/* ctl_option() for a command that prints the help of all three. */
static int other_option(int c, char **argv)
{
    return c == 'h' ? help() : ctl_option(c, argv, "pki");
}

static int failed(char *error, const char *advice)
{
    int r = ctl_error(CTL_FAILED, advice, "%s", error);
    free(error);
    return r;
}

static int parse_days(const char *text, uint32_t *ret)
{
    if (ctl_parse_number(text, PKI_DAYS_MAX, ret))
        return CTL_GO_ON;
    return ctl_usage("pki", "--days takes a number from 1 to %u, not \"%s\"", PKI_DAYS_MAX, text);
}

static int one_word(int argc, char **argv, const char *what, const char **ret)
{
    if (optind == argc)
        return ctl_usage("pki", "%s is missing", what);
    if (argc - optind > 1)
        return ctl_usage("pki", "\"%s\" is one argument too many", argv[optind + 1]);
    if (argv[optind][0] == '\0')
        return ctl_usage("pki", "%s is empty", what);
    *ret = argv[optind];
    return CTL_GO_ON;
}

/* Tells what was made: a JSON object of paths, or a line each. The last word of a path follows dir. */
static void tell(const char *dir, const char *name, bool with_ca)
{
    RK_CLEANUP(rk_freep) char *key = rk_asprintf("%s/%s.key", dir, name);
    RK_CLEANUP(rk_freep) char *certificate = rk_asprintf("%s/%s.crt", dir, name);
    RK_CLEANUP(rk_freep) char *ca = rk_asprintf("%s/ca.crt", dir);
    if (ctl_settings.json) {
        json_t *json = json_pack("{s:s*, s:s*, s:s*}", "key", key, "certificate", certificate, "ca", ca);
        output_json(json);
        json_decref(json);
        return;
    }
    RK_CLEANUP(rk_freep) char *safe_key = output_safe(key);
    RK_CLEANUP(rk_freep) char *safe_certificate = output_safe(certificate);
    RK_CLEANUP(rk_freep) char *safe_ca = output_safe(ca);
    printf("Made %s (keep it secret) and %s\n", safe_key, safe_certificate);
    if (with_ca)
        printf("The authority's certificate is beside them: %s\n", safe_ca);
}

/* ---- init -------------------------------------------------------------------- */

static int parse_init(int argc, char **argv, struct pki_ca_request *request)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, OPT_NAME}, {"days", required_argument, NULL, OPT_DAYS}, CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, options, NULL)) >= 0) {
        r = CTL_GO_ON;
        if (c == OPT_NAME)
            request->name = optarg;
        else if (c == OPT_DAYS)
            r = parse_days(optarg, &request->days);
        else
            r = other_option(c, argv);
        if (r != CTL_GO_ON)
            return r;
    }
    return one_word(argc, argv, "DIR", &request->dir);
}

static int pki_command_init(int argc, char **argv)
{
    struct pki_ca_request request = {.name = "raftkv CA", .days = PKI_CA_DAYS_DEFAULT};
    int r = parse_init(argc, argv, &request);
    if (r != CTL_GO_ON)
        return r;
    char *error = NULL;
    if (pki_init(&request, &error) < 0)
        return failed(error, NULL);
    tell(request.dir, "ca", false);
    return CTL_OK;
}

/* ---- issue ------------------------------------------------------------------- */

static int add_name(const char **names, size_t *count, const char *option)
{
    if (*count == PKI_NAMES_MAX)
        return ctl_usage("pki", "%s can be given %u times at most", option, PKI_NAMES_MAX);
    names[(*count)++] = optarg;
    return CTL_GO_ON;
}

static int issue_option(int c, char **argv, struct pki_request *request)
{
    switch (c) {
    case OPT_CA:
        request->ca_dir = optarg;
        return CTL_GO_ON;
    case OPT_NAME:
        request->name = optarg;
        return CTL_GO_ON;
    case OPT_HOST:
        return add_name(request->hosts, &request->host_count, "--host");
    case OPT_IP:
        return add_name(request->ips, &request->ip_count, "--ip");
    case OPT_DAYS:
        return parse_days(optarg, &request->days);
    case OPT_CLIENT:
        request->client = true;
        return CTL_GO_ON;
    default:
        return other_option(c, argv);
    }
}

static int parse_issue(int argc, char **argv, struct pki_request *request)
{
    static const struct option options[] = {{"ca", required_argument, NULL, OPT_CA},
                                            {"name", required_argument, NULL, OPT_NAME},
                                            {"host", required_argument, NULL, OPT_HOST},
                                            {"ip", required_argument, NULL, OPT_IP},
                                            {"days", required_argument, NULL, OPT_DAYS},
                                            {"client", no_argument, NULL, OPT_CLIENT},
                                            CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, options, NULL)) >= 0)
        if ((r = issue_option(c, argv, request)) != CTL_GO_ON)
            return r;
    if (!request->ca_dir)
        return ctl_usage("pki", "--ca DIR is missing: the authority made by raftkvctl pki init");
    if (!request->name)
        return ctl_usage("pki", "--name NAME is missing");
    return one_word(argc, argv, "OUT", &request->out);
}

static int pki_command_issue(int argc, char **argv)
{
    struct pki_request request = {.days = PKI_ISSUE_DAYS_DEFAULT};
    int r = parse_issue(argc, argv, &request);
    if (r != CTL_GO_ON)
        return r;
    char *error = NULL;
    if (pki_issue(&request, &error) < 0)
        return failed(error, NULL);
    tell(request.out, request.name, true);
    return CTL_OK;
}

/* ---- show -------------------------------------------------------------------- */

/* "a, b", or what to say when there is nothing; heap. */
static char *join(const json_t *list, const char *nothing)
{
    struct rk_buf text = {0};
    for (size_t i = 0; i < json_array_size(list); i++)
        rk_buf_printf(&text, "%s%s", i > 0 ? ", " : "", json_string_value(json_array_get(list, i)));
    if (text.len == 0)
        rk_buf_append_str(&text, nothing);
    rk_buf_append(&text, "", 1);
    return (char *)text.data;
}

static const char *field(const json_t *cert, const char *name)
{
    return json_string_value(json_object_get(cert, name));
}

static void print_cert(const json_t *cert)
{
    RK_CLEANUP(rk_freep) char *names = join(json_object_get(cert, "names"), "none");
    RK_CLEANUP(rk_freep) char *usage = join(json_object_get(cert, "usage"), "anything");
    json_int_t days = json_integer_value(json_object_get(cert, "days_left"));
    printf("%s\n", field(cert, "file"));
    printf("  subject      %s\n", field(cert, "subject"));
    printf("  issuer       %s\n", field(cert, "issuer"));
    printf("  names        %s\n", names);
    printf("  usage        %s\n", usage);
    printf("  authority    %s\n", json_is_true(json_object_get(cert, "ca")) ? "yes" : "no");
    printf("  valid from   %s\n", field(cert, "valid_from"));
    if (days >= 0)
        printf("  valid until  %s (%lld days left)\n", field(cert, "valid_until"), (long long)days);
    else
        printf("  valid until  %s (EXPIRED)\n", field(cert, "valid_until"));
    printf("  SHA-256      %s\n", field(cert, "sha256"));
}

static int pki_command_show(int argc, char **argv)
{
    static const struct option options[] = {CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, options, NULL)) >= 0)
        if ((r = other_option(c, argv)) != CTL_GO_ON)
            return r;
    if (optind == argc)
        return ctl_usage("pki", "FILE is missing");
    json_t *certs = json_array();
    r = CTL_OK;
    for (int i = optind; i < argc; i++) {
        char *error = NULL;
        if (pki_show(argv[i], (int64_t)time(NULL), certs, &error) < 0)
            r = failed(error, NULL);
    }
    if (ctl_settings.json)
        output_json(certs);
    for (size_t i = 0; !ctl_settings.json && i < json_array_size(certs); i++)
        print_cert(json_array_get(certs, i));
    json_decref(certs);
    return r;
}

/* ---- dispatch ---------------------------------------------------------------- */

static int common_options(int argc, char **argv)
{
    static const struct option options[] = {CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, "+" CTL_SHORT, options, NULL)) >= 0)
        if ((r = other_option(c, argv)) != CTL_GO_ON)
            return r;
    return CTL_GO_ON;
}

int cmd_pki(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"init", pki_command_init}, {"issue", pki_command_issue}, {"show", pki_command_show}};
    optind = 0; /* glibc: begin anew, with another argv */
    opterr = 0;
    int r = common_options(argc, argv);
    if (r != CTL_GO_ON)
        return r;
    if (optind == argc)
        return ctl_usage("pki", "init, issue or show is missing");
    argc -= optind;
    argv += optind;
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, argv[0]) != 0)
            continue;
        optind = 0;
        return commands[i].run(argc, argv);
    }
    return ctl_usage("pki", "there is no command \"pki %s\": init, issue or show", argv[0]);
}

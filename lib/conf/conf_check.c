/* lib/conf/conf_check.c - is each value of the right shape, and do the values fit together?
 *
 * The second kind refuses whatever would otherwise surprise somebody later: a
 * door that stays closed although it was asked for, secrets sent in the clear, a
 * cluster that can never elect. An option that was found bad by itself is left
 * out, since a second complaint about it would only distract. */
#include "config.h" /* _GNU_SOURCE */

#include "lib/conf/conf_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const struct {
    const char *name;
    enum rk_log_level level;
} levels[] = {
    {"error", RK_LOG_ERROR}, {"warning", RK_LOG_WARNING}, {"notice", RK_LOG_NOTICE},
    {"info", RK_LOG_INFO},   {"debug", RK_LOG_DEBUG},
};

int conf_level_parse(const char *text)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(levels); i++)
        if (strcmp(levels[i].name, text) == 0)
            return (int)levels[i].level;
    return 0;
}

enum rk_log_level conf_log_level(const struct conf *conf)
{
    int level = conf_level_parse(conf->log_level);
    return level ? (enum rk_log_level)level : RK_LOG_INFO;
}

/* ---- one value --------------------------------------------------------------- */

static void check_level(struct conf_report *report, size_t entry, unsigned line, const char *text)
{
    if (conf_level_parse(text))
        return;
    const char *known[RK_ARRAY_LEN(levels)];
    for (size_t i = 0; i < RK_ARRAY_LEN(levels); i++)
        known[i] = levels[i].name;
    const char *near = conf_nearest(text, known, RK_ARRAY_LEN(levels));
    conf_problem(report, line,
                 "log_level \"%s\" is not known: use error, warning, notice, info or debug%s%s%s", text,
                 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    report->bad[entry] = true;
}

static const char *url_wrong(const char *text)
{
    struct conf_address address;
    const char *host = strstr(text, "://");
    if (strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0)
        return "must begin with https://, like https://node1.example:2379";
    return conf_address_parse(host + 3, false, &address);
}

static const char *path_wrong(const char *text)
{
    return text[0] == '/' ? NULL : "must be an absolute path, beginning with /";
}

static const char *socket_wrong(const char *text)
{
    if (strlen(text) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return "is too long for the path of a Unix socket: 107 bytes are the most";
    return path_wrong(text);
}

static const char *string_wrong(enum conf_shape shape, const char *text)
{
    struct conf_address address;
    char name[RK_NAME_BYTES_MAX + 1];
    switch (shape) {
    case CONF_MEMBER_NAME:
        return conf_name_is_valid(text) ? NULL
                                        : "must be 1 to 64 letters, digits, dots, dashes and underscores";
    case CONF_PATH:
        return path_wrong(text);
    case CONF_PATH_OR_EMPTY:
        return text[0] ? path_wrong(text) : NULL;
    case CONF_SOCKET:
        return socket_wrong(text);
    case CONF_LISTEN:
        return conf_address_parse(text, true, &address);
    case CONF_ADDRESS:
        return text[0] ? conf_address_parse(text, false, &address) : NULL;
    case CONF_URL:
        return text[0] ? url_wrong(text) : NULL;
    case CONF_MEMBER:
        return conf_member_parse(text, name, &address);
    case CONF_ANY:
    case CONF_LEVEL:
        break;
    }
    return NULL;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

void conf_check_string(struct conf_report *report, size_t entry, unsigned line, const char *text)
{
    const struct conf_entry *row = &conf_entries[entry];
    if (has_control(text)) {
        conf_problem(report, line, "%s has a control character (a line break, a tab, ...) in it: remove it",
                     row->path);
        report->bad[entry] = true;
        return;
    }
    if (row->shape == CONF_LEVEL) {
        check_level(report, entry, line, text);
        return;
    }
    const char *wrong = string_wrong(row->shape, text);
    if (!wrong)
        return;
    conf_problem(report, line, "%s: \"%s\" %s", row->path, text, wrong);
    report->bad[entry] = true;
}

/* ---- values beside each other ------------------------------------------------ */

/* The one of two options that stands in the file, for the line number. */
static size_t either(const struct conf_report *report, size_t first, size_t second)
{
    return report->line[first] > 0 ? first : second;
}

/* The host's own name is the one default that can be unfit. */
static void check_name(struct conf_report *report, const struct conf *conf)
{
    size_t name = CONF_INDEX(name);
    if (!report->bad[name] && !conf_name_is_valid(conf->name))
        conf_problem_at(report, name,
                        "name is not given and the host's name \"%s\" cannot serve as one: "
                        "give 1 to 64 letters, digits, dots, dashes and underscores",
                        conf->name);
}

static void check_timing(struct conf_report *report, const struct conf *conf)
{
    size_t beat = CONF_INDEX(raft.heartbeat_ms), election = CONF_INDEX(raft.election_timeout_ms);
    uint32_t most = conf->raft.election_timeout_ms / 3;
    if (report->bad[beat] || report->bad[election] || conf->raft.heartbeat_ms <= most)
        return;
    conf_problem_at(
        report, either(report, beat, election),
        "raft.heartbeat_ms is %u, but may be a third of raft.election_timeout_ms (%u) at most, so %u: "
        "lower it or raise raft.election_timeout_ms",
        conf->raft.heartbeat_ms, conf->raft.election_timeout_ms, most);
}

/* A certificate and its key come together; a CA alone would suggest a protection that is not there. */
static void check_pair(struct conf_report *report, const char *group, size_t certificate, size_t key,
                       size_t ca, const char *const values[3])
{
    if (report->bad[certificate] || report->bad[key] || report->bad[ca])
        return;
    if (values[0][0] && !values[1][0])
        conf_problem_at(report, certificate,
                        "%s.certificate is given without %s.key: name the private key as well", group, group);
    if (!values[0][0] && values[1][0])
        conf_problem_at(report, key, "%s.key is given without %s.certificate: name the certificate as well",
                        group, group);
    if (!values[0][0] && !values[1][0] && values[2][0])
        conf_problem_at(
            report, ca,
            "%s.ca is given without %s.certificate and %s.key: the port would stay closed; name them too",
            group, group, group);
}

static void check_certificates(struct conf_report *report, const struct conf *conf)
{
    check_pair(report, "peer", CONF_INDEX(peer.certificate), CONF_INDEX(peer.key), CONF_INDEX(peer.ca),
               (const char *const[]){conf->peer.certificate, conf->peer.key, conf->peer.ca});
    check_pair(report, "client", CONF_INDEX(client.certificate), CONF_INDEX(client.key),
               CONF_INDEX(client.ca),
               (const char *const[]){conf->client.certificate, conf->client.key, conf->client.ca});
    size_t certificate = CONF_INDEX(peer.certificate), require = CONF_INDEX(client.require_certificate);
    if (conf->peer.certificate[0] && !conf->peer.ca[0] && !report->bad[certificate] &&
        !report->bad[CONF_INDEX(peer.ca)])
        conf_problem_at(
            report, certificate,
            "peer.certificate needs peer.ca, the authority that the other members' certificates come from");
    if (conf->client.require_certificate && !conf->client.ca[0] && !report->bad[CONF_INDEX(client.ca)])
        conf_problem_at(
            report, require,
            "client.require_certificate needs client.ca, the authority that clients' certificates come from");
}

static void check_plain(struct conf_report *report, const struct conf *conf)
{
    size_t tls = CONF_INDEX(client.tls), listen = CONF_INDEX(client.listen);
    struct conf_address address;
    if (conf->client.tls || report->bad[tls])
        return;
    if (conf->client.certificate[0])
        conf_problem_at(
            report, tls,
            "client.tls = false and client.certificate do not fit together: remove one of the two");
    if (!report->bad[listen] && !conf_address_parse(conf->client.listen, true, &address) &&
        !conf_address_is_loopback(&address))
        conf_problem_at(
            report, tls,
            "client.tls = false is allowed on a loopback address only, and client.listen is \"%s\": "
            "use client.listen = \"127.0.0.1:%u\", or give client.certificate and client.key",
            conf->client.listen, address.port);
}

static void check_url(struct conf_report *report, const struct conf *conf)
{
    size_t url = CONF_INDEX(client.advertise);
    const char *scheme = conf->client.tls ? "https://" : "http://";
    if (!conf->client.advertise[0] || report->bad[url] ||
        strncmp(conf->client.advertise, scheme, strlen(scheme)) == 0)
        return;
    conf_problem_at(report, url, "client.advertise must begin with %s, as client.tls is %s", scheme,
                    conf->client.tls ? "true" : "false");
}

/* A port that others must find needs an address that is one. */
static void check_advertise(struct conf_report *report, const struct conf *conf)
{
    if (report->bad[CONF_INDEX(name)])
        return;
    RK_CLEANUP(rk_freep) char *peer = conf_default_peer_advertise(conf);
    size_t at = CONF_INDEX(peer.advertise);
    if (conf_peer_port_opens(conf) && !conf->peer.advertise[0] && !peer[0] && !report->bad[at] &&
        !report->bad[CONF_INDEX(peer.listen)])
        conf_problem_at(report, at,
                        "peer.advertise is needed: the name \"%s\" is no host name to find this host by",
                        conf->name);
    RK_CLEANUP(rk_freep) char *client = conf_default_client_advertise(conf);
    at = CONF_INDEX(client.advertise);
    if (conf_client_port_opens(conf) && !conf->client.advertise[0] && !client[0] && !report->bad[at] &&
        !report->bad[CONF_INDEX(client.listen)])
        conf_problem_at(report, at,
                        "client.advertise is needed: the name \"%s\" is no host name to find this host by",
                        conf->name);
}

static void check_ports(struct conf_report *report, const struct conf *conf)
{
    size_t peer = CONF_INDEX(peer.listen), client = CONF_INDEX(client.listen);
    if (!report->bad[peer] && !report->bad[client] && strcmp(conf->peer.listen, conf->client.listen) == 0)
        conf_problem_at(report, either(report, peer, client),
                        "peer.listen and client.listen are both \"%s\": give each its own port",
                        conf->peer.listen);
}

/* Two entries with one name or one address, earlier ones compared with entry `last`. */
static void check_twins(struct conf_report *report, const struct conf *conf, uint32_t last)
{
    size_t at = CONF_INDEX(initial_members);
    const char *b = conf->initial_members[last], *b_address = strchr(b, '=');
    size_t b_name = strcspn(b, "=");
    for (uint32_t i = 0; i < last; i++) {
        const char *a = conf->initial_members[i], *a_address = strchr(a, '=');
        if (strcspn(a, "=") == b_name && strncmp(a, b, b_name) == 0)
            conf_problem_at(report, at, "initial_members has the name \"%.*s\" twice: each host has its own",
                            (int)b_name, b);
        if (a_address && b_address && strcasecmp(a_address, b_address) == 0)
            conf_problem_at(report, at, "initial_members has the address \"%s\" twice: each host has its own",
                            b_address + 1);
    }
}

static void check_members(struct conf_report *report, const struct conf *conf)
{
    size_t at = CONF_INDEX(initial_members), certificate = CONF_INDEX(peer.certificate);
    if (report->bad[at] || conf->initial_member_count == 0)
        return;
    bool own = false;
    size_t own_len = strlen(conf->name);
    for (uint32_t i = 0; i < conf->initial_member_count; i++) {
        const char *text = conf->initial_members[i];
        own = own || (strcspn(text, "=") == own_len && strncmp(text, conf->name, own_len) == 0);
        check_twins(report, conf, i);
    }
    if (!own && !report->bad[CONF_INDEX(name)])
        conf_problem_at(
            report, at,
            "initial_members does not have this host, whose name is \"%s\": add it, or correct name",
            conf->name);
    if (conf->initial_member_count > 1 && !conf->peer.certificate[0] && !report->bad[certificate])
        conf_problem_at(
            report, at,
            "initial_members names several hosts, but without peer.certificate the peer port stays closed: "
            "give peer.certificate, peer.key and peer.ca (raftkvctl pki makes them)");
}

void conf_check(struct conf_report *report, const struct conf *conf)
{
    check_name(report, conf);
    check_timing(report, conf);
    check_certificates(report, conf);
    check_plain(report, conf);
    check_url(report, conf);
    check_advertise(report, conf);
    check_ports(report, conf);
    check_members(report, conf);
}

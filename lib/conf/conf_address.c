/* lib/conf/conf_address.c - names, hosts and addresses as people write them in the file. */
#include "config.h" /* _GNU_SOURCE */

#include "lib/conf/conf_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define HOST_BYTES_MAX  253u
#define LABEL_BYTES_MAX 63u

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool conf_name_is_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > RK_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

static bool label_is_valid(const char *label, size_t len)
{
    if (len == 0 || len > LABEL_BYTES_MAX || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

/* A last label of digits alone would make it an address to every resolver (RFC 3696, section 2). */
bool conf_host_is_valid(const char *host)
{
    if (strlen(host) > HOST_BYTES_MAX)
        return false;
    for (const char *label = host;;) {
        size_t len = strcspn(label, ".");
        if (!label_is_valid(label, len))
            return false;
        if (label[len] == '\0')
            return strspn(label, "0123456789") < len;
        label += len + 1;
    }
}

static bool port_parse(const char *text, uint16_t *ret)
{
    size_t len = strlen(text);
    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    unsigned long port = strtoul(text, NULL, 10);
    if (port == 0 || port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static const char *host_check(const struct conf_address *address, bool wildcard)
{
    struct in6_addr v6;
    struct in_addr v4;
    if (address->is_v6)
        return inet_pton(AF_INET6, address->host, &v6) == 1 ? NULL
                                                            : "has no valid IPv6 address between [ and ]";
    if (strcmp(address->host, "*") == 0)
        return wildcard ? NULL : "must name one host, since others connect to it: * is for listening only";
    if (inet_pton(AF_INET, address->host, &v4) == 1 || conf_host_is_valid(address->host))
        return NULL;
    return "has neither a host name nor an IPv4 address before the port";
}

const char *conf_address_parse(const char *text, bool wildcard, struct conf_address *ret)
{
    struct conf_address address = {.is_v6 = text[0] == '['};
    if (strlen(text) > RK_ADDRESS_BYTES_MAX)
        return "is too long for an address";
    const char *host = address.is_v6 ? text + 1 : text;
    size_t len = strcspn(host, address.is_v6 ? "]" : ":");
    const char *rest = host + len;
    if (address.is_v6 && *rest == ']')
        rest++;
    if (!address.is_v6 && *rest == ':' && strchr(rest + 1, ':'))
        return "has several colons: an IPv6 address is written in brackets, like [2001:db8::1]:2380";
    if (*rest != ':')
        return "needs a port, like node1.example:2380";
    if (len == 0)
        return "needs a host before the port, like node1.example:2380";
    if (len >= sizeof(address.host))
        return "has a host name that is too long";
    memcpy(address.host, host, len);
    if (!port_parse(rest + 1, &address.port))
        return "needs a port number from 1 to 65535 at its end";
    const char *wrong = host_check(&address, wildcard);
    if (!wrong)
        *ret = address;
    return wrong;
}

bool conf_address_is_loopback(const struct conf_address *address)
{
    struct in6_addr v6;
    struct in_addr v4;
    if (address->is_v6)
        return inet_pton(AF_INET6, address->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    if (inet_pton(AF_INET, address->host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcasecmp(address->host, "localhost") == 0;
}

const char *conf_member_parse(const char *text, char *ret_name, struct conf_address *ret)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return "is not of the form name=host:port";
    size_t len = (size_t)(equals - text);
    char name[RK_NAME_BYTES_MAX + 1] = "";
    if (len <= RK_NAME_BYTES_MAX)
        memcpy(name, text, len);
    if (!conf_name_is_valid(name))
        return "has no valid name before the =: 1 to 64 letters, digits, dots, dashes and underscores";
    const char *wrong = conf_address_parse(equals + 1, false, ret);
    if (!wrong)
        memcpy(ret_name, name, sizeof(name));
    return wrong;
}

/* "host:port", with brackets where they belong. */
static char *address_text(const char *host, bool is_v6, uint16_t port)
{
    return rk_asprintf(is_v6 ? "[%s]:%u" : "%s:%u", host, port);
}

/* What others reach us by: the one address that is listened on, or our name when that is every address. */
static char *reachable(const struct conf *conf, const char *listen)
{
    struct conf_address address;
    if (conf_address_parse(listen, true, &address))
        return rk_strdup("");
    if (strcmp(address.host, "*") != 0 && strcmp(address.host, "0.0.0.0") != 0 &&
        strcmp(address.host, "::") != 0)
        return address_text(address.host, address.is_v6, address.port);
    if (!conf_host_is_valid(conf->name))
        return rk_strdup("");
    return address_text(conf->name, false, address.port);
}

char *conf_default_peer_advertise(const struct conf *conf)
{
    for (uint32_t i = 0; i < conf->initial_member_count; i++) {
        char name[RK_NAME_BYTES_MAX + 1];
        struct conf_address address;
        if (!conf_member_parse(conf->initial_members[i], name, &address) && strcmp(name, conf->name) == 0)
            return address_text(address.host, address.is_v6, address.port);
    }
    return reachable(conf, conf->peer.listen);
}

/* Without encryption the port is on loopback, where only its own address leads to it. */
char *conf_default_client_advertise(const struct conf *conf)
{
    if (!conf_client_port_opens(conf))
        return rk_strdup("");
    if (!conf->client.tls)
        return rk_asprintf("http://%s", conf->client.listen);
    RK_CLEANUP(rk_freep) char *address = reachable(conf, conf->client.listen);
    return address[0] ? rk_asprintf("https://%s", address) : rk_strdup("");
}

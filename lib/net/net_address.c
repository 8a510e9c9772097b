/* lib/net/net_address.c - "host:port" taken apart, resolved, and put together again. */
#include "config.h"

#include "lib/net/net_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* A name with more addresses than this has a purpose that is not ours. */
#define ADDRESSES_MAX 16u

/* Digits only: strtoul() would let blanks and signs through. */
static bool parse_port(const char *text, uint16_t *ret)
{
    size_t len = strlen(text);
    uint32_t port = 0;
    if (len == 0 || len > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static bool plain_host(const char *host, size_t len)
{
    if (len == 1 && host[0] == '*')
        return true;
    for (size_t i = 0; i < len; i++)
        if (host[i] <= ' ' || host[i] == 0x7f || strchr(":[]*/%", host[i]))
            return false;
    return len > 0;
}

/* Between brackets: an IPv6 address, perhaps with a zone ("fe80::1%eth0"). */
static bool v6_host(const char *host, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    const char *zone = memchr(host, '%', len);
    size_t digits = zone ? (size_t)(zone - host) : len;
    if (digits >= sizeof(text) || (zone && len - digits - 1 >= IF_NAMESIZE))
        return false;
    memcpy(text, host, digits);
    text[digits] = '\0';
    return inet_pton(AF_INET6, text, &unused) == 1;
}

int net_address_split(const char *text, char *ret_host, size_t host_size, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return -EINVAL;
    const char *host = text;
    size_t len = (size_t)(colon - text);
    bool bracketed = len >= 2 && host[0] == '[' && host[len - 1] == ']';
    if (bracketed) {
        host++;
        len -= 2;
    }
    uint16_t port;
    bool ok = len < host_size && (bracketed ? v6_host(host, len) : plain_host(host, len)) &&
              parse_port(colon + 1, &port);
    if (!ok)
        return -EINVAL;
    memcpy(ret_host, host, len);
    ret_host[len] = '\0';
    *ret_port = port;
    return 0;
}

static int gai_errno(int code)
{
    switch (code) {
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno != 0 ? -errno : -EIO;
    default:
        return -ENOENT;
    }
}

static bool known(const struct net_address *addresses, size_t count, const struct addrinfo *info)
{
    for (size_t i = 0; i < count; i++)
        if (addresses[i].len == info->ai_addrlen &&
            memcmp(&addresses[i].addr, info->ai_addr, info->ai_addrlen) == 0)
            return true;
    return false;
}

/* /etc/hosts may name an address twice, and listening twice on one address fails. */
static size_t collect(const struct addrinfo *list, struct net_address *addresses)
{
    size_t count = 0;
    for (const struct addrinfo *info = list; info && count < ADDRESSES_MAX; info = info->ai_next) {
        bool internet = info->ai_family == AF_INET || info->ai_family == AF_INET6;
        if (!internet || known(addresses, count, info))
            continue;
        memcpy(&addresses[count].addr, info->ai_addr, info->ai_addrlen);
        addresses[count++].len = info->ai_addrlen;
    }
    return count;
}

static int lookup(const char *host, uint16_t port, int flags, struct addrinfo **ret)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    return getaddrinfo(host, service, &hints, ret);
}

int net_address_resolve(const char *host, uint16_t port, bool passive, struct net_address **ret,
                        const char **ret_why)
{
    bool any = strcmp(host, "*") == 0;
    if (any && !passive) {
        *ret_why = "\"*\" is no address to connect to";
        return -EINVAL;
    }
    struct addrinfo *list;
    int code = lookup(any ? NULL : host, port, passive ? AI_PASSIVE : 0, &list);
    if (code != 0) {
        int r = gai_errno(code);
        *ret_why = gai_strerror(code);
        return r;
    }
    struct net_address *addresses = RK_NEW_ARRAY(struct net_address, ADDRESSES_MAX);
    size_t count = collect(list, addresses);
    freeaddrinfo(list);
    if (count == 0) {
        free(addresses);
        *ret_why = "the name has no IPv4 or IPv6 address";
        return -ENOENT;
    }
    *ret = addresses;
    return (int)count;
}

bool net_address_parse(const char *host, uint16_t port, struct net_address *ret)
{
    struct addrinfo *list;
    if (lookup(host, port, AI_NUMERICHOST, &list) != 0)
        return false;
    *ret = (struct net_address){.len = list->ai_addrlen};
    memcpy(&ret->addr, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return true;
}

void net_address_text(const struct net_address *address, char *ret, size_t size)
{
    char host[NI_MAXHOST], service[NI_MAXSERV];
    if (address->addr.ss_family == AF_UNIX) {
        snprintf(ret, size, "unix");
        return;
    }
    int r = getnameinfo((const struct sockaddr *)&address->addr, address->len, host, sizeof(host), service,
                        sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV);
    if (r != 0)
        snprintf(ret, size, "?");
    else
        snprintf(ret, size, address->addr.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

bool net_address_is_loopback(const struct net_address *address)
{
    if (address->addr.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address->addr, sizeof(in));
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->addr.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address->addr, sizeof(in6));
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127;
        return mapped || IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
    }
    return address->addr.ss_family == AF_UNIX;
}

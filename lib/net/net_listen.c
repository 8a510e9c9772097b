/* lib/net/net_listen.c - opening the sockets that listeners share. */
#include "config.h"

#include "lib/net/net_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/limits.h"

#define BACKLOG 4096 /* a burst of reconnects waits here; the kernel cuts it to net.core.somaxconn */

void net_listen_set_deinit(struct net_listen_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        rk_closep(&set->fds[i]);
    free(set->fds);
    free(set->addresses);
    *set = (struct net_listen_set){0};
}

static void set_add(struct net_listen_set *set, int fd, struct net_address address)
{
    set->fds = rk_realloc(set->fds, (set->count + 1) * sizeof(*set->fds));
    set->addresses = rk_realloc(set->addresses, (set->count + 1) * sizeof(*set->addresses));
    set->fds[set->count] = fd;
    set->addresses[set->count++] = address;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

/* IPv6 sockets take IPv6 only: IPv4 has a socket of its own, whatever the host's default is. */
static int open_tcp(struct net_address *address)
{
    int one = 1;
    RK_CLEANUP(rk_closep)
    int fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -errno;
    if (address->addr.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address->addr, address->len) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    /* Port 0 has become a real one. */
    address->len = sizeof(address->addr);
    if (getsockname(fd, (struct sockaddr *)&address->addr, &address->len) < 0)
        return -errno;
    int taken = fd;
    fd = -1;
    return taken;
}

/* A name such as localhost may stand for an IPv6 address on a host that has IPv6 switched off. */
static bool family_missing(int r)
{
    return r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT;
}

static int open_all(const char *text, struct net_address *addresses, size_t count, struct net_listen_set *set,
                    char **ret_error)
{
    int missing = 0;
    for (size_t i = 0; i < count; i++) {
        int fd = open_tcp(&addresses[i]);
        if (fd >= 0) {
            set_add(set, fd, addresses[i]);
            continue;
        }
        missing = fd;
        if (!family_missing(fd))
            break;
    }
    if (missing == 0 || (family_missing(missing) && set->count > 0))
        return 0;
    *ret_error = rk_asprintf("cannot listen on %s: %s", text, strerror(-missing));
    return missing;
}

int net_listen_tcp(const char *address, struct net_listen_set *ret, char **ret_error)
{
    char host[RK_ADDRESS_BYTES_MAX];
    uint16_t port;
    if (net_address_split(address, host, sizeof(host), &port) < 0) {
        *ret_error = rk_asprintf("cannot listen on \"%s\": it is not host:port", address);
        return -EINVAL;
    }
    RK_CLEANUP(rk_freep) struct net_address *addresses = NULL;
    const char *why;
    int count = net_address_resolve(host, port, true, &addresses, &why);
    if (count < 0) {
        *ret_error = rk_asprintf("cannot listen on %s: %s", address, why);
        return count;
    }
    struct net_listen_set set = {0};
    int r = open_all(address, addresses, (size_t)count, &set, ret_error);
    if (r < 0) {
        net_listen_set_deinit(&set);
        return r;
    }
    *ret = set;
    return 0;
}

/* ---- Unix ------------------------------------------------------------------------------------- */

/* A socket file outlives its process. Only a connect tells whether anybody is behind it. */
static int clear_stale(const struct sockaddr_un *un)
{
    struct stat st;
    if (lstat(un->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    RK_CLEANUP(rk_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(un->sun_path) < 0 ? -errno : 0;
}

/* Mostly our own group, and a hardened unit forbids the call: it is made only where it is needed. */
static bool set_group(const char *path, gid_t gid)
{
    struct stat st;
    if (gid == (gid_t)-1 || (lstat(path, &st) == 0 && st.st_gid == gid))
        return true;
    return lchown(path, (uid_t)-1, gid) == 0;
}

/* Nobody can connect before listen(), so the file has its owner and mode by then. */
static int open_unix(const struct sockaddr_un *un, mode_t mode, gid_t gid)
{
    RK_CLEANUP(rk_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)un, sizeof(*un)) < 0)
        return -errno;
    bool ok = set_group(un->sun_path, gid);
    ok = ok && chmod(un->sun_path, mode) == 0 && listen(fd, BACKLOG) == 0;
    if (!ok) {
        int r = -errno;
        unlink(un->sun_path);
        return r;
    }
    int taken = fd;
    fd = -1;
    return taken;
}

static const char *unix_why(int r)
{
    if (r == -EADDRINUSE)
        return "another process listens on it";
    if (r == -EEXIST)
        return "the file exists and is not a socket";
    return strerror(-r);
}

int net_listen_unix(const char *path, mode_t mode, gid_t gid, struct net_listen_set *ret, char **ret_error)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(un.sun_path)) {
        *ret_error = rk_asprintf("cannot listen on \"%s\": a socket's path has 1 to %zu bytes", path,
                                 sizeof(un.sun_path) - 1);
        return -EINVAL;
    }
    memcpy(un.sun_path, path, len);
    int r = clear_stale(&un);
    int fd = r < 0 ? r : open_unix(&un, mode, gid);
    if (fd < 0) {
        *ret_error = rk_asprintf("cannot listen on %s: %s", path, unix_why(fd));
        return fd;
    }
    struct net_address address = {.len = sizeof(un)};
    memcpy(&address.addr, &un, sizeof(un));
    *ret = (struct net_listen_set){0};
    set_add(ret, fd, address);
    return 0;
}

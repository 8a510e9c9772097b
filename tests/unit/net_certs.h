/* tests/unit/net_certs.h - certificates made on the spot, for every test that needs TLS. */
#ifndef NET_CERTS_H
#define NET_CERTS_H

#include <stdbool.h>
#include <stdint.h>

#define NET_CERTS_PATH_MAX 256

/* A directory below /tmp that holds everything; net_certs_deinit() removes it. */
struct net_certs {
    char dir[64];
};

void net_certs_init(struct net_certs *certs);
void net_certs_deinit(struct net_certs *certs);
/* "<dir>/<name>" in one of a few static buffers: enough for one call's arguments. */
const char *net_certs_path(const struct net_certs *certs, const char *name);

/* Writes <name>.pem and <name>.key: a CA that signs itself. */
void net_certs_ca(const struct net_certs *certs, const char *name);

struct net_certs_leaf {
    const char *cn;       /* NULL: "node" */
    const char *san;      /* as in openssl.cnf: "DNS:node1,IP:127.0.0.1,URI:..."; NULL: no such extension */
    const char *eku;      /* "serverAuth"; NULL: no such extension */
    long from_s, until_s; /* from now; both zero: an hour ago to an hour ahead */
    long serial;          /* 0: a random one */
};
/* Writes <name>.pem and <name>.key (mode 0600), signed by the CA of that name. */
void net_certs_leaf(const struct net_certs *certs, const char *ca, const char *name,
                    const struct net_certs_leaf *leaf);
/* Appends a current revocation list of the CA to file: one serial in it, or none when serial is 0. */
void net_certs_append_crl(const struct net_certs *certs, const char *ca, const char *file, long serial);
/* Replaces the file's content; mode 0600. */
void net_certs_write(const struct net_certs *certs, const char *name, const char *content);

#endif

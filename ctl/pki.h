/* ctl/pki.h - a small certificate authority for a cluster: one key that signs, certificates for members and
 * clients.
 *
 * Everything is P-256 and SHA-256. A member's certificate is for server and
 * client use, since members connect to each other, and says who it is by the URI
 * "raftkv:member:NAME", which stays true when addresses change. A client's
 * certificate is for client use alone and says "raftkv:client:NAME".
 *
 * Files are created, never replaced: whoever means to replace one removes it
 * first. What was written before a failure is removed again. No function prints;
 * errors are sentences in *ret_error (heap, set on failure only). */
#ifndef PKI_H
#define PKI_H

#include <jansson.h>

#include "lib/base/rk_buf.h"
#include "lib/base/rk_util.h"

#define PKI_CA_DAYS_DEFAULT    3650u
#define PKI_ISSUE_DAYS_DEFAULT 825u
#define PKI_DAYS_MAX           36500u
#define PKI_NAMES_MAX          64u
/* A PEM bundle: far more than any authority needs. */
#define PKI_FILE_BYTES_MAX (1024u * 1024u)

struct pki_ca_request {
    const char *dir;  /* made (0700) when missing; gets ca.key (0600) and ca.crt (0644) */
    const char *name; /* common name, 1 to 64 bytes of UTF-8 */
    uint32_t days;    /* 1 to PKI_DAYS_MAX */
};

/* 0, or -errno (-EEXIST: the files are there; -EINVAL: bad input). */
int pki_init(const struct pki_ca_request *request, char **ret_error) RK_MUST_CHECK;

struct pki_request {
    const char *ca_dir; /* with ca.key and ca.crt */
    const char *out;  /* made (0700) when missing; gets NAME.key (0600), NAME.crt (0644) and ca.crt (0644) */
    const char *name; /* as in raftkv.conf: 1 to 64 of [A-Za-z0-9._-], and not "ca" */
    const char *hosts[PKI_NAMES_MAX];
    size_t host_count;
    const char *ips[PKI_NAMES_MAX];
    size_t ip_count;
    uint32_t days; /* 1 to PKI_DAYS_MAX, and not beyond the authority's own end */
    bool client;
};

/* 0, or -errno as above. */
int pki_issue(const struct pki_request *request, char **ret_error) RK_MUST_CHECK;

/* Appends an object for each certificate of a PEM file to the array ret: file, subject, issuer, names [],
 * usage [], ca, serial, valid_from and valid_until (ISO 8601, UTC), days_left (negative when it is over),
 * sha256. Private keys in the file are skipped. now_s: seconds since 1970. 0; -EINVAL when there is no
 * certificate; or -errno. */
int pki_show(const char *path, int64_t now_s, json_t *ret, char **ret_error) RK_MUST_CHECK;

/* Is text a DNS name as certificates carry it: a host name, with "*" as its first label if need be? */
bool pki_host_is_valid(const char *text);

#endif

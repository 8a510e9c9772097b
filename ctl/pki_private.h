/* ctl/pki_private.h - what pki.c (requests and files) asks of pki_cert.c (keys and certificates). */
#ifndef PKI_PRIVATE_H
#define PKI_PRIVATE_H

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "ctl/pki.h"

void pki_key_freep(EVP_PKEY **key);
void pki_cert_freep(X509 **cert);
/* Wipes before it frees: key bytes do not stay behind. */
void pki_secret_deinit(struct rk_buf *buf);
#define CLEANUP_KEY    RK_CLEANUP(pki_key_freep)
#define CLEANUP_CERT   RK_CLEANUP(pki_cert_freep)
#define CLEANUP_SECRET RK_CLEANUP(pki_secret_deinit)

/* Puts the sentence into *ret_error and returns r. */
int pki_failed(int r, char **ret_error, const char *fmt, ...) RK_PRINTF(3, 4);
/* -EIO, with OpenSSL's reason behind what. */
int pki_openssl_failed(char **ret_error, const char *what);

struct pki_authority {
    EVP_PKEY *key;
    X509 *cert;
    struct rk_buf text; /* its certificate as PEM, and nothing else that ca.crt may hold */
};
void pki_authority_deinit(struct pki_authority *authority);

/* NULL: OpenSSL failed. */
X509 *pki_make_ca(EVP_PKEY *key, const struct pki_ca_request *request);
X509 *pki_make_leaf(EVP_PKEY *key, const struct pki_authority *ca, const struct pki_request *request);

/* Append PEM to ret: PKCS#8, X.509. */
int pki_key_to_pem(EVP_PKEY *key, struct rk_buf *ret, char **ret_error) RK_MUST_CHECK;
int pki_cert_to_pem(X509 *cert, struct rk_buf *ret, char **ret_error) RK_MUST_CHECK;
/* Refuses a key that others can read, and one with a password. */
int pki_load_key(const char *path, EVP_PKEY **ret, char **ret_error) RK_MUST_CHECK;
/* The first certificate of the file. */
int pki_load_cert(const char *path, X509 **ret, char **ret_error) RK_MUST_CHECK;
/* Is the certificate one of those in this text? */
bool pki_text_has_cert(const struct rk_buf *text, const X509 *wanted);

#endif

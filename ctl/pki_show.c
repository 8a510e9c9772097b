/* ctl/pki_show.c - what a certificate says, as JSON; cmd_pki.c makes text of it.
 *
 * A certificate may come from anybody, so every text in it is escaped to
 * printable ASCII here. */
#include "config.h" /* _GNU_SOURCE */

#include "ctl/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/base/rk_file.h"

#define DAY_S 86400

static void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

/* A JSON string of bytes that somebody else chose. */
static json_t *safe_string(const void *data, size_t len)
{
    struct rk_buf text = {0};
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\')
            rk_buf_append(&text, bytes + i, 1);
        else
            rk_buf_printf(&text, "\\x%02x", bytes[i]);
    }
    json_t *string = json_stringn(text.len > 0 ? (const char *)rk_buf_slice(&text).data : "", text.len);
    rk_buf_deinit(&text);
    return string;
}

/* As RFC 2253 writes it, where OpenSSL escapes whatever is not printable ASCII. */
static json_t *name_json(const X509_NAME *name)
{
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) < 0)
        return json_string("");
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    return json_stringn(data, (size_t)len);
}

static json_t *prefixed(const char *prefix, const ASN1_STRING *text)
{
    json_t *safe = safe_string(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
    json_t *string = json_sprintf("%s:%s", prefix, json_string_value(safe));
    json_decref(safe);
    return string;
}

static json_t *ip_json(const ASN1_OCTET_STRING *ip)
{
    char text[INET6_ADDRSTRLEN];
    int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;
    if ((family == AF_INET6 && ASN1_STRING_length(ip) != 16) ||
        !inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof(text)))
        return json_string("IP:invalid");
    return json_sprintf("IP:%s", text);
}

static json_t *general_name_json(const GENERAL_NAME *name)
{
    switch (name->type) {
    case GEN_DNS:
        return prefixed("DNS", name->d.dNSName);
    case GEN_URI:
        return prefixed("URI", name->d.uniformResourceIdentifier);
    case GEN_EMAIL:
        return prefixed("email", name->d.rfc822Name);
    case GEN_IPADD:
        return ip_json(name->d.iPAddress);
    default:
        return json_string("other");
    }
}

static json_t *names_json(const X509 *cert)
{
    json_t *names = json_array();
    GENERAL_NAMES *found = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(found); i++)
        json_array_append_new(names, general_name_json(sk_GENERAL_NAME_value(found, i)));
    GENERAL_NAMES_free(found);
    return names;
}

/* Key usage and extended key usage in one list; nothing in it means that nothing is restricted. */
static json_t *usage_json(X509 *cert)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } key_usages[] = {
        {KU_DIGITAL_SIGNATURE, "digitalSignature"},
        {KU_KEY_ENCIPHERMENT, "keyEncipherment"},
        {KU_KEY_AGREEMENT, "keyAgreement"},
        {KU_KEY_CERT_SIGN, "keyCertSign"},
        {KU_CRL_SIGN, "cRLSign"},
    };
    json_t *usage = json_array();
    uint32_t flags = X509_get_extension_flags(cert);
    for (size_t i = 0; (flags & EXFLAG_KUSAGE) && i < RK_ARRAY_LEN(key_usages); i++)
        if (X509_get_key_usage(cert) & key_usages[i].bit)
            json_array_append_new(usage, json_string(key_usages[i].name));
    EXTENDED_KEY_USAGE *extended = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    for (int i = 0; i < sk_ASN1_OBJECT_num(extended); i++) {
        char text[80];
        const ASN1_OBJECT *object = sk_ASN1_OBJECT_value(extended, i);
        int nid = OBJ_obj2nid(object);
        OBJ_obj2txt(text, sizeof(text), object, 1);
        json_array_append_new(usage, json_string(nid != NID_undef ? OBJ_nid2sn(nid) : text));
    }
    EXTENDED_KEY_USAGE_free(extended);
    return usage;
}

static json_t *time_json(const ASN1_TIME *when)
{
    struct tm tm;
    char text[32];
    if (!ASN1_TIME_to_tm(when, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return json_string("invalid");
    return json_string(text);
}

/* Whole days, rounded down: -1 from the first second after the end. */
static json_int_t days_left(const ASN1_TIME *end, int64_t now_s)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(end, &tm))
        return -1;
    int64_t left_s = (int64_t)timegm(&tm) - now_s;
    return left_s >= 0 ? left_s / DAY_S : -((-left_s + DAY_S - 1) / DAY_S);
}

static json_t *hex_json(const unsigned char *bytes, size_t len)
{
    struct rk_buf text = {0};
    for (size_t i = 0; i < len; i++)
        rk_buf_printf(&text, i > 0 ? ":%02X" : "%02X", bytes[i]);
    json_t *string = json_stringn(text.len > 0 ? (const char *)rk_buf_slice(&text).data : "", text.len);
    rk_buf_deinit(&text);
    return string;
}

static json_t *sha256_json(const X509 *cert)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    return X509_digest(cert, EVP_sha256(), digest, &len) == 1 ? hex_json(digest, len) : json_string("");
}

static json_t *cert_json(const char *path, X509 *cert, int64_t now_s)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:I, s:o}", "file", safe_string(path, strlen(path)),
        "subject", name_json(X509_get_subject_name(cert)), "issuer", name_json(X509_get_issuer_name(cert)),
        "names", names_json(cert), "usage", usage_json(cert), "ca", X509_check_ca(cert) > 0, "serial",
        hex_json(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)), "valid_from",
        time_json(X509_get0_notBefore(cert)), "valid_until", time_json(X509_get0_notAfter(cert)), "days_left",
        days_left(X509_get0_notAfter(cert), now_s), "sha256", sha256_json(cert));
}

static int no_password(char *buf, int size, int writing, void *userdata)
{
    (void)buf, (void)size, (void)writing, (void)userdata;
    return -1;
}

static size_t show_all(const char *path, BIO *bio, int64_t now_s, json_t *ret)
{
    size_t count = 0;
    X509 *cert;
    while ((cert = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        json_array_append_new(ret, cert_json(path, cert, now_s));
        X509_free(cert);
        count++;
    }
    ERR_clear_error();
    return count;
}

int pki_show(const char *path, int64_t now_s, json_t *ret, char **ret_error)
{
    struct rk_buf text = {0};
    int r = rk_file_read(path, PKI_FILE_BYTES_MAX, &text);
    if (r < 0) {
        *ret_error = rk_asprintf("cannot read %s: %s", path, strerror(-r));
        return r;
    }
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(rk_buf_slice(&text).data, (int)text.len);
    if (!bio || show_all(path, bio, now_s, ret) == 0) {
        *ret_error = rk_asprintf("%s holds no certificate in PEM", path);
        r = -EINVAL;
    }
    /* There may be a key in the file as well. */
    if (text.data)
        OPENSSL_cleanse(text.data, text.cap);
    rk_buf_deinit(&text);
    return r;
}

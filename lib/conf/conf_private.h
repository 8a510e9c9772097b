/* lib/conf/conf_private.h - what the files of lib/conf share: the table's rows and the list of problems. */
#ifndef CONF_PRIVATE_H
#define CONF_PRIVATE_H

#include "lib/conf/conf.h"

#define CONF_ENTRIES_MAX 64u

enum conf_kind {
    CONF_INTEGER, /* uint32_t */
    CONF_BOOLEAN, /* bool */
    CONF_STRING,  /* char *, heap */
    CONF_LIST,    /* char *[CONF_INITIAL_MEMBERS_MAX], heap; the count is another field */
};

/* What a string must look like, beyond being free of control characters. */
enum conf_shape {
    CONF_ANY = 0,
    CONF_MEMBER_NAME,
    CONF_PATH,          /* absolute */
    CONF_PATH_OR_EMPTY, /* ... or not given */
    CONF_SOCKET,        /* absolute, and short enough for a Unix socket */
    CONF_LEVEL,
    CONF_LISTEN,  /* host:port, [v6]:port, *:port */
    CONF_ADDRESS, /* host:port, [v6]:port; "" for the computed default */
    CONF_URL,     /* http(s)://host:port; "" for the computed default */
    CONF_MEMBER,  /* name=host:port */
};

struct conf_entry {
    const char *path; /* "peer.listen"; one dot at most */
    enum conf_kind kind;
    enum conf_shape shape;
    size_t offset;       /* in struct conf */
    uint32_t min, max;   /* integers */
    const char *initial; /* the default as text; NULL: empty, or computed from other options */
    const char *words;   /* how to call a default that has no text; NULL when initial is set */
    const char *example; /* the value in the sample file; NULL: initial */
    bool live;           /* SIGHUP applies it */
    const char *help;
};

struct conf_group {
    const char *name;
    const char *help;
};

extern const struct conf_entry conf_entries[];
extern const size_t conf_entry_count;
extern const struct conf_group conf_groups[];
extern const size_t conf_group_count;

/* The row of a field of struct conf, checked by the compiler: CONF_INDEX(raft.heartbeat_ms). */
#define CONF_INDEX(field) conf_entry_index_of(offsetof(struct conf, field))
size_t conf_entry_index_of(size_t offset);
/* The row with this path, or conf_entry_count. */
size_t conf_entry_find(const char *path);
/* "listen" of "peer.listen". */
const char *conf_entry_leaf(const struct conf_entry *entry);
/* Is the entry in this group ("" for the top level)? */
bool conf_entry_in(const struct conf_entry *entry, const char *group);

static inline uint32_t *conf_integer(const struct conf *conf, const struct conf_entry *entry)
{
    return (uint32_t *)(void *)((char *)(uintptr_t)conf + entry->offset);
}

static inline bool *conf_boolean(const struct conf *conf, const struct conf_entry *entry)
{
    return (bool *)(void *)((char *)(uintptr_t)conf + entry->offset);
}

/* A string, or the first of a list. */
static inline char **conf_strings(const struct conf *conf, const struct conf_entry *entry)
{
    return (char **)(void *)((char *)(uintptr_t)conf + entry->offset);
}

/* Everything that has a default text is set, the rest is empty; the name is the host's. */
void conf_set_defaults(struct conf *ret);
/* The defaults that follow from other options, on the heap; "" when there is none. */
char *conf_default_peer_advertise(const struct conf *conf);
char *conf_default_client_advertise(const struct conf *conf);
/* The host's name, on the heap; "" when it is not known. */
char *conf_default_name(void);

static inline bool conf_peer_port_opens(const struct conf *conf)
{
    return conf->peer.certificate[0] != '\0';
}

static inline bool conf_client_port_opens(const struct conf *conf)
{
    return conf->client.certificate[0] != '\0' || !conf->client.tls;
}

/* ---- problems ---------------------------------------------------------------- */

struct conf_report {
    const char *file;
    struct rk_buf *problems;
    unsigned count;
    unsigned line[CONF_ENTRIES_MAX]; /* where each option stands; 0: nowhere */
    bool bad[CONF_ENTRIES_MAX];      /* told already: checks that would only repeat it are left out */
};

/* "file:line: ..." ; line 0 leaves the line out. */
void conf_problem(struct conf_report *report, unsigned line, const char *fmt, ...) RK_PRINTF(3, 4);
/* The same at the line of an option, which is marked bad. */
void conf_problem_at(struct conf_report *report, size_t entry, const char *fmt, ...) RK_PRINTF(3, 4);

/* ---- checks ------------------------------------------------------------------ */

struct conf_address {
    char host[254]; /* without brackets; "*" for all */
    uint16_t port;
    bool is_v6;
};

/* NULL, or what is wrong with the text ("needs a port ..."). Never a wildcard unless asked for. */
const char *conf_address_parse(const char *text, bool wildcard, struct conf_address *ret);
bool conf_address_is_loopback(const struct conf_address *address);
/* Splits "name=host:port"; the name goes to ret_name (RK_NAME_BYTES_MAX + 1 bytes). NULL, or what is wrong.
 */
const char *conf_member_parse(const char *text, char *ret_name, struct conf_address *ret);
/* The value of log_level, or 0. */
int conf_level_parse(const char *text);

/* One string against its option's shape. */
void conf_check_string(struct conf_report *report, size_t entry, unsigned line, const char *text);
/* What single values cannot tell: do they fit together? */
void conf_check(struct conf_report *report, const struct conf *conf);

/* The known name closest to an unknown one in this group ("" for the top level), or an option of that name in
 * another group. On the heap: " did you mean ..." or "". */
char *conf_suggest(const char *group, const char *name);
/* The same among some words. */
const char *conf_nearest(const char *word, const char *const *known, size_t count);

#endif

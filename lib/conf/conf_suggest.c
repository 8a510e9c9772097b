/* lib/conf/conf_suggest.c - the known name that somebody probably meant. */
#include "config.h" /* _GNU_SOURCE */

#include "lib/conf/conf_private.h"

#include <string.h>

#define WORD_BYTES_MAX 64u

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn one word into the other. */
static unsigned distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len > WORD_BYTES_MAX || b_len > WORD_BYTES_MAX)
        return WORD_BYTES_MAX;
    unsigned row[WORD_BYTES_MAX + 1][WORD_BYTES_MAX + 1];
    for (unsigned i = 0; i <= a_len; i++)
        row[i][0] = i;
    for (unsigned j = 0; j <= b_len; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        for (size_t j = 1; j <= b_len; j++) {
            unsigned replace = row[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            row[i][j] = min3(row[i - 1][j] + 1, row[i][j - 1] + 1, replace);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                row[i - 2][j - 2] + 1 < row[i][j])
                row[i][j] = row[i - 2][j - 2] + 1;
        }
    }
    return row[a_len][b_len];
}

/* Short words are all close to each other, so they must be closer. */
static unsigned distance_max(const char *word)
{
    size_t len = strlen(word);
    if (len < 3)
        return 0;
    return len < 5 ? 1 : len < 9 ? 2 : 3;
}

const char *conf_nearest(const char *word, const char *const *known, size_t count)
{
    const char *best = NULL;
    unsigned best_distance = distance_max(word) + 1;
    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(word, known[i]);
        if (d < best_distance) {
            best_distance = d;
            best = known[i];
        }
    }
    return best;
}

/* Names that may stand in this group. */
static size_t names_in(const char *group, const char **ret)
{
    size_t count = 0;
    for (size_t i = 0; i < conf_entry_count; i++)
        if (conf_entry_in(&conf_entries[i], group))
            ret[count++] = conf_entry_leaf(&conf_entries[i]);
    for (size_t i = 0; i < conf_group_count && group[0] == '\0'; i++)
        ret[count++] = conf_groups[i].name;
    return count;
}

char *conf_suggest(const char *group, const char *name)
{
    const char *known[CONF_ENTRIES_MAX + CONF_ENTRIES_MAX];
    const char *near = conf_nearest(name, known, names_in(group, known));
    if (near)
        return rk_asprintf("; did you mean %s?", near);
    for (size_t i = 0; i < conf_entry_count; i++) {
        const struct conf_entry *entry = &conf_entries[i];
        const char *leaf = conf_entry_leaf(entry);
        if (strcmp(leaf, name) != 0)
            continue;
        if (leaf == entry->path)
            return rk_asprintf("; %s stands outside of all groups", leaf);
        return rk_asprintf("; did you mean %s in the group %.*s?", leaf, (int)(leaf - 1 - entry->path),
                           entry->path);
    }
    return rk_strdup("; raftkv.conf(5) explains those that exist");
}

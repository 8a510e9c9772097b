/* tests/sim/sim_disk_rows.c - store.h's rows in memory, with a list of what a crash may take back.
 *
 * The table is one sorted array of counted rows. Each commit keeps what it changed until
 * a flush makes it durable; a crash undoes the newest ones, as many as luck wants. */
#include "lib/mvcc/mvcc_rows.h"
#include "tests/sim/sim_disk_internal.h"

#include <errno.h>

struct store_cursor {
    struct sim_disk *disk;
    struct sim_row *at; /* NULL: nowhere */
};

/* ---- rows ------------------------------------------------------------------------------- */

static struct rk_slice key_of(const struct sim_row *row)
{
    return rk_slice(row->bytes, row->key_len);
}

static struct rk_slice value_of(const struct sim_row *row)
{
    return rk_slice(row->bytes + row->key_len, row->value_len);
}

static struct sim_row *row_new(struct rk_slice key, struct rk_slice value)
{
    struct sim_row *row = rk_realloc(NULL, sizeof(*row) + key.len + value.len);

    *row = (struct sim_row){.refs = 1, .key_len = (uint32_t)key.len, .value_len = (uint32_t)value.len};
    if (key.len > 0)
        memcpy(row->bytes, key.data, key.len);
    if (value.len > 0)
        memcpy(row->bytes + key.len, value.data, value.len);
    row->hash = sim_hash(sim_hash(1, key), value);
    return row;
}

static struct sim_row *row_ref(struct sim_row *row)
{
    if (row)
        row->refs++;
    return row;
}

static void row_unref(struct sim_row *row)
{
    if (row && --row->refs == 0)
        free(row);
}

/* ---- the table ----------------------------------------------------------------------------- */

/* The first place whose key is at or behind key. */
static size_t lower(const struct sim_table *table, struct rk_slice key)
{
    size_t low = 0, high = table->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (rk_slice_cmp(key_of(table->rows[mid]), key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_at(const struct sim_table *table, size_t at, struct rk_slice key)
{
    return at < table->count && rk_slice_eq(key_of(table->rows[at]), key);
}

static void account(struct sim_table *table, const struct sim_row *row, bool in)
{
    table->hash = in ? table->hash + row->hash : table->hash - row->hash;
    table->bytes =
        in ? table->bytes + row->key_len + row->value_len : table->bytes - row->key_len - row->value_len;
}

/* Makes the row at key's place be row (a reference is given away), or none. Returns the old one, whose
 * reference is the caller's; NULL. */
static struct sim_row *table_set(struct sim_table *table, struct rk_slice key, struct sim_row *row)
{
    size_t at = lower(table, key);
    struct sim_row *old = is_at(table, at, key) ? table->rows[at] : NULL;

    if (!old && row) {
        if (table->count == table->cap) {
            table->cap = table->cap ? table->cap * 2 : 256;
            table->rows = rk_realloc(table->rows, table->cap * sizeof(struct sim_row *));
        }
        memmove(table->rows + at + 1, table->rows + at, (table->count - at) * sizeof(struct sim_row *));
        table->count++;
    } else if (old && !row) {
        table->count--;
        memmove(table->rows + at, table->rows + at + 1, (table->count - at) * sizeof(struct sim_row *));
    }
    if (row) {
        table->rows[at] = row;
        account(table, row, true);
    }
    if (old)
        account(table, old, false);
    return old;
}

void sim_table_copy(struct sim_table *to, const struct sim_table *from)
{
    *to = *from;
    to->cap = from->count;
    to->rows = from->count > 0 ? RK_NEW_ARRAY(struct sim_row *, from->count) : NULL;
    for (size_t i = 0; i < from->count; i++)
        to->rows[i] = row_ref(from->rows[i]);
}

void sim_table_deinit(struct sim_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        row_unref(table->rows[i]);
    free(table->rows);
}

void sim_table_undo(struct sim_table *table, const struct sim_commit *commit)
{
    for (size_t i = commit->count; i > 0; i--) {
        const struct sim_undo *undo = &commit->undo[i - 1];
        struct rk_slice key = key_of(undo->before ? undo->before : undo->after);

        row_unref(table_set(table, key, row_ref(undo->before)));
    }
}

void sim_commit_deinit(struct sim_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        row_unref(commit->undo[i].before);
        row_unref(commit->undo[i].after);
    }
    free(commit->undo);
    *commit = (struct sim_commit){0};
}

void sim_rows_forget_commits(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->commit_count; i++)
        sim_commit_deinit(&disk->commits[i]);
    disk->commit_count = 0;
}

/* ---- rot ------------------------------------------------------------------------------------ */

static bool is_of_keys(const struct sim_row *row)
{
    return row->key_len > 4 && row->bytes[4] == MVCC_TABLE_KEYS && row->value_len >= 26;
}

static struct sim_row *flipped(const struct sim_row *row, size_t bit)
{
    struct sim_row *made;
    uint8_t *value = rk_new0(row->value_len, 1);

    memcpy(value, row->bytes + row->key_len, row->value_len);
    value[bit / 8] = (uint8_t)(value[bit / 8] ^ 1u << bit % 8);
    made = row_new(key_of(row), rk_slice(value, row->value_len));
    free(value);
    return made;
}

bool sim_disk_rot_row(struct sim_disk *disk, struct rk_random *random)
{
    struct sim_table *table = &disk->table;
    size_t first = table->count ? rk_random_below(random, table->count) : 0;

    if (disk->in_txn || disk->cursors > 0)
        return false;
    for (size_t i = 0; i < table->count; i++) {
        struct sim_row *row = table->rows[(first + i) % table->count];

        if (!is_of_keys(row))
            continue;
        row_unref(
            table_set(table, key_of(row), flipped(row, rk_random_below(random, 8ull * row->value_len))));
        return disk->rotten = true;
    }
    return false;
}

/* Memory, a bus, a controller: what is on the disk is right, and what is read is not. */
static struct rk_slice glitched(struct sim_disk *disk, const struct sim_row *row)
{
    size_t len = row->value_len < sizeof(disk->glitched) ? row->value_len : sizeof(disk->glitched);

    memcpy(disk->glitched, row->bytes + row->key_len, len);
    disk->glitched[17] ^= 2; /* how many versions there were */
    disk->glitch = false;
    return rk_slice(disk->glitched, len);
}

/* ---- store.h: transactions ------------------------------------------------------------------ */

int store_rows_open(struct store_dir *dir, const struct store_rows_config *config RK_UNUSED,
                    void (*progress)(void *userdata, unsigned percent) RK_UNUSED, void *userdata RK_UNUSED,
                    struct store_rows **ret, char **ret_error RK_UNUSED)
{
    rk_assert(!dir->disk->rows_open);
    dir->disk->rows_open = true;
    dir->disk->rows_error = 0;
    *ret = RK_NEW(struct store_rows);
    (*ret)->disk = dir->disk;
    return 0;
}

/* A close in order leaves everything durable. */
void store_rows_close(struct store_rows *rows)
{
    if (!rows)
        return;
    rk_assert(rows->disk->cursors == 0);
    if (rows->disk->in_txn)
        store_rows_abort(rows);
    if (rows->disk->rows_error == 0)
        sim_rows_forget_commits(rows->disk);
    rows->disk->rows_open = false;
    free(rows);
}

int store_rows_begin(struct store_rows *rows)
{
    rk_assert(!rows->disk->in_txn);
    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    rows->disk->in_txn = true;
    return 0;
}

int store_rows_commit(struct store_rows *rows)
{
    struct sim_disk *disk = rows->disk;

    rk_assert(disk->in_txn && disk->cursors == 0);
    sim_disk_point(disk);
    if (disk->commit_count == disk->commit_cap) {
        disk->commit_cap = disk->commit_cap ? disk->commit_cap * 2 : 16;
        disk->commits = rk_realloc(disk->commits, disk->commit_cap * sizeof(struct sim_commit));
    }
    disk->commits[disk->commit_count++] = disk->txn;
    disk->txn = (struct sim_commit){0};
    disk->in_txn = false;
    sim_disk_point(disk);
    return 0;
}

void store_rows_abort(struct store_rows *rows)
{
    struct sim_disk *disk = rows->disk;

    rk_assert(disk->in_txn && disk->cursors == 0);
    sim_table_undo(&disk->table, &disk->txn);
    sim_commit_deinit(&disk->txn);
    disk->in_txn = false;
}

int store_rows_flush(struct store_rows *rows)
{
    struct sim_disk *disk = rows->disk;

    if (disk->rows_error)
        return disk->rows_error;
    sim_disk_point(disk);
    if (disk->rows_break) {
        disk->rows_break = false;
        if (disk->rows_land)
            sim_rows_forget_commits(disk);
        return disk->rows_error = -EIO;
    }
    sim_rows_forget_commits(disk);
    if (disk->watch.rows_flushed)
        disk->watch.rows_flushed(disk->watch.userdata);
    sim_disk_point(disk);
    return 0;
}

static void change(struct sim_disk *disk, struct rk_slice key, struct sim_row *row)
{
    struct sim_commit *txn = &disk->txn;

    rk_assert(disk->in_txn);
    if (txn->count == txn->cap) {
        txn->cap = txn->cap ? txn->cap * 2 : 8;
        txn->undo = rk_realloc(txn->undo, txn->cap * sizeof(*txn->undo));
    }
    txn->undo[txn->count].after = row_ref(row);
    txn->undo[txn->count].before = table_set(&disk->table, key, row);
    txn->count++;
    disk->rows_dirty += key.len + (row ? row->value_len : 0);
}

int store_rows_put(struct store_rows *rows, struct rk_slice key, struct rk_slice value)
{
    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    change(rows->disk, key, row_new(key, value));
    return 0;
}

int store_rows_del(struct store_rows *rows, struct rk_slice key)
{
    const struct sim_table *table = &rows->disk->table;

    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    if (!is_at(table, lower(table, key), key))
        return STORE_E_NOT_FOUND;
    change(rows->disk, key, NULL);
    return 0;
}

int store_rows_get(struct store_rows *rows, struct rk_slice key, struct rk_buf *ret)
{
    const struct sim_table *table = &rows->disk->table;
    size_t at = lower(table, key);

    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    if (!is_at(table, at, key))
        return STORE_E_NOT_FOUND;
    rk_buf_clear(ret);
    rk_buf_append_slice(ret, value_of(table->rows[at]));
    return 0;
}

int store_rows_del_prefix(struct store_rows *rows, struct rk_slice prefix, uint32_t max)
{
    const struct sim_table *table = &rows->disk->table;
    size_t at = lower(table, prefix);

    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    for (uint32_t i = 0; at < table->count && rk_slice_has_prefix(key_of(table->rows[at]), prefix); i++) {
        if (i == max)
            return 1;
        change(rows->disk, key_of(table->rows[at]), NULL);
    }
    return 0;
}

/* ---- store.h: cursors ---------------------------------------------------------------------------- */

int store_cursor_open(struct store_rows *rows, struct store_cursor **ret)
{
    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    *ret = RK_NEW(struct store_cursor);
    (*ret)->disk = rows->disk;
    rows->disk->cursors++;
    return 0;
}

void store_cursor_close(struct store_cursor *cursor)
{
    cursor->disk->cursors--;
    row_unref(cursor->at);
    free(cursor);
}

static int stand(struct store_cursor *cursor, size_t at)
{
    const struct sim_table *table = &cursor->disk->table;

    if (cursor->disk->rows_error)
        return cursor->disk->rows_error;
    if (at >= table->count)
        return STORE_E_END;
    struct sim_row *row = row_ref(table->rows[at]);
    row_unref(cursor->at);
    cursor->at = row;
    return 0;
}

int store_cursor_seek(struct store_cursor *cursor, struct rk_slice key)
{
    return stand(cursor, lower(&cursor->disk->table, key));
}

int store_cursor_next(struct store_cursor *cursor)
{
    size_t at = lower(&cursor->disk->table, key_of(cursor->at));

    return stand(cursor, at + is_at(&cursor->disk->table, at, key_of(cursor->at)));
}

int store_cursor_prev(struct store_cursor *cursor)
{
    size_t at = lower(&cursor->disk->table, key_of(cursor->at));

    return at == 0 ? STORE_E_END : stand(cursor, at - 1);
}

struct rk_slice store_cursor_key(const struct store_cursor *cursor)
{
    return key_of(cursor->at);
}

struct rk_slice store_cursor_value(const struct store_cursor *cursor)
{
    if (cursor->disk->glitch && cursor->disk->in_txn && is_of_keys(cursor->at))
        return glitched(cursor->disk, cursor->at);
    return value_of(cursor->at);
}

/* ---- store.h: the rest ------------------------------------------------------------------------------ */

/* Pages go out only behind the log that they rest on, so all commits so far are durable. */
int store_rows_checkpoint(struct store_rows *rows)
{
    if (rows->disk->rows_error)
        return rows->disk->rows_error;
    rk_assert(!rows->disk->in_txn);
    sim_rows_forget_commits(rows->disk);
    rows->disk->rows_dirty = 0;
    return 0;
}

uint64_t store_rows_dirty_bytes(const struct store_rows *rows)
{
    return rows->disk->rows_dirty;
}

uint64_t store_rows_bytes(const struct store_rows *rows)
{
    return rows->disk->table.bytes;
}

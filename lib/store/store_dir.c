/* lib/store/store_dir.c - the data directory: its lock, its identity, and how it is emptied.
 *
 * The lock is an OFD lock (fcntl(2)) on the file "lock": unlike a classic POSIX
 * lock it belongs to the open file, so nothing else in the process can drop it by
 * accident, and the kernel drops it when the process ends. The file's text, the
 * process id, is for people only.
 *
 * "identity" is text, one name=value a line, the format first, and last the
 * CRC-32C of all lines before:
 *   format=1
 *   cluster=00000000000000ab
 *   ...
 *   crc32c=1c9f6b3a
 * It is replaced as a whole (rk_file_replace), so it is always the old or the new one.
 *
 * A wipe writes the file "wipe" first and removes it last; a directory that is
 * opened with the marker in it is wiped to the end before anybody looks. */
#include "config.h" /* _GNU_SOURCE */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_file.h"
#include "lib/store/store_internal.h"

#define IDENTITY_BYTES_MAX 4096u

struct store_dir {
    char *path;
    int lock_fd;
    bool has_identity;
    struct store_identity identity;
};

static char *path_in(const char *dir, const char *name)
{
    return rk_asprintf("%s/%s", dir, name);
}

/* ---- checks before anything is touched --------------------------------------- */

static int check_owner(const char *path, char **ret_error)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid()) {
        *ret_error = rk_asprintf("%s belongs to user %ju and this process runs as user %ju: "
                                 "start it as the owner, or chown the directory and everything in it.",
                                 path, (uintmax_t)st.st_uid, (uintmax_t)geteuid());
        return STORE_E_REFUSED;
    }
    if ((st.st_mode & 077) != 0) {
        *ret_error = rk_asprintf("%s is open to other users (mode %04o): run chmod 0700 on it.", path,
                                 (unsigned)(st.st_mode & 07777));
        return STORE_E_REFUSED;
    }
    return 0;
}

/* Berkeley DB would read such a file and let it override what we set, silently. */
static int check_no_db_config(const char *path, char **ret_error)
{
    static const char *const places[] = {"DB_CONFIG", "log/DB_CONFIG", "rows/DB_CONFIG"};
    for (size_t i = 0; i < RK_ARRAY_LEN(places); i++) {
        RK_CLEANUP(rk_freep) char *file = path_in(path, places[i]);
        struct stat st;
        if (lstat(file, &st) == 0) {
            *ret_error = rk_asprintf("%s would override how the data is stored: remove it.", file);
            return STORE_E_REFUSED;
        }
        if (errno != ENOENT)
            return -errno;
    }
    return 0;
}

static int refuse_locked(const char *path, int fd, char **ret_error)
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    *ret_error = rk_asprintf("%s is in use by another process%s%s: stop that one first.", path,
                             pid[0] != '\0' ? ", " : "", pid);
    return STORE_E_REFUSED;
}

static int take_lock(const char *path, int *ret_fd, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *file = path_in(path, "lock");
    RK_CLEANUP(rk_closep) int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES ? refuse_locked(path, fd, ret_error) : -errno;
    RK_CLEANUP(rk_freep) char *pid = rk_asprintf("%jd\n", (intmax_t)getpid());
    if (ftruncate(fd, 0) < 0)
        return -errno;
    /* For people only, so a full disk must not stop us here. */
    int r = rk_file_write_all(fd, rk_slice_str(pid));
    if (r < 0 && r != -ENOSPC && r != -EDQUOT)
        return r;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* ---- identity ------------------------------------------------------------------ */

/* One line each: a value with a control character in it could forge the next line. */
static bool is_plain(const char *s)
{
    for (; *s != '\0'; s++) {
        if (iscntrl((unsigned char)*s))
            return false;
    }
    return true;
}

static void identity_encode(const struct store_identity *id, struct rk_buf *out)
{
    rk_buf_printf(out, "format=%u\n", STORE_FORMAT);
    rk_buf_printf(out, "cluster=%016" PRIx64 "\n", id->cluster_id);
    rk_buf_printf(out, "member=%016" PRIx64 "\n", id->member_id);
    rk_buf_printf(out, "incarnation=%" PRIu64 "\n", id->incarnation);
    rk_buf_printf(out, "removed=%d\n", id->removed);
    rk_buf_printf(out, "name=%s\n", id->name);
    rk_buf_printf(out, "machine=%s\n", id->machine);
    rk_buf_printf(out, "crc32c=%08" PRIx32 "\n", rk_crc32c(0, rk_buf_slice(out)));
}

/* Takes "name=value\n" off the front of *text; NULL when the next line is another one. The value is cut in
 * place. */
static char *take_line(char **text, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(*text, name, len) != 0 || (*text)[len] != '=')
        return NULL;
    char *value = *text + len + 1;
    char *end = strchr(value, '\n');
    if (!end)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return value;
}

static bool take_number(char **text, const char *name, int base, uint64_t *ret)
{
    const char *value = take_line(text, name);
    if (!value || !isxdigit((unsigned char)value[0]))
        return false;
    char *end;
    errno = 0;
    *ret = strtoull(value, &end, base);
    return errno == 0 && *end == '\0';
}

static bool take_string(char **text, const char *name, char *to, size_t size)
{
    const char *value = take_line(text, name);
    if (!value || strlen(value) >= size)
        return false;
    memcpy(to, value, strlen(value) + 1);
    return true;
}

/* The checksum line covers all bytes before it, in every format. */
static bool crc_matches(struct rk_slice file)
{
    static const char last[] = "crc32c=";
    const size_t len = sizeof(last) - 1 + 8 + 1;
    if (file.len < len)
        return false;
    char line[32];
    struct rk_slice body = rk_slice(file.data, file.len - len);
    snprintf(line, sizeof(line), "%s%08" PRIx32 "\n", last, rk_crc32c(0, body));
    return memcmp(file.data + body.len, line, len) == 0;
}

static bool identity_decode(char *text, struct store_identity *id)
{
    uint64_t removed = 0, crc;
    bool ok = take_number(&text, "cluster", 16, &id->cluster_id) &&
              take_number(&text, "member", 16, &id->member_id) &&
              take_number(&text, "incarnation", 10, &id->incarnation) &&
              take_number(&text, "removed", 10, &removed) &&
              take_string(&text, "name", id->name, sizeof(id->name)) &&
              take_string(&text, "machine", id->machine, sizeof(id->machine)) &&
              take_number(&text, "crc32c", 16, &crc);
    id->removed = removed != 0;
    return ok && removed <= 1 && *text == '\0';
}

static int identity_parse(struct store_dir *dir, struct rk_buf *file, char **ret_error)
{
    bool whole = crc_matches(rk_buf_slice(file)) && !memchr(file->data + file->start, '\0', file->len);
    rk_buf_append(file, "", 1);
    char *text = (char *)file->data + file->start;
    uint64_t format;
    struct store_identity id = {0};
    if (whole && take_number(&text, "format", 10, &format)) {
        if (format > STORE_FORMAT) {
            *ret_error =
                rk_asprintf("%s was written by a newer version (format %" PRIu64 ", this one knows %u): "
                            "install that version again.",
                            dir->path, format, STORE_FORMAT);
            return STORE_E_REFUSED;
        }
        if (identity_decode(text, &id)) {
            dir->identity = id;
            dir->has_identity = true;
            return 0;
        }
    }
    *ret_error =
        rk_asprintf("%s/identity is damaged: restore it from a copy, or wipe this host's data and let it "
                    "join again.",
                    dir->path);
    return STORE_E_REFUSED;
}

static int identity_read(struct store_dir *dir, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir->path, "identity");
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    int r = rk_file_read(path, IDENTITY_BYTES_MAX, &file);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && r != -EFBIG)
        return r;
    return identity_parse(dir, &file, ret_error);
}

int store_dir_set_identity(struct store_dir *dir, const struct store_identity *identity)
{
    rk_assert(is_plain(identity->name) && is_plain(identity->machine));
    RK_CLEANUP(rk_freep) char *path = path_in(dir->path, "identity");
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    identity_encode(identity, &file);
    int r = rk_file_replace(path, rk_buf_slice(&file), 0600);
    if ((r == -ENOSPC || r == -EDQUOT) && store_space_release())
        r = rk_file_replace(path, rk_buf_slice(&file), 0600);
    if (r < 0)
        return r;
    dir->identity = *identity;
    dir->has_identity = true;
    return 0;
}

/* ---- wiping --------------------------------------------------------------------- */

static int remove_tree(int parent_fd, const char *name);

static int remove_children(int fd)
{
    DIR *stream = fdopendir(fd); /* owns fd */
    if (!stream) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    for (struct dirent *e = readdir(stream); r == 0 && e; e = readdir(stream)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = remove_tree(dirfd(stream), e->d_name);
    }
    closedir(stream);
    return r;
}

static int remove_tree(int parent_fd, const char *name)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -errno;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = remove_children(fd);
    if (r == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0)
        r = -errno;
    return r;
}

/* What a host collects while it runs. Other people's files, the lock, the ballast and the marker stay. */
static bool is_wiped(const char *name)
{
    static const char *const names[] = {
        "log",     "rows",        "mark",   "mark.tmp",   "identity",         "identity.tmp",
        "rebuild", "rebuild.tmp", "repair", "repair.tmp", STORE_ROWS_DAMAGED, STORE_LOG_DAMAGED};
    for (size_t i = 0; i < RK_ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return strncmp(name, "snapshot", strlen("snapshot")) == 0;
}

static int remove_data(const char *path)
{
    DIR *stream = opendir(path);
    if (!stream)
        return -errno;
    int r = 0;
    for (struct dirent *e = readdir(stream); r == 0 && e; e = readdir(stream)) {
        if (is_wiped(e->d_name))
            r = remove_tree(dirfd(stream), e->d_name);
    }
    closedir(stream);
    return r < 0 ? r : rk_file_sync_dir(path);
}

int store_dir_remove(struct store_dir *dir, const char *name)
{
    RK_CLEANUP(rk_closep) int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = remove_tree(fd, name);
    return r < 0 ? r : rk_file_sync_dir(dir->path);
}

static int finish_wipe(const char *path, const char *marker)
{
    int r = remove_data(path);
    if (r < 0)
        return r;
    if (unlink(marker) < 0 && errno != ENOENT)
        return -errno;
    return rk_file_sync_dir(path);
}

int store_dir_wipe(struct store_dir *dir)
{
    RK_CLEANUP(rk_freep) char *marker = path_in(dir->path, "wipe");
    int r = rk_file_create(marker, rk_slice(NULL, 0), 0600);
    if (r < 0 && r != -EEXIST)
        return r;
    dir->has_identity = false;
    return finish_wipe(dir->path, marker);
}

static int finish_wipe_if_begun(const char *path)
{
    RK_CLEANUP(rk_freep) char *marker = path_in(path, "wipe");
    if (access(marker, F_OK) < 0)
        return errno == ENOENT ? 0 : -errno;
    return finish_wipe(path, marker);
}

/* ---- open and close --------------------------------------------------------------- */

int store_dir_open(const char *path, struct store_dir **ret, char **ret_error)
{
    struct store_dir *dir = RK_NEW(struct store_dir);
    dir->path = rk_strdup(path);
    dir->lock_fd = -1;
    int r = rk_file_make_dir(path, 0700);
    r = r != 0 ? r : check_owner(path, ret_error);
    r = r != 0 ? r : take_lock(path, &dir->lock_fd, ret_error);
    r = r != 0 ? r : check_no_db_config(path, ret_error);
    r = r != 0 ? r : finish_wipe_if_begun(path);
    r = r != 0 ? r : identity_read(dir, ret_error);
    if (r != 0) {
        store_dir_close(dir);
        return r;
    }
    *ret = dir;
    return 0;
}

void store_dir_close(struct store_dir *dir)
{
    if (!dir)
        return;
    rk_closep(&dir->lock_fd);
    free(dir->path);
    free(dir);
}

const char *store_dir_path(const struct store_dir *dir)
{
    return dir->path;
}

const struct store_identity *store_dir_identity(const struct store_dir *dir)
{
    return dir->has_identity ? &dir->identity : NULL;
}

/* ctl/cmd_snapshot.c - save the whole state to a file; have the daemon cut its log.
 *
 * A backup that looks whole and is not is worse than none. The stream goes to a
 * temporary file beside FILE, and FILE's name is given to it only when the stream
 * ended as it should, the bytes are on disk, and nobody else has made a FILE
 * meanwhile. Whatever goes wrong before, the temporary file is removed. */
#include "config.h" /* _GNU_SOURCE, for renameat2 */

#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/output.h"
#include "lib/base/rk_file.h"
#include "lib/base/rk_random.h"

/* Silence on the stream, and the time a cut of the log may take. */
#define SAVE_PATIENCE_MS    60000u
#define TRIGGER_PATIENCE_MS 600000u

struct save {
    const char *path; /* as the operator gave it */
    const char *name; /* its last part */
    int dir_fd;       /* renames happen where the check was made, whatever is moved meanwhile */
    int fd;           /* of the temporary file */
    char *temporary;  /* its name, while it exists */
    uint64_t bytes;
    struct output_progress progress;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

/* Ctrl-C must still remove the temporary file, so it ends the transfer instead of the process. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static bool was_interrupted(void *userdata)
{
    (void)userdata;
    return interrupted != 0;
}

static void save_deinit(struct save *save)
{
    output_progress_end(&save->progress);
    if (save->temporary)
        unlinkat(save->dir_fd, save->temporary, 0);
    free(save->temporary);
    rk_closep(&save->fd);
    rk_closep(&save->dir_fd);
}

/* ---- the files ---- */

static int refuse(const struct save *save)
{
    return ctl_error(CTL_REFUSED, "Give another name, or move that file away.", "%s exists already",
                     save->path);
}

static int fail(const struct save *save, const char *what, int error)
{
    return ctl_error(CTL_FAILED, NULL, "cannot %s %s: %s", what, save->path, strerror(error));
}

static int open_directory(struct save *save)
{
    const char *slash = strrchr(save->path, '/');
    save->name = slash ? slash + 1 : save->path;
    if (!save->name[0])
        return ctl_error(CTL_USAGE, NULL, "%s is a directory; give the name of a file", save->path);
    RK_CLEANUP(rk_freep)
    char *dir = slash ? rk_asprintf("%.*s", (int)(slash - save->path) + 1, save->path) : rk_strdup(".");
    save->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return save->dir_fd < 0 ? fail(save, "open the directory of", errno) : CTL_GO_ON;
}

static int open_temporary(struct save *save)
{
    struct stat st;
    if (fstatat(save->dir_fd, save->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return refuse(save);
    char *name = rk_asprintf("%s.part-%016llx", save->name, (unsigned long long)rk_random_id());
    save->fd = openat(save->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (save->fd < 0) {
        int r = fail(save, "create a file beside", errno);
        free(name);
        return r;
    }
    save->temporary = name;
    return CTL_GO_ON;
}

/* File systems without RENAME_NOREPLACE have hard links, which do not replace either. 0 or -errno. */
static int give_name(const struct save *save)
{
    if (renameat2(save->dir_fd, save->temporary, save->dir_fd, save->name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (linkat(save->dir_fd, save->temporary, save->dir_fd, save->name, 0) < 0)
        return -errno;
    unlinkat(save->dir_fd, save->temporary, 0);
    return 0;
}

static int commit(struct save *save)
{
    if (fsync(save->fd) < 0)
        return fail(save, "write", errno);
    int r = give_name(save);
    if (r < 0)
        return r == -EEXIST ? refuse(save) : fail(save, "give its name to", -r);
    free(save->temporary);
    save->temporary = NULL;
    if (fsync(save->dir_fd) < 0)
        return ctl_error(CTL_FAILED, NULL, "%s is written, but its directory cannot be: %s", save->path,
                         strerror(errno));
    return CTL_OK;
}

/* --- the stream
 * -------------------------------------------------------------------------------------------------------- */

static int on_piece(void *userdata, struct rk_slice piece)
{
    struct save *save = userdata;
    int r = rk_file_write_all(save->fd, piece);
    if (r < 0)
        return r;
    save->bytes += piece.len;
    RK_CLEANUP(rk_freep) char *size = output_bytes(save->bytes);
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("saving: %s", size);
    if (isatty(STDERR_FILENO) == 1)
        output_progress(&save->progress, "saving", text);
    return 0;
}

static void report(const struct save *save, const struct client_snapshot *snapshot)
{
    if (ctl_settings.json) {
        json_t *json = json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)snapshot->bytes, "index",
                                 (json_int_t)snapshot->index, "revision", (json_int_t)snapshot->revision);
        json_t *file = json_string(save->path);
        if (file)
            json_object_set_new(json, "file", file);
        output_json(json);
        json_decref(json);
        return;
    }
    RK_CLEANUP(rk_freep) char *path = output_safe(save->path);
    printf("saved %s: %llu bytes", path, (unsigned long long)snapshot->bytes);
    if (snapshot->index > 0)
        printf(", log index %llu", (unsigned long long)snapshot->index);
    if (snapshot->revision > 0)
        printf(", revision %llu", (unsigned long long)snapshot->revision);
    putchar('\n');
}

static struct client *connect_interruptible(void)
{
    struct client *client = ctl_connect_cancellable(SAVE_PATIENCE_MS, was_interrupted);
    if (client)
        catch_signals();
    return client;
}

static int transfer(struct save *save)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = connect_interruptible();
    if (!client)
        return CTL_FAILED;
    int r = open_temporary(save);
    if (r != CTL_GO_ON)
        return r;
    struct client_snapshot snapshot;
    r = client_snapshot_read(client, on_piece, save, &snapshot);
    output_progress_end(&save->progress);
    if (r != 0)
        return ctl_fail(client, r, r == -ENOSPC ? "Free some space, or save to another disk." : NULL,
                        "cannot save the snapshot, nothing is left behind");
    r = commit(save);
    if (r == CTL_OK)
        report(save, &snapshot);
    return r;
}

int cmd_snapshot_save(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "snapshot save", 1, 1);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(save_deinit) struct save save = {.path = argv[optind], .dir_fd = -1, .fd = -1};
    r = open_directory(&save);
    return r != CTL_GO_ON ? r : transfer(&save);
}

int cmd_snapshot_trigger(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "snapshot trigger", 0, 0);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(TRIGGER_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    uint64_t index;
    r = client_snapshot_trigger(client, &index);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot trigger a snapshot");
    if (ctl_settings.json) {
        json_t *json = json_pack("{s:I}", "index", (json_int_t)index);
        output_json(json);
        json_decref(json);
    } else {
        printf("state written and log cut at index %llu\n", (unsigned long long)index);
    }
    return CTL_OK;
}

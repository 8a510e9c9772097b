/* lib/base/rk_file.h - small files written so that a power cut leaves the old or the new one. */
#ifndef RK_FILE_H
#define RK_FILE_H

#include <sys/types.h>

#include "lib/base/rk_buf.h"

/* Reads a whole file of at most max bytes. 0, -EFBIG, or -errno. */
int rk_file_read(const char *path, size_t max, struct rk_buf *ret) RK_MUST_CHECK;
/* Temporary name, write, fsync, rename over path, fsync the directory. 0 or -errno. */
int rk_file_replace(const char *path, struct rk_slice data, mode_t mode) RK_MUST_CHECK;
/* Creates a file that must not exist yet (O_EXCL, O_NOFOLLOW), writes and fsyncs it. -EEXIST when it does. */
int rk_file_create(const char *path, struct rk_slice data, mode_t mode) RK_MUST_CHECK;
int rk_file_sync_dir(const char *dir) RK_MUST_CHECK;
/* Makes dir (one level) with mode when it is missing; 0 or -errno. */
int rk_file_make_dir(const char *dir, mode_t mode) RK_MUST_CHECK;
/* Writes all of it, over short writes and EINTR. */
int rk_file_write_all(int fd, struct rk_slice data) RK_MUST_CHECK;

#endif

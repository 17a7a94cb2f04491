/* Loaded into a process (LD_PRELOAD), this stands between it and the files below one directory.
 *
 * DISK_DIR   the directory; files elsewhere are left alone
 * DISK_LOG   every change is written there, in order, so that the disk can be made as it was at any moment
 *
 * disk_fail, called by the process itself, makes one of its calls fail.
 *
 * A record of the log: one letter, then the decimal numbers and names of the call, each ended by NUL, then the bytes.
 *   w path offset size bytes    t path size    s path    d path (a directory was synced)
 *   c path (made)               r path path    u path    a bytes (what the process says of itself)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FDS 4096

static char *names[FDS];
static char is_dir[FDS];
static const char *dir;
static size_t dir_size;
static int log_fd = -1;
static long fail_at = 0, calls = 0, failed = 0;
static int fail_errno = 0, fail_always = 0;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static ssize_t real_write(int fd, const void *data, size_t size) { return REAL(write)(fd, data, size); }

__attribute__((constructor)) static void start(void) {
    dir = getenv("DISK_DIR");
    if (dir == NULL) return;
    dir_size = strlen(dir);
    const char *log = getenv("DISK_LOG");
    if (log != NULL) log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) {
    return dir != NULL && strncmp(path, dir, dir_size) == 0 && (path[dir_size] == '/' || path[dir_size] == 0);
}

static void record(const char *head, size_t head_size, const void *data, size_t size) {
    if (log_fd < 0) return;
    real_write(log_fd, head, head_size);
    if (size) real_write(log_fd, data, size);
}

static void say(char letter, const char *one, const char *two) {
    char head[2 * PATH_MAX + 8];
    int size = sprintf(head, "%c%s", letter, one) + 1;
    if (two != NULL) size += sprintf(head + size, "%s", two) + 1;
    record(head, size, NULL, 0);
}

/* Whether this call is the one that fails. */
static int fails(void) {
    calls++;
    if (fail_at == 0 || calls < fail_at || (calls > fail_at && !fail_always)) return 0;
    failed++;
    errno = fail_errno;
    return 1;
}

static const char *name_of(int fd) { return fd >= 0 && fd < FDS ? names[fd] : NULL; }

static void opened(int fd, const char *path, int made) {
    char full[PATH_MAX];
    if (fd < 0 || fd >= FDS) return;
    free(names[fd]);
    names[fd] = NULL;
    if (dir == NULL || realpath(path, full) == NULL || !ours(full)) return;
    struct stat found;
    names[fd] = strdup(full);
    is_dir[fd] = fstat(fd, &found) == 0 && S_ISDIR(found.st_mode);
    if (made) say('c', full, NULL);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        int mode = va_arg(arguments, int);                                                                             \
        va_end(arguments);                                                                                             \
        pthread_mutex_lock(&lock);                                                                                     \
        struct stat before;                                                                                            \
        int is_new = (flags & O_CREAT) && stat(path, &before) != 0;                                                    \
        int fd = REAL(name)(path, flags, mode);                                                                        \
        int kept = errno;                                                                                              \
        opened(fd, path, is_new);                                                                                      \
        if (fd >= 0 && (flags & O_TRUNC) && name_of(fd) && !is_new) {                                                  \
            char head[PATH_MAX + 8];                                                                                   \
            record(head, sprintf(head, "t%s", names[fd]) + 1, "0", 2);                                                 \
        }                                                                                                              \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = kept;                                                                                                  \
        return fd;                                                                                                     \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS) {
        free(names[fd]);
        names[fd] = NULL;
    }
    pthread_mutex_unlock(&lock);
    return REAL(close)(fd);
}

static ssize_t put(int fd, const void *data, size_t size, off64_t offset) {
    ssize_t done;
    if (fails()) {
        if (size / 2 == 0 || fail_errno == EIO) return -1;
        done = REAL(pwrite64)(fd, data, size / 2, offset); /* what fits still goes, as on a disk that fills up */
    } else {
        done = REAL(pwrite64)(fd, data, size, offset);
    }
    if (done > 0) {
        char head[PATH_MAX + 64];
        int head_size = sprintf(head, "w%s", names[fd]) + 1;
        head_size += sprintf(head + head_size, "%lld", (long long)offset) + 1;
        head_size += sprintf(head + head_size, "%zd", done) + 1;
        record(head, head_size, data, done);
    }
    return done;
}

#define PWRITE(name, off_type)                                                                                         \
    ssize_t name(int fd, const void *data, size_t size, off_type offset) {                                             \
        if (name_of(fd) == NULL) return REAL(name)(fd, data, size, offset);                                            \
        pthread_mutex_lock(&lock);                                                                                     \
        ssize_t done = put(fd, data, size, offset);                                                                    \
        pthread_mutex_unlock(&lock);                                                                                   \
        return done;                                                                                                   \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
    if (name_of(fd) == NULL) return real_write(fd, data, size);
    pthread_mutex_lock(&lock);
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t done = put(fd, data, size, offset);
    if (done > 0) lseek64(fd, offset + done, SEEK_SET);
    pthread_mutex_unlock(&lock);
    return done;
}

#define SYNC(name)                                                                                                     \
    int name(int fd) {                                                                                                 \
        if (name_of(fd) == NULL) return REAL(name)(fd);                                                                \
        pthread_mutex_lock(&lock);                                                                                     \
        int failed = fails();                                                                                          \
        if (!failed) say(is_dir[fd] ? 'd' : 's', names[fd], NULL);                                                     \
        pthread_mutex_unlock(&lock);                                                                                   \
        return failed ? -1 : 0; /* the disk is one that the test makes up: no need to wait for the real one */         \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, off_type)                                                                                       \
    int name(int fd, off_type size) {                                                                                  \
        if (name_of(fd) == NULL) return REAL(name)(fd, size);                                                          \
        pthread_mutex_lock(&lock);                                                                                     \
        int done = fails() ? -1 : REAL(name)(fd, size);                                                                \
        if (done == 0) {                                                                                               \
            char head[PATH_MAX + 64];                                                                                  \
            int head_size = sprintf(head, "t%s", names[fd]) + 1;                                                       \
            head_size += sprintf(head + head_size, "%lld", (long long)size) + 1;                                       \
            record(head, head_size, NULL, 0);                                                                          \
        }                                                                                                              \
        pthread_mutex_unlock(&lock);                                                                                   \
        return done;                                                                                                   \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int unlink(const char *path) {
    char full[PATH_MAX];
    if (dir == NULL || realpath(path, full) == NULL || !ours(full)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int done = fails() ? -1 : REAL(unlink)(path);
    if (done == 0) say('u', full, NULL);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    char full[PATH_MAX], new_full[PATH_MAX];
    if (dir == NULL || realpath(from, full) == NULL || !ours(full)) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int done = fails() ? -1 : REAL(rename)(from, to);
    if (done == 0 && realpath(to, new_full) != NULL) say('r', full, new_full);
    pthread_mutex_unlock(&lock);
    return done;
}

/* Called by the process under test: what it has told the world. */
void disk_note(const char *text) {
    pthread_mutex_lock(&lock);
    say('a', text, NULL);
    pthread_mutex_unlock(&lock);
}

long disk_failed(void) { return failed; }

/* The call with this number (counted from 1 again; writes, syncs, truncations, renames, removals) fails, a write after
 * half of its bytes; and all after it, if always. 0: none. */
void disk_fail(long at, int number, int always) {
    calls = 0;
    fail_at = at;
    fail_errno = number;
    fail_always = always;
}

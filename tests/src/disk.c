/* A disk that fails, for a program that is started with this library preloaded: what stands in the file that SLUICE_TEST_DISK names says
   how. "stall": a sync waits until the file says something else. "eio": a sync fails. "enospc": a write to a file fails, and gets
   nothing written. What is not on a file is left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int says(const char *word) {
    const char *path = getenv("SLUICE_TEST_DISK");
    char text[16] = {0};
    int file;
    if (path == NULL || (file = open(path, O_RDONLY | O_CLOEXEC)) < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && strncmp(text, word, strlen(word)) == 0;
}

static int sync_of(const char *name, int file) {
    while (says("stall")) {
        struct timespec moment = {0, 5000000};
        nanosleep(&moment, NULL);
    }
    if (says("eio")) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return sync_of("fsync", file); }
int fdatasync(int file) { return sync_of("fdatasync", file); }

static ssize_t write_of(const char *name, int file, const void *bytes, size_t length, off_t at) {
    struct stat found;
    if (fstat(file, &found) == 0 && S_ISREG(found.st_mode) && says("enospc")) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    return real(file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return write_of("pwrite", file, bytes, length, at); }
ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) { return write_of("pwrite64", file, bytes, length, at); }

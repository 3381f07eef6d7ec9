/* Looking at files and file systems. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    struct stat st;
    struct statx sx;
    struct statfs fs;
    int fd = open("file", O_RDWR | O_CREAT, 0604);
    write(fd, "12345", 5);
    mkfifo("fifo", 0600);
    symlink("file", "link");
    syscall(SYS_stat, "file", &st);
    syscall(SYS_lstat, "link", &st);
    syscall(SYS_fstat, fd, &st);
    syscall(SYS_fstat, 99, &st);
    syscall(SYS_stat, "/dev/null", &st);
    syscall(SYS_stat, "/", &st);
    syscall(SYS_stat, "fifo", &st);
    syscall(SYS_stat, "none", &st);
    syscall(SYS_stat, "file", NULL);
    fstatat(AT_FDCWD, "link", &st, AT_SYMLINK_NOFOLLOW);
    fstatat(fd, "", &st, AT_EMPTY_PATH);
    statx(AT_FDCWD, "file", AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS, &sx);
    statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_SIZE | STATX_BTIME, &sx);
    statx(AT_FDCWD, "none", 0, STATX_ALL, &sx);
    syscall(SYS_statfs, "/proc", &fs);
    syscall(SYS_fstatfs, 99, &fs);
    unlink("file");
    unlink("fifo");
    unlink("link");
    return 0;
}

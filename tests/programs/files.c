/* Opening, reading, writing, moving and removing files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
    char buffer[64] = "";
    umask(022);
    int fd = open("a.txt", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    write(fd, "hello\n\tworld\0\1\377 and a long tail that is cut off", 47);
    struct iovec parts[3] = {{"one", 3}, {"", 0}, {"two\"\\", 5}};
    writev(fd, parts, 3);
    pwritev(fd, parts, 2, 100);
    pwrite(fd, "x", 1, 4096);
    lseek(fd, 0, SEEK_SET);
    read(fd, buffer, 12);
    read(fd, buffer, 40);
    struct iovec into[2] = {{buffer, 4}, {buffer + 8, 16}};
    lseek(fd, -4097, SEEK_END);
    readv(fd, into, 2);
    preadv(fd, into, 2, 1);
    lseek(fd, 0, SEEK_DATA);
    lseek(fd, 1, SEEK_HOLE);
    pread(fd, buffer, 8, 1 << 20);
    ftruncate(fd, 300);
    truncate("a.txt", 200);
    fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8192);
    fsync(fd);
    fdatasync(fd);
    int other = dup(fd);
    dup2(fd, 20);
    dup3(fd, 21, O_CLOEXEC);
    fcntl(fd, F_GETFD);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK);
    fcntl(fd, F_DUPFD, 30);
    fcntl(fd, F_DUPFD_CLOEXEC, 40);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 10};
    fcntl(fd, F_SETLK, &lock);
    fcntl(fd, F_GETLK, &lock);
    flock(fd, LOCK_EX | LOCK_NB);
    int available;
    ioctl(fd, FIONREAD, &available);
    ioctl(fd, TIOCGWINSZ, buffer);
    link("a.txt", "b.txt");
    symlink("a.txt", "c.txt");
    linkat(AT_FDCWD, "a.txt", AT_FDCWD, "d.txt", AT_SYMLINK_FOLLOW);
    rename("b.txt", "e.txt");
    renameat2(AT_FDCWD, "e.txt", AT_FDCWD, "d.txt", RENAME_EXCHANGE);
    chmod("a.txt", 04755);
    fchmod(fd, 0600);
    fchmodat(AT_FDCWD, "a.txt", S_IRUSR, 0);
    chown("a.txt", getuid(), -1);
    lchown("c.txt", -1, getgid());
    access("a.txt", R_OK | W_OK | X_OK);
    faccessat(AT_FDCWD, "nothing", F_OK, AT_EACCESS);
    struct timespec times[2] = {{1000000000, 5}, {0, UTIME_OMIT}};
    utimensat(AT_FDCWD, "a.txt", times, AT_SYMLINK_NOFOLLOW);
    futimens(fd, NULL);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    unlink("c.txt");
    unlinkat(AT_FDCWD, "d.txt", 0);
    unlink("e.txt");
    unlink("a.txt");
    close(other);
    close(fd);
    close(fd);
    int temporary = open(".", O_TMPFILE | O_WRONLY, 0600);
    open("/dev/null", O_PATH | O_NOFOLLOW);
    open("missing/\303\244\200", O_RDONLY | O_DIRECTORY);
    return temporary < 0;
}

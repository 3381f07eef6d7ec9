/* Directories: making, listing, changing to and removing them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    char path[PATH_MAX];
    mkdir("d", 0755);
    mkdir("d", 0700);
    mkdirat(AT_FDCWD, "d/e", 01777);
    mknod("d/fifo", S_IFIFO | 0644, 0);
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    openat(fd, "new", O_CREAT | O_WRONLY | O_EXCL, 0600);
    openat(fd, "new", O_CREAT | O_WRONLY | O_EXCL, 0600);
    DIR *directory = opendir("d");
    while (readdir(directory))
        ;
    closedir(directory);
    chdir("d");
    syscall(SYS_getcwd, path, sizeof path);
    syscall(SYS_getcwd, path, 3);
    fchdir(fd);
    chdir("..");
    chdir("d/new");
    rmdir("d");
    unlinkat(fd, "new", 0);
    unlinkat(fd, "fifo", 0);
    unlinkat(fd, "e", AT_REMOVEDIR);
    rmdir("d");
    syscall(SYS_getdents64, fd, path, sizeof path);
    chroot("nowhere");
    return 0;
}

/* Symbolic links read, and extended attributes, which not every file system has. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

int main(void)
{
    char buffer[64];
    int fd = open("file", O_CREAT | O_RDWR, 0600);
    symlink("file", "link");
    readlink("link", buffer, sizeof buffer);
    readlink("link", buffer, 2);
    readlink("file", buffer, 2);
    readlinkat(AT_FDCWD, "link", buffer, sizeof buffer);
    setxattr("file", "user.name", "value\0more", 10, XATTR_CREATE);
    lsetxattr("link", "user.other", "", 0, 0);
    getxattr("file", "user.name", buffer, sizeof buffer);
    getxattr("file", "user.name", NULL, 0);
    fgetxattr(fd, "user.none", buffer, sizeof buffer);
    listxattr("file", buffer, sizeof buffer);
    flistxattr(fd, NULL, 0);
    fsetxattr(fd, "user.name", "again", 5, XATTR_REPLACE);
    removexattr("file", "user.name");
    fremovexattr(fd, "user.name");
    unlink("link");
    unlink("file");
    return 0;
}

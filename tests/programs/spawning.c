/* vfork with exec, posix_spawn, a failing exec. */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(void)
{
    char *arguments[] = {"true", "with \"quotes\"", "and a rather long argument that is cut off somewhere", NULL};
    char *none[] = {NULL};
    pid_t child = vfork();
    if (child == 0) {
        execve("/nowhere/true", arguments, environ);
        execve("/bin/true", arguments, none);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    posix_spawn(&child, "/bin/false", NULL, NULL, arguments, environ);
    waitpid(child, NULL, 0);
    posix_spawn(&child, "/nowhere/false", NULL, NULL, arguments, environ);
    child = vfork();
    if (child == 0)
        _exit(9);
    waitpid(child, NULL, 0);
    syscall(SYS_execveat, -100, "/bin/true", arguments, none, 0);
    return 1;
}

/* vfork with exec, posix_spawn, a failing exec, clone3 with descriptors of the children. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* struct clone_args (linux/sched.h), of its first size */
static void clone3(uint64_t flags, int *pidfd, int *tid)
{
    uint64_t arguments[8] = {flags, (uintptr_t)pidfd, 0, (uintptr_t)tid, SIGCHLD};
    pid_t child = syscall(SYS_clone3, arguments, sizeof arguments);
    if (child == 0)
        _exit(8);
    waitpid(child, NULL, 0);
}

int main(void)
{
    int pidfd, tid;
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
    clone3(CLONE_PIDFD, &pidfd, NULL);
    clone3(CLONE_PIDFD | CLONE_PARENT_SETTID, &pidfd, &tid);
    syscall(SYS_execveat, -100, "/bin/true", arguments, none, 0);
    return 1;
}

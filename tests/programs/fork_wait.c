/* Children that exit, are killed, stop and go on, and the ways to wait for them. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int status;
    siginfo_t info;
    struct rusage usage;
    if (fork() == 0)
        _exit(3);
    wait(&status);
    if (fork() == 0) {
        getpid();
        raise(SIGKILL);
    }
    wait4(-1, &status, 0, &usage);
    pid_t child = fork();
    if (child == 0)
        exit(0);
    waitid(P_PID, child, &info, WEXITED | WNOWAIT);
    waitpid(child, &status, __WALL);
    waitpid(child, &status, WNOHANG | WUNTRACED);
    wait(NULL);
    child = syscall(SYS_fork);
    if (child == 0) {
        raise(SIGUSR1);
        _exit(1);
    }
    waitpid(child, NULL, 0);
    child = fork();
    if (child == 0) {
        if (fork() == 0)
            _exit(5);
        wait(&status);
        setsid();
        getpgid(0);
        setpgid(0, 0);
        _exit(6);
    }
    waitid(P_ALL, 0, &info, WEXITED);
    return 4;
}

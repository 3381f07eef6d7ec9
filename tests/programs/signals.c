/* Handlers, masks, queued signals with values, alternate stacks, interrupted calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void handle(int number) {}
static void act(int number, siginfo_t *info, void *context) {}

int main(void)
{
    struct sigaction action = {.sa_sigaction = act, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigset_t set, old;
    sigfillset(&action.sa_mask);
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&stack, NULL);
    sigaltstack(NULL, &stack);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR1, NULL, &action);
    signal(SIGUSR2, handle);
    signal(SIGWINCH, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    sigaction(SIGRTMIN + 3, &action, NULL);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGWINCH);
    kill(getpid(), 0);
    sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 42});
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    sigpending(&set);
    siginfo_t info;
    struct timespec zero = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigtimedwait(&set, &info, &zero);
    sigtimedwait(&set, &info, &zero);
    sigprocmask(SIG_SETMASK, &old, NULL);
    sigfillset(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    sigprocmask(77, &set, NULL);
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    pause();
    setitimer(ITIMER_REAL, &timer, NULL);
    sigemptyset(&set);
    sigsuspend(&set);
    int ends[2];
    char byte;
    pipe(ends);
    setitimer(ITIMER_REAL, &timer, NULL);
    read(ends[0], &byte, 1);
    struct timespec rest, second = {5, 0};
    setitimer(ITIMER_REAL, &timer, NULL);
    syscall(SYS_nanosleep, &second, &rest);
    sigaction(99, &action, NULL);
    kill(getpid(), SIGTERM);
    return 0;
}

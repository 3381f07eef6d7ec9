/* told DO...: waits for a byte on stdin before each word, then does it; what it does is said by the words below. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void handle(int number) { write(1, "handled\n", 8); }
static void handle_other(int number) { write(1, "other\n", 6); }

static void *library;

static void say(int number)
{
    char text[32];
    write(1, text, snprintf(text, sizeof text, "%d\n", number));
}

static void give(int result) { say(result < 0 ? -errno : result); }

static void handle_value(int number, siginfo_t *info, void *unused)
{
    say(info->si_code);
    say(info->si_value.sival_int);
}

static const struct timespec LONG = {0, 150000000};
/* of calls that are interrupted meanwhile */

static void *thread(void *unused) { return NULL; }

static void *execute(void *unused)
{
    execl("/bin/true", "true", NULL);
    return NULL;
}

static void act(const char *word)
{
    pthread_t made;
    pid_t child;
    if (!strcmp(word, "fork")) {
        if ((child = fork()) == 0)
            _exit(3);
        waitpid(child, NULL, 0);
    } else if (!strcmp(word, "vfork")) {
        if ((child = vfork()) == 0)
            _exit(4);
        waitpid(child, NULL, 0);
    } else if (!strcmp(word, "spawn")) {
        if ((child = vfork()) == 0)
            execl("/bin/true", "true", NULL);
        waitpid(child, NULL, 0);
    } else if (!strcmp(word, "thread")) {
        pthread_create(&made, NULL, thread, NULL);
        pthread_join(made, NULL);
    } else if (!strcmp(word, "exec")) {
        execl("/bin/true", "true", NULL);
    } else if (!strcmp(word, "exec_thread")) {
        pthread_create(&made, NULL, execute, NULL);
        pthread_join(made, NULL);
    } else if (!strcmp(word, "signal")) {
        raise(SIGUSR1);
    } else if (!strcmp(word, "queue")) {
        sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
    } else if (!strcmp(word, "stop")) {
        raise(SIGSTOP);
    } else if (!strcmp(word, "segv")) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile int *)0x10 = 1;
    } else if (!strcmp(word, "call")) {
        syscall(SYS_getppid);
    } else if (!strcmp(word, "nanosleep")) {
        give(nanosleep(&LONG, NULL));
    } else if (!strcmp(word, "poll")) {
        give(poll(NULL, 0, LONG.tv_nsec / 1000000));
    } else if (!strcmp(word, "select")) {
        give(select(0, NULL, NULL, NULL, &(struct timeval){0, LONG.tv_nsec / 1000}));
    } else if (!strcmp(word, "futex")) {
        int word = 0;
        give(syscall(SYS_futex, &word, 0, 0, &LONG, NULL, 0));
    } else if (!strcmp(word, "epoll")) {
        give(epoll_wait(epoll_create1(0), &(struct epoll_event){0}, 1, LONG.tv_nsec / 1000000));
    } else if (!strcmp(word, "value")) {
        sigaction(SIGUSR1, &(struct sigaction){.sa_sigaction = handle_value, .sa_flags = SA_SIGINFO}, NULL);
        sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
    } else if (!strcmp(word, "exit")) {
        exit(7);
    } else if (!strcmp(word, "open")) {
        if (open("/dev/null", O_RDONLY) < 0)
            say(errno);
    } else if (!strcmp(word, "child")) {
        if ((child = fork()) == 0)
            _exit(5);
        say(child);
    } else if (!strcmp(word, "reap")) {
        waitpid(-1, NULL, 0);
    } else if (!strcmp(word, "load")) {
        library = dlopen("libutil.so.1", RTLD_NOW) ?: dlopen("libcrypt.so.1", RTLD_NOW);
    } else if (!strcmp(word, "unload")) {
        dlclose(library);
    }
}

int main(int argc, char **argv)
{
    char byte;
    signal(SIGUSR1, handle);
    signal(SIGUSR2, handle_other);
    write(1, "ready\n", 6);
    for (int i = 1; i < argc; i++) {
        if (read(0, &byte, 1) != 1)
            return 1;
        act(argv[i]);
        write(1, "done\n", 5);
    }
    read(0, &byte, 1);
    return 0;
}

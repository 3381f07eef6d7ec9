/* busy FILE THREADS [churn|leaderless|idle]: threads that make system calls and count them in FILE, eight bytes each.

   churn: a counter each, and beside it threads that are created and end as fast as they can.
   leaderless: the main thread ends first.
   idle: the threads are blocked; only the main thread counts. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile unsigned long *counters;

static void *count(void *number)
{
    volatile unsigned long *counter = &counters[(long)number];
    for (;;) {
        syscall(SYS_getppid);
        ++*counter;
    }
}

static void *end(void *unused)
{
    return NULL;
}

static void *churn(void *number)
{
    volatile unsigned long *counter = &counters[(long)number];
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end, NULL) == 0)
            pthread_join(thread, NULL);
        ++*counter;
    }
}

static void *idle(void *unused)
{
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    nice(19); /* leave the CPUs to those who watch */
    long threads = atol(argv[2]);
    const char *how = argc > 3 ? argv[3] : "";
    int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    ftruncate(fd, threads * 8);
    counters = mmap(NULL, threads * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    int leaderless = !strcmp(how, "leaderless");
    for (long i = leaderless ? 0 : 1; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, &small, !strcmp(how, "churn") ? churn : !strcmp(how, "idle") ? idle : count, (void *)i);
    }
    write(1, "ready\n", 6);
    if (leaderless)
        pthread_exit(NULL);
    count(0);
}

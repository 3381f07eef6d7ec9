// calling THREADS CALLS RATE: waits for the end of its input, then so many threads call getppid so often each, all
// together RATE times a second at most (0: as often as they can), and tells how often that was.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long threads, calls, rate;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time); // of the vDSO: no system call
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void *call(void *unused)
{
    double start = now();
    for (long made = 0; made < calls; made++) {
        while (rate && (now() - start) * rate < made * threads)
            ;
        syscall(SYS_getppid);
    }
    return unused;
}

int main(int count, char **words)
{
    char byte;
    threads = atol(words[1]), calls = atol(words[2]), rate = atol(words[3]);
    pthread_t others[threads];
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    double start = now();
    for (long i = 1; i < threads; i++)
        pthread_create(&others[i], NULL, call, NULL);
    call(NULL);
    for (long i = 1; i < threads; i++)
        pthread_join(others[i], NULL);
    printf("%.0f\n", threads * calls / (now() - start));
    return 0;
}

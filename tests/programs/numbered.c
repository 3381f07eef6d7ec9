/* numbered FILE THREADS: threads that number their calls of getppid, by the first argument, and their signals to
   themselves, by the value.

   FILE has four numbers of eight bytes for each thread: calls begun, calls returned, signals queued, signals handled. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct numbers {
    volatile unsigned long begun, returned, queued, handled;
};

static struct numbers *all;
static __thread struct numbers *volatile mine; /* for the handler */

static void handle(int number, siginfo_t *info, void *context) { mine->handled++; }

static void *work(void *which)
{
    mine = &all[(long)which];
    for (;;) {
        for (int i = 0; i < 8; i++) {
            mine->begun++;
            syscall(SYS_getppid, mine->begun);
            mine->returned++;
        }
        mine->queued++;
        siginfo_t info = {.si_code = SI_QUEUE, .si_pid = getpid(), .si_value.sival_ptr = (void *)mine->queued};
        syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR1, &info);
    }
}

int main(int argc, char **argv)
{
    nice(19); /* leave the CPUs to those who watch */
    long threads = atol(argv[2]);
    int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    ftruncate(fd, threads * sizeof(struct numbers));
    all = mmap(NULL, threads * sizeof(struct numbers), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    sigaction(SIGUSR1, &(struct sigaction){.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART}, NULL);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, (void *)i);
    }
    write(1, "ready\n", 6);
    work(0);
}

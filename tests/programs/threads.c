/* Threads that end, one after the other; each goes on when its maker has returned from making it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static int gate[2];

static void *work(void *number)
{
    char byte;
    read(gate[0], &byte, 1);
    syscall(SYS_gettid);
    write(1, "thread\n", (long)number);
    return number;
}

int main(void)
{
    pthread_t thread;
    pipe(gate);
    for (long i = 0; i < 5; i++) {
        pthread_create(&thread, NULL, work, (void *)i);
        write(gate[1], "!", 1);
        pthread_join(thread, NULL);
    }
    return 2;
}

/* Threads that end, one after the other. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *work(void *number)
{
    syscall(SYS_gettid);
    write(1, "thread\n", (long)number);
    return number;
}

int main(void)
{
    pthread_t thread;
    for (long i = 0; i < 5; i++) {
        pthread_create(&thread, NULL, work, (void *)i);
        pthread_join(thread, NULL);
    }
    return 2;
}

/* Threads one after the other, then several at once, ended by pthread_exit. */
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
    pthread_t threads[4];
    for (long i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, work, (void *)i);
        pthread_join(threads[i], NULL);
    }
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return 2;
}

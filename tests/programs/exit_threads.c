/* exit_group while five threads are blocked in a call. */
#define _GNU_SOURCE
#include <pthread.h>
#include "blocked.h"

static void *block(void *unused)
{
    block_for_ever();
    return NULL;
}

int main(void)
{
    pthread_t thread;
    for (int i = 0; i < 5; i++)
        pthread_create(&thread, NULL, block, NULL);
    wait_blocked(5);
    _exit(4);
}

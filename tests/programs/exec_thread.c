/* A thread that is not the leader executes another program, while the leader and a third thread are blocked. */
#define _GNU_SOURCE
#include <pthread.h>
#include "blocked.h"

static void *block(void *unused)
{
    block_for_ever();
    return NULL;
}

static void *execute(void *unused)
{
    char *arguments[] = {"true", NULL};
    wait_blocked(2);
    syscall(SYS_execve, "/nowhere", arguments, arguments + 1);
    syscall(SYS_execve, "/bin/true", arguments, arguments + 1);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, block, NULL);
    pthread_create(&thread, NULL, execute, NULL);
    block_for_ever();
}

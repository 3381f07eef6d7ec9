/* Threads that are known to be blocked: asked of the kernel, by moving them from one futex to another. */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

static int asleep_on, moved_to;

static void block_for_ever(void)
{
    for (;;)
        syscall(SYS_futex, &asleep_on, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

/* Wait until so many threads are in block_for_ever. */
static void wait_blocked(int count)
{
    while (count > 0) {
        int moved = syscall(SYS_futex, &asleep_on, FUTEX_CMP_REQUEUE_PRIVATE, 0, INT_MAX, &moved_to, 0);
        if (moved > 0)
            count -= moved;
        else
            sched_yield();
    }
}

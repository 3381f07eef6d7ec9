/* Death by a signal of its own making, without a core. */
#include <sys/resource.h>

int main(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    *(volatile int *)0x10 = 1;
    return 0;
}

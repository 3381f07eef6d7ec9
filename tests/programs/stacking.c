// A program that calls getppid from within three functions that keep frame pointers, once its input has ended, and tells
// where: the address behind the call, and those the functions return to.  Given a number, it does so that deep inside.
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAMED __attribute__((noinline, optimize("no-omit-frame-pointer")))

static void *places[4];

FRAMED static void inner(void)
{
    long result;
    places[1] = __builtin_return_address(0);
    asm volatile("lea 1f(%%rip), %%rdx\n\tmov %%rdx, %1\n\tsyscall\n1:"
                 : "=a"(result), "=m"(places[0]) : "a"(SYS_getppid) : "rcx", "rdx", "r11", "memory");
}

FRAMED static void middle(void)
{
    places[2] = __builtin_return_address(0);
    inner();
    asm volatile("");
}

FRAMED static void outer(void)
{
    places[3] = __builtin_return_address(0);
    middle();
    asm volatile("");
}

FRAMED static void deep(int more)
{
    if (more)
        deep(more - 1);
    else
        outer();
    asm volatile("");
}

FRAMED int main(int count, char **words)
{
    char byte;
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    deep(count > 1 ? atoi(words[1]) : 0);
    for (int i = 0; i < 4; i++)
        printf("%#lx\n", (unsigned long)places[i]);
    return 0;
}

/* Says where it has three pages, the middle one unreadable, then waits. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    char *area = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), byte;
    memset(area, 'a', 4096);
    memset(area + 2 * 4096, 'c', 4096);
    munmap(area + 4096, 4096);
    printf("%p\n", area);
    fflush(stdout);
    read(0, &byte, 1);
    return 0;
}

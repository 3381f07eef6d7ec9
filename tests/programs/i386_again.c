/* A 32-bit program without a C library: where it can make a mark it executes itself again, which finds it and ends. */
static int call(int number, int first, int second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

static const char mark[] = "mark", self[] = "/proc/self/exe";

void _start(void)
{
    const char *words[] = {self, 0};
    if (call(5, (int)mark, 0302, 0644) >= 0) /* open: O_CREAT, O_EXCL */
        call(11, (int)self, (int)words, 0); /* execve */
    call(1, 5, 0, 0);
}

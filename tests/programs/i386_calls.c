/* A 32-bit program without a C library. */
static int call(int number, int first, int second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

static void call_with(int number, int first, void *second, int third, void *fourth, int fifth)
{
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(first), "c"(second), "d"(third), "S"(fourth), "D"(fifth) : "memory");
}

static const char path[] = "some file", data[] = "thirty-two bits", self[] = "/proc/self/exe";
static char area[512];

static void handle(int number) {}

void _start(void)
{
    int fd = call(5, (int)path, 0102, 0644); /* open */
    call(4, fd, (int)data, sizeof data - 1);
    call(19, fd, 0, 0); /* lseek */
    call(3, fd, (int)area, 64);
    call(197, fd, (int)area, 0); /* fstat64 */
    call(195, (int)path, (int)area, 0); /* stat64 */
    call(106, (int)path, (int)area, 0); /* stat */
    call(6, fd, 0, 0);
    call(10, (int)path, 0, 0); /* unlink */
    call(122, (int)area, 0, 0); /* uname */
    call(314, fd, 1, 0); /* sync_file_range */
    call(45, 0, 0, 0); /* brk */
    call(199, 0, 0, 0); /* getuid32 */
    call(20, 0, 0, 0); /* getpid */
    int time[2] = {0, 1000};
    call(162, (int)time, 0, 0); /* nanosleep */
    call(42, (int)area, 0, 0); /* pipe */
    int mask[2] = {0x200, 0};
    call_with(175, 0, mask, 0, (void *)8, 0); /* rt_sigprocmask */
    struct { void *handler; unsigned flags; void *restorer; unsigned mask[2]; } action = {handle, 0, 0, {0x4000, 2}};
    call_with(174, 10, &action, 0, (void *)8, 0); /* rt_sigaction */
    action.flags = 4; /* SA_SIGINFO */
    call_with(174, 12, &action, 0, (void *)8, 0);
    call(37, call(20, 0, 0, 0), 10, 0); /* kill, which sigreturn follows */
    call(37, call(20, 0, 0, 0), 12, 0); /* kill, which rt_sigreturn follows */
    call(12, (int)"/nowhere", 0, 0); /* chdir */
    int arguments[6] = {0, 8192, 3, 0x22, -1, 0};
    call(90, (int)arguments, 0, 0); /* old mmap */
    int pid = call(2, 0, 0, 0); /* fork */
    if (pid == 0)
        call(1, 7, 0, 0);
    call(7, pid, (int)area, 0); /* waitpid */
    call(270, 1, 1, 0); /* tgkill */
    call(54, 0, 0x5401, (int)area); /* ioctl TCGETS */
    long long offset;
    call_with(140, 0, 0, 0, &offset, 9); /* _llseek */
    call(252, 6, 0, 0); /* exit_group */
}

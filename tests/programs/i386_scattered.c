/* A 32-bit program without a C library, whose calls have arrays of pointers. */
static int call(int number, int first, int second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

struct iovec { const void *base; unsigned size; };
struct msghdr { void *name; int name_size; struct iovec *buffers; unsigned count; void *control; unsigned control_size; int flags; };

static const char self[] = "/proc/self/exe";
static char first[4], second[40], control[64];
static volatile char touched; /* what nobody has read yet is not in memory, and shown as a pointer */

void _start(void)
{
    int *stack = __builtin_frame_address(0);
    int count = stack[1]; /* argc, above the saved frame pointer */
    int fds[2];
    struct iovec out[3] = {{"one", 3}, {"", 0}, {"three", 5}}, in[2] = {{first, 4}, {second, 40}};
    touched = *(const volatile char *)out[0].base;
    if (count == 3)
        call(252, 5, 0, 0); /* exit_group */
    call(42, (int)fds, 0, 0); /* pipe */
    call(146, fds[1], (int)out, 3); /* writev */
    call(145, fds[0], (int)in, 2); /* readv */
    call(146, fds[1], 8, 1);
    int pair[2]; /* of socketpair */
    int number = 360, domain = 1, type = 2, protocol = 0, *where = pair;
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(domain), "c"(type), "d"(protocol), "S"(where) : "memory");
    struct { unsigned size; int level, type, fd; } rights = {16, 1, 1, fds[0]};
    struct msghdr message = {0, 0, out, 3, &rights, 16, 0};
    call(370, pair[0], (int)&message, 0); /* sendmsg */
    struct msghdr received = {0, 0, in, 2, control, sizeof control, 0};
    call(372, pair[1], (int)&received, 0); /* recvmsg */
    call(372, pair[1], (int)&received, 0x40); /* MSG_DONTWAIT, and nothing has come */
    struct { struct msghdr message; unsigned length; } several[2] = {{{0, 0, out, 3, 0, 0, 0}, 0}, {{0, 0, out, 1, 0, 0, 0}, 0}};
    number = 345; /* sendmmsg */
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(pair[0]), "c"(several), "d"(2), "S"(0) : "memory");
    several[0].message.buffers = several[1].message.buffers = in;
    several[0].message.count = several[1].message.count = 2;
    number = 337; /* recvmmsg */
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(pair[1]), "c"(several), "d"(2), "S"(0), "D"(0) : "memory");
    const char *arguments[] = {"again", "", "a third one, as long as no string that is shown may be", 0};
    const char *environment[] = {"A=1", "B=2", 0};
    call(11, (int)self, (int)arguments, (int)environment); /* execve */
    call(252, 9, 0, 0);
}

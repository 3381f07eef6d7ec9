/* Calls that fail, bad pointers, numbers that are no call. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    char *wild = (char *)0x123456789000;
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    read(-1, wild, 10);
    write(1, wild, 10);
    write(99, "text", 4);
    open(wild, O_RDONLY);
    open(NULL, O_WRONLY);
    edge[4093] = 'e';
    edge[4094] = 'n';
    edge[4095] = 'd';
    open(edge + 4093, O_RDONLY);
    write(99, edge + 4093, 10);
    syscall(SYS_execve, wild, wild, wild);
    syscall(SYS_execve, "/none", wild, NULL);
    syscall(SYS_rt_sigaction, SIGKILL, NULL, NULL, 8);
    syscall(SYS_rt_sigaction, SIGUSR1, wild, wild, 8);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, wild, NULL, 8);
    syscall(SYS_pipe2, wild, 0);
    syscall(SYS_fstat, 0, wild);
    syscall(SYS_poll, wild, 2, 0);
    syscall(SYS_readlink, "/proc/self/exe", wild, 100);
    syscall(SYS_nanosleep, wild, NULL);
    syscall(SYS_connect, 0, wild, 16);
    syscall(SYS_sendmsg, 0, wild, 0);
    syscall(SYS_writev, 1, wild, 2);
    syscall(SYS_futex, wild, 0, 0, NULL);
    syscall(SYS_open, "x", 0x7fffffff, 0777);
    syscall(SYS_mmap, 0, 4096, 0xff, 0xffff, -1, 0);
    syscall(SYS_lseek, 0, 0, 99);
    syscall(SYS_fcntl, 0, 9999, 1);
    syscall(SYS_ioctl, 0, 0xdeadbeef, 1);
    syscall(SYS_kill, 0x7fffffff, 99);
    syscall(9999, 1, 2, 3, 4, 5, 6);
    syscall(-1);
    return 255;
}

/* Sleeping, timers and clocks, by system calls where the C library would not make any. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec now, little = {0, 1000}, wrong = {0, -1};
    struct timeval day;
    syscall(SYS_nanosleep, &little, NULL);
    syscall(SYS_nanosleep, &wrong, NULL);
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &little, &now);
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &little, NULL);
    syscall(SYS_clock_getres, CLOCK_REALTIME, &now);
    syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &now);
    syscall(SYS_clock_gettime, 77, &now);
    syscall(SYS_gettimeofday, &day, NULL);
    syscall(SYS_time, NULL);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    int number;
    syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &number);
    struct itimerspec setting = {{0, 0}, {100, 0}}, old;
    syscall(SYS_timer_settime, number, 0, &setting, &old);
    syscall(SYS_timer_getoverrun, number);
    syscall(SYS_timer_delete, number);
    syscall(SYS_timer_delete, 1234);
    alarm(100);
    alarm(0);
    struct itimerval interval = {{1, 0}, {100, 0}}, none = {};
    setitimer(ITIMER_VIRTUAL, &interval, &none);
    getitimer(ITIMER_PROF, &none);
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    setting.it_value.tv_sec = 0;
    setting.it_value.tv_nsec = 1;
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, NULL);
    uint64_t expired;
    read(fd, &expired, 8);
    timerfd_gettime(fd, &old);
    int word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL);
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &little);
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &little, NULL, FUTEX_BITSET_MATCH_ANY);
    syscall(SYS_futex, &word, FUTEX_WAKE_OP, 1, 1, &word, FUTEX_OP(FUTEX_OP_ADD, 2, FUTEX_OP_CMP_EQ, 1));
    syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, 2, &word, 7);
    syscall(SYS_futex, 1, FUTEX_WAIT, 0, NULL);
    return 0;
}

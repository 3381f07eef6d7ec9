/* Pipes and the ways to wait for them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    int ends[2], more[2];
    syscall(SYS_pipe, ends);
    pipe2(more, O_NONBLOCK | O_CLOEXEC);
    char buffer[8];
    read(more[0], buffer, 8);
    struct pollfd polled[3] = {{ends[0], POLLIN | POLLPRI}, {ends[1], POLLOUT}, {-1, POLLIN}};
    poll(polled, 3, 1000);
    polled[1].fd = 99;
    poll(polled, 2, 0);
    poll(polled, 1, 1);
    write(ends[1], "ab", 2);
    struct timespec timeout = {1, 500};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    ppoll(polled, 1, &timeout, &set);
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable);
    FD_SET(more[0], &readable);
    FD_SET(more[1], &writable);
    struct timeval limit = {0, 0};
    syscall(SYS_select, more[1] + 1, &readable, &writable, NULL, &limit);
    FD_ZERO(&readable);
    FD_SET(more[0], &readable);
    syscall(SYS_select, more[0] + 1, &readable, NULL, NULL, &limit);
    FD_SET(ends[0], &readable);
    pselect(ends[0] + 1, &readable, NULL, NULL, &timeout, &set);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x123456789abcull};
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    event.events = EPOLLIN | EPOLLONESHOT | EPOLLRDHUP;
    event.data.fd = 7;
    epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &event);
    struct epoll_event events[4];
    epoll_wait(epoll, events, 4, -1);
    epoll_wait(epoll, events, 4, 0);
    epoll_pwait(epoll, events, 4, 0, &set);
    epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL);
    int counter = eventfd(3, EFD_NONBLOCK | EFD_SEMAPHORE);
    uint64_t value = 5;
    write(counter, &value, 8);
    read(counter, &value, 8);
    int waiting;
    ioctl(ends[0], FIONREAD, &waiting);
    fcntl(ends[1], F_SETPIPE_SZ, 8192);
    fcntl(ends[1], F_GETPIPE_SZ);
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    write(ends[1], "x", 1);
    return 0;
}

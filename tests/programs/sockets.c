/* Local and internet sockets, messages with descriptors, options. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void local(void)
{
    int pair[2], on = 1;
    char data[32], control[64];
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    struct iovec part[2] = {{"pass", 4}, {"ed", 2}};
    struct msghdr message = {.msg_iov = part, .msg_iovlen = 2, .msg_control = control, .msg_controllen = CMSG_SPACE(8)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(8);
    memcpy(CMSG_DATA(header), (int[]){0, 1}, 8);
    sendmsg(pair[0], &message, MSG_NOSIGNAL);
    struct iovec into = {data, sizeof data};
    struct msghdr received = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    recvmsg(pair[1], &received, MSG_CMSG_CLOEXEC);
    send(pair[0], "plain", 5, MSG_DONTWAIT);
    recv(pair[1], data, sizeof data, MSG_PEEK);
    recv(pair[1], data, sizeof data, 0);
    recv(pair[1], data, sizeof data, MSG_DONTWAIT);
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &credentials, &size);
    setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    shutdown(pair[0], SHUT_WR);
    recv(pair[1], data, sizeof data, 0);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct sockaddr_un name = {AF_UNIX, "socket"};
    bind(listener, (struct sockaddr *)&name, sizeof name);
    listen(listener, 5);
    int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    connect(client, (struct sockaddr *)&name, sizeof name);
    struct sockaddr_un peer;
    size = sizeof peer;
    int server = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
    size = sizeof peer;
    getsockname(server, (struct sockaddr *)&peer, &size);
    size = sizeof peer;
    getpeername(client, (struct sockaddr *)&peer, &size);
    unlink("socket");
    connect(client, (struct sockaddr *)&name, sizeof name);
    struct sockaddr_un hidden = {AF_UNIX, "\0utraced-test-abstract"};
    bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&hidden, offsetof(struct sockaddr_un, sun_path) + 22);
}

static void internet(void)
{
    int on = 1, value = 0;
    char data[16];
    struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}}, peer;
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct linger linger = {1, 5};
    setsockopt(listener, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 1);
    getsockname(listener, (struct sockaddr *)&address, &size);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (struct sockaddr *)&address, sizeof address);
    size = sizeof peer;
    int server = accept(listener, (struct sockaddr *)&peer, &size);
    size = sizeof value;
    getsockopt(server, SOL_SOCKET, SO_TYPE, &value, &size);
    getsockopt(server, SOL_SOCKET, SO_ERROR, &value, &size);
    send(client, "over tcp", 8, 0);
    recvfrom(server, data, sizeof data, 0, NULL, NULL);
    int datagrams = socket(AF_INET, SOCK_DGRAM, IPPROTO_IP);
    address.sin_port = htons(9);
    sendto(datagrams, "udp", 3, 0, (struct sockaddr *)&address, sizeof address);
    struct sockaddr_in6 six = {AF_INET6, htons(9), 0, IN6ADDR_LOOPBACK_INIT};
    sendto(datagrams, "six", 3, MSG_NOSIGNAL, (struct sockaddr *)&six, sizeof six);
    bind(99, (struct sockaddr *)&six, sizeof six);
    socket(AF_INET, SOCK_RAW | 77, 255);
    connect(datagrams, NULL, 0);
}

int main(void)
{
    local();
    internet();
    return 0;
}

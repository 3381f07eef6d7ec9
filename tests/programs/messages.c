/* Several messages with one call, of several buffers each. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT 10

static char sent[COUNT][2][40], got[COUNT][2][8];

int main(void)
{
    int pair[2];
    struct mmsghdr out[COUNT], in[COUNT];
    struct iovec from[COUNT][2], to[COUNT][2];
    memset(out, 0, sizeof out);
    memset(in, 0, sizeof in);
    memset(got, 1, sizeof got);
    for (int i = 0; i < COUNT; i++) {
        from[i][0] = (struct iovec){sent[i][0], sprintf(sent[i][0], "message %d", i)};
        from[i][1] = (struct iovec){sent[i][1], sprintf(sent[i][1], "and more of it, as long as is not shown")};
        to[i][0] = (struct iovec){got[i][0], 4};
        to[i][1] = (struct iovec){got[i][1], 8};
        out[i].msg_hdr.msg_iov = from[i];
        in[i].msg_hdr.msg_iov = to[i];
        out[i].msg_hdr.msg_iovlen = in[i].msg_hdr.msg_iovlen = 2;
    }
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    sendmmsg(pair[0], out, 1, 0);
    sendmmsg(pair[0], out, 3, 0);
    sendmmsg(pair[0], out, 0, 0);
    recvmmsg(pair[1], in, 2, 0, NULL);
    recvmmsg(pair[1], in, COUNT, MSG_DONTWAIT, NULL);
    recvmmsg(pair[1], in, 2, MSG_DONTWAIT, NULL);
    write(1, "", 0);
    return 0;
}

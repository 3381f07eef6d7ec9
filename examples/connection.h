/* A connection to utraced, and as much of JSON as a client needs that has no library for it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAX_PACKET = 204800 }; /* limits.max_packet: no packet is larger */

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static int connect_to_utraced(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("UTRACED_SOCKET");
    if (path == NULL || strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "UTRACED_SOCKET has to name the daemon's socket\n");
        exit(1);
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(path);
    return fd;
}

/* Send one packet. The parameters of our calls are numbers and words of our own, so that nothing needs an escape. */
static void send_packet(int fd, const char *format, ...)
{
    char packet[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(packet, sizeof packet, format, arguments);
    va_end(arguments);
    if (send(fd, packet, size, MSG_NOSIGNAL) < 0)
        fail("send");
}

/* Return what follows the value at p: the ',', ']' or '}' behind it, or the end. The daemon writes valid JSON without
   white space, which is what this and member() rely on; strings may hold anything. From a name it skips the value too. */
static const char *skip(const char *p)
{
    int depth = 0;
    do {
        if (*p == '"')
            while (*++p != '"')
                p += *p == '\\';
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
    } while (depth || !strchr(",]}", *p)); /* strchr finds the end of the string as well */
    return p;
}

/* Return the value of a member, NULL where there is none or where p is no object. */
static const char *member(const char *p, const char *name)
{
    size_t size = strlen(name);
    if (p == NULL || *p != '{')
        return NULL;
    for (; p[1] == '"'; p = skip(p + 1))
        if (strncmp(p + 2, name, size) == 0 && p[2 + size] == '"')
            return p + 2 + size + 2;
    return NULL;
}

/* Write a line of a name and a text without its quotes; its escapes stay, so that it cannot harm a terminal. */
static void show(FILE *file, const char *name, const char *text)
{
    if (text)
        fprintf(file, "%s %.*s\n", name, (int)(skip(text) - text) - 2, text + 1);
}

/* Return the result of a reply; an error ends the program. */
static const char *result_of(const char *reply)
{
    const char *result = member(reply, "result"), *error = member(reply, "error");
    if (result == NULL) {
        show(stderr, "error:", member(error, "message"));
        show(stderr, "hint:", member(member(error, "data"), "hint"));
        exit(1);
    }
    return result;
}

/* Receive one packet, and have the events in it taken: it is one, or several in an array, or else the reply, which is
   returned, and stands until the next one is received. */
static inline const char *receive(int fd, void (*take_event)(const char *))
{
    static char packet[MAX_PACKET + 1];
    ssize_t size = recv(fd, packet, MAX_PACKET, 0);
    if (size < 0)
        fail("recv");
    if (size == 0) {
        fprintf(stderr, "utraced has closed the connection\n");
        exit(1);
    }
    packet[size] = 0;
    if (packet[0] == '[')
        for (const char *event = packet; *event != ']'; event = skip(event + 1))
            take_event(event + 1);
    else if (member(packet, "method"))
        take_event(packet);
    else
        return packet;
    return NULL;
}

/* Return the result of the request just sent. One is under way at a time, so that any reply is its reply. */
static inline const char *reply(int fd, void (*take_event)(const char *))
{
    const char *reply;
    while ((reply = receive(fd, take_event)) == NULL)
        ;
    return result_of(reply);
}

/* maps PID: print the memory mappings of a process as /proc/PID/maps does, from the binary records of process.maps.

   The layout is described in utraced/api/map_records.py and by rpc.discover. All numbers are little-endian: on a
   big-endian machine each needs le64toh() or le32toh().

   cc -o maps maps.c && UTRACED_SOCKET=... ./maps PID */
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "connection.h"

struct header { char magic[8]; uint32_t record_size, count; uint64_t strings, strings_size, zero[4]; };
struct record {
    uint64_t start, end, offset, inode;
    uint32_t major, minor, flags, path_size;
    uint64_t path, zero;
};
enum { READ = 1, WRITE = 2, EXECUTE = 4, SHARED = 8, DELETED = 16 };

/* Receive the reply and return the descriptor that came with it. */
static int receive_fd(int utraced)
{
    static char packet[MAX_PACKET + 1];
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec part = {packet, MAX_PACKET};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(utraced, &message, MSG_CMSG_CLOEXEC) <= 0)
        fail("recvmsg");
    result_of(packet); /* {"fd": 0, "size": ...}: the first and only descriptor of this packet */
    int fd = -1;
    struct cmsghdr *carried = CMSG_FIRSTHDR(&message);
    if (carried && carried->cmsg_level == SOL_SOCKET && carried->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(carried), sizeof fd);
    return fd;
}

int main(int argc, char **argv)
{
    int utraced = connect_to_utraced();
    send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"process.maps\","
                         "\"params\":{\"pid\":%d,\"as\":\"fd\"}}", argc == 2 ? atoi(argv[1]) : 0);
    int fd = receive_fd(utraced);
    struct stat file;
    if (fstat(fd, &file) < 0)
        fail("fstat");
    const char *data = mmap(NULL, file.st_size, PROT_READ, MAP_PRIVATE, fd, 0); /* sealed: it stays as it is */
    if (data == MAP_FAILED)
        fail("mmap");
    const struct header *header = (const void *)data;
    if (memcmp(header->magic, "UTRMAPS1", 8) != 0) {
        fprintf(stderr, "these are no mappings\n");
        return 1;
    }
    for (uint32_t i = 0; i < header->count; i++) {
        const struct record *map = (const void *)(data + sizeof *header + (size_t)i * header->record_size);
        printf("%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu", (long)map->start, (long)map->end,
               map->flags & READ ? 'r' : '-', map->flags & WRITE ? 'w' : '-', map->flags & EXECUTE ? 'x' : '-',
               map->flags & SHARED ? 's' : 'p', (long)map->offset, map->major, map->minor, (long)map->inode);
        if (map->path_size)
            printf(" %s%s", data + map->path, map->flags & DELETED ? " (deleted)" : "");
        putchar('\n');
    }
    return 0;
}

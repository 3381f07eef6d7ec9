/* calls PID: print the system calls of a process and of its children while they run, from the records of the kernel.

   trace.start with "deliver": "raw" passes on what the kernel wrote. The layout is described in
   utraced/api/call_records.py and by rpc.discover. All numbers are little-endian. A call is two records of its thread:
   the entry is kept until the exit comes. Printed is a line for each call: process, number, arguments with the memory
   they point to, result; "?" where it never returned.

   Here the records are base64 in JSON. MessagePack would carry them as they are, but to write and to scan it takes more
   than the ten lines of unbase64(), and the replies and errors would come in it too.

   cc -O2 -o calls calls.c && UTRACED_SOCKET=... ./calls PID */
#include <ctype.h>
#include <stdint.h>

#include "connection.h"

struct head {
    uint32_t length, none; /* length: without these two */
    uint64_t time_ns;
    uint32_t pid, tid;
    uint8_t what, abi;
    uint16_t zero;
    uint32_t nr, dropped, more;
};
struct fragment { uint64_t address; uint32_t size, flags; };
enum { ENTRY = 1, EXIT = 2, EXEC = 4, DEATH = 5 };
enum { THREADS = 1 << 22 }; /* the kernel numbers threads below this */

static struct head *inside[THREADS]; /* the entry of the call that a thread is in */
static int ended;

/* Write the memory at this address, where a record has it between its own part and its end; return whether it has. */
static int show_memory(const struct head *record, size_t own, uint64_t address)
{
    const char *end = (const char *)&record->time_ns + record->length;
    for (const char *p = (const char *)(record + 1) + own; p < end;) {
        const struct fragment *found = (const void *)p;
        const unsigned char *bytes = (const void *)(found + 1);
        if (found->address == address) {
            printf(" \"");
            for (uint32_t i = 0; i < found->size; i++) /* nothing that a terminal obeys */
                printf(isprint(bytes[i]) && !strchr("\"\\", bytes[i]) ? "%c" : "\\x%02x", bytes[i]);
            putchar('"');
            return 1;
        }
        p = (const char *)bytes + (found->size + 7) / 8 * 8;
    }
    return 0;
}

static void show_call(const struct head *entry, const struct head *exit)
{
    const uint64_t *args = (const void *)(entry + 1);
    printf("%u %u(", entry->pid, entry->nr);
    for (int i = 0; i < 6; i++) {
        printf("%s0x%lx", i ? ", " : "", (long)args[i]);
        if (exit == NULL || !show_memory(exit, 8, args[i]))
            show_memory(entry, 8 * 8, args[i]);
    }
    if (exit)
        printf(") = %ld\n", (long)*(const int64_t *)(exit + 1));
    else
        printf(") = ?\n");
}

static void take_record(const struct head *record)
{
    struct head **kept = &inside[record->tid % THREADS];
    if (record->what == EXEC) {
        /* The thread that executes a program gets the number of its process, and all others end. */
        struct head **former = &inside[*(const uint32_t *)(record + 1) % THREADS], *entry = *former;
        *former = NULL;
        free(*kept);
        *kept = entry;
    } else if (record->what == ENTRY || record->what == EXIT || record->what == DEATH) {
        if (*kept && record->what != ENTRY)
            show_call(*kept, record->what == EXIT ? record : NULL);
        free(*kept);
        *kept = NULL;
        if (record->what == ENTRY && (*kept = malloc(8 + record->length)))
            memcpy(*kept, record, 8 + record->length);
    }
}

/* Decode base64 up to the closing quote; return how many bytes there are. */
static size_t unbase64(char *data, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static unsigned char values[256];
    size_t size = 0, bits = 0;
    uint32_t last = 0;
    for (int i = 0; i < 64; i++)
        values[(unsigned char)digits[i]] = i;
    for (; *text != '"' && *text != '='; text++) {
        last = last << 6 | values[(unsigned char)*text];
        if ((bits += 6) >= 8)
            data[size++] = last >> (bits -= 8);
    }
    return size;
}

static void take_event(const char *event)
{
    static union { struct head first; char bytes[MAX_PACKET]; } data; /* a union: records begin at multiples of 8 */
    const char *params = member(event, "params"), *kind = member(params, "kind");
    if (strncmp(kind, "\"records\"", 9) == 0) {
        if (strncmp(member(params, "format"), "\"calls-1\"", 9) != 0) {
            fprintf(stderr, "these are no records that we know\n");
            exit(1);
        }
        size_t size = unbase64(data.bytes, member(params, "data") + 1);
        for (size_t at = 0; at < size;) {
            const struct head *record = (const void *)(data.bytes + at);
            take_record(record);
            at += (8 + record->length + 7) / 8 * 8;
        }
        fflush(stdout);
    } else if (strncmp(kind, "\"detached\"", 10) == 0) {
        fprintf(stderr, "%d records, %d lost\n", atoi(member(params, "delivered")), atoi(member(params, "lost")));
        ended = 1;
    }
}

int main(int argc, char **argv)
{
    int pid = argc == 2 ? atoi(argv[1]) : 0;
    if (pid <= 0) {
        fprintf(stderr, "usage: calls PID\n");
        return 2;
    }
    int utraced = connect_to_utraced();
    send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"trace.start\",\"params\":{\"pid\":%d,"
                         "\"follow\":true,\"backend\":\"kernel\",\"deliver\":\"raw\",\"overflow\":\"block\"}}", pid);
    reply(utraced, take_event);
    fprintf(stderr, "process %d is traced\n", pid);
    while (!ended)
        receive(utraced, take_event);
    return 0;
}

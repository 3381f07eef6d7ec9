/* steps PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.

   cc -o steps steps.c && UTRACED_SOCKET=... ./steps PID */
#include "connection.h"

static char stepped[MAX_PACKET + 1]; /* begins with where the step ended, "0x..." in quotes; empty while it lasts */
static int ended;                    /* the process has, or we have detached from it */

/* Take note of an event. Other kinds were not asked for. */
static void take_event(const char *event)
{
    const char *params = member(event, "params"), *kind = member(params, "kind");
    if (strncmp(kind, "\"step\"", 6) == 0)
        snprintf(stepped, sizeof stepped, "%s", member(params, "pc"));
    else if (strncmp(kind, "\"detached\"", 10) == 0)
        ended = 1;
}

int main(int argc, char **argv)
{
    int pid = argc == 2 ? atoi(argv[1]) : 0;
    if (pid <= 0) {
        fprintf(stderr, "usage: steps PID\n");
        return 2;
    }
    int utraced = connect_to_utraced();

    send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.hello\",\"params\":{\"client\":\"steps.c\"}}");
    show(stdout, "utraced", member(reply(utraced, take_event), "version"));

    send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"engine.attach\","
                         "\"params\":{\"pid\":%d,\"hold\":true,\"events\":[]}}", pid);
    int engine = atoi(member(reply(utraced, take_event), "engine"));
    printf("engine %d holds process %d\n", engine, pid);

    /* The main thread of a process has the process's number. */
    send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"registers.read\","
                         "\"params\":{\"engine\":%d,\"tid\":%d}}", engine, pid);
    const char *general = member(reply(utraced, take_event), "general");
    show(stdout, "pc", member(general, "rip"));
    show(stdout, "sp", member(general, "rsp"));

    for (int i = 0; i < 3; i++) {
        stepped[0] = 0;
        send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"thread.resume\","
                             "\"params\":{\"engine\":%d,\"tid\":%d,\"action\":\"step\"}}", 4 + i, engine, pid);
        reply(utraced, take_event);
        while (stepped[0] == 0 && !ended)
            receive(utraced, take_event);
        if (ended) {
            fprintf(stderr, "the process has ended\n");
            return 1;
        }
        show(stdout, "step", stepped);
    }

    send_packet(utraced, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"engine.detach\",\"params\":{\"engine\":%d}}", engine);
    reply(utraced, take_event);
    printf("detached\n");
    return 0;
}

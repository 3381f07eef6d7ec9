/*
 * peer MODE PATH: the other ends of what is compared, doing as little as possible.
 *
 *   echo   listens at PATH, a SOCK_SEQPACKET socket, for one client, and sends each packet back
 *   bus    joins the D-Bus bus at PATH and answers each call with an empty reply; prints the name it has there
 *   drain  reads packets from stdin until they end; PATH is not used
 *
 * "ready", or the name, is printed when it can be talked to.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LARGEST = 256 * 1024, HEADER = 16 };

/* D-Bus specification, "Message Format" */
enum { CALL = 1, REPLY = 2, PATH = 1, INTERFACE = 2, MEMBER = 3, REPLY_SERIAL = 5, DESTINATION = 6, SENDER = 7 };

static char packet[LARGEST];

static int echo(int listener, struct sockaddr_un *address)
{
	if (bind(listener, (struct sockaddr *)address, sizeof *address) != 0 || listen(listener, 1) != 0)
		return 1;
	puts("ready");
	fflush(stdout);
	int client = accept(listener, NULL, NULL);
	for (;;) {
		ssize_t size = recv(client, packet, sizeof packet, 0);
		if (size <= 0)
			return 0;
		send(client, packet, size, MSG_NOSIGNAL);
	}
}

static int drain(void)
{
	while (read(STDIN_FILENO, packet, sizeof packet) > 0)
		continue;
	return 0;
}

static size_t aligned(size_t offset, size_t to)
{
	return (offset + to - 1) / to * to;
}

static uint32_t number(const char *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

static void put(char *at, uint32_t value)
{
	memcpy(at, &value, sizeof value);
}

/* Append a header field whose value is a string of type 's' or 'o'. */
static size_t put_text(char *message, size_t at, char code, char type, const char *text)
{
	size_t length = strlen(text);
	at = aligned(at, 8);
	memcpy(message + at, (char[]){code, 1, type, 0}, 4);
	put(message + at + 4, length);
	memcpy(message + at + 8, text, length + 1);
	return at + 8 + length + 1;
}

/* Fill in the fixed part of a message whose fields end at `end`; return the message's size, which has no body. */
static size_t finish(char *message, char type, uint32_t serial, size_t end)
{
	memcpy(message, (char[]){'l', type, 0, 1}, 4);
	put(message + 4, 0);
	put(message + 8, serial);
	put(message + 12, end - HEADER);
	memset(message + end, 0, aligned(end, 8) - end);
	return aligned(end, 8);
}

/* Return the text of a header field, or NULL; every field of a message from a bus but REPLY_SERIAL is a text. */
static const char *field(const char *message, char wanted)
{
	size_t at = HEADER, end = HEADER + number(message + 12);
	while (at < end) {
		at = aligned(at, 8);
		char code = message[at], type = message[at + 2];
		if (type == 'g') {
			at += 4 + 1 + (unsigned char)message[at + 4] + 1;
			continue;
		}
		if (code == wanted && type == 's')
			return message + at + 8;
		at += type == 'u' ? 8 : 8 + number(message + at + 4) + 1;
	}
	return NULL;
}

static int bus(int connection, struct sockaddr_un *address)
{
	static char reply[1024];
	char line[128], digits[16];
	if (connect(connection, (struct sockaddr *)address, sizeof *address) != 0)
		return 1;
	int length = snprintf(line, sizeof line, "%cAUTH EXTERNAL ", 0);
	snprintf(digits, sizeof digits, "%u", (unsigned)getuid());
	for (char *digit = digits; *digit; digit++)
		length += snprintf(line + length, sizeof line - length, "%02x", *digit);
	length += snprintf(line + length, sizeof line - length, "\r\n");
	if (write(connection, line, length) != length || read(connection, line, sizeof line) < 2 ||
	    memcmp(line, "OK", 2) != 0 || write(connection, "BEGIN\r\n", 7) != 7)
		return 1;

	size_t end = put_text(reply, HEADER, PATH, 'o', "/org/freedesktop/DBus");
	end = put_text(reply, end, INTERFACE, 's', "org.freedesktop.DBus");
	end = put_text(reply, end, MEMBER, 's', "Hello");
	end = put_text(reply, end, DESTINATION, 's', "org.freedesktop.DBus");
	size_t size = finish(reply, CALL, 1, end);
	if (write(connection, reply, size) != (ssize_t)size)
		return 1;

	size_t held = 0;
	for (uint32_t serial = 2;;) {
		ssize_t got = read(connection, packet + held, sizeof packet - held);
		if (got <= 0)
			return 0;
		held += got;
		while (held >= HEADER) {
			size_t start = aligned(HEADER + number(packet + 12), 8), whole = start + number(packet + 4);
			if (held < whole)
				break;
			const char *sender = field(packet, SENDER);
			if (packet[1] == REPLY && sender) {
				/* The answer to Hello: the name is its body. */
				puts(packet + start + 4);
				fflush(stdout);
			} else if (packet[1] == CALL && sender) {
				memcpy(reply + HEADER, (char[]){REPLY_SERIAL, 1, 'u', 0}, 4);
				put(reply + HEADER + 4, number(packet + 8));
				size = finish(reply, REPLY, serial++, put_text(reply, HEADER + 8, DESTINATION, 's', sender));
				if (write(connection, reply, size) != (ssize_t)size)
					return 1;
			}
			memmove(packet, packet + whole, held -= whole);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (argc != 3 || strlen(argv[2]) >= sizeof address.sun_path) {
		fprintf(stderr, "usage: peer echo|bus|drain PATH\n");
		return 2;
	}
	strcpy(address.sun_path, argv[2]);
	if (strcmp(argv[1], "drain") == 0)
		return drain();
	if (strcmp(argv[1], "bus") == 0)
		return bus(socket(AF_UNIX, SOCK_STREAM, 0), &address);
	return echo(socket(AF_UNIX, SOCK_SEQPACKET, 0), &address);
}

/*
 * births threads|processes COUNT: make that many as fast as the kernel allows, and print the nanoseconds it took.
 *
 *   threads     one after the other, each gone before the next
 *   processes   a tree: each process makes two others and waits for them
 *
 * "ready" is printed first; a byte on stdin begins, end of file ends the program at once.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long count;

static void *nothing(void *argument)
{
	return argument;
}

static void threads(void)
{
	pthread_attr_t attributes;
	pthread_t handle;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 * 1024);
	for (long i = 0; i < count; i++) {
		if (pthread_create(&handle, &attributes, nothing, NULL) != 0)
			_exit(1);
		pthread_join(handle, NULL);
	}
}

static void processes(long number)
{
	for (long child = 2 * number + 1; child <= 2 * number + 2 && child < count; child++) {
		pid_t pid = fork();
		if (pid < 0)
			_exit(1);
		if (pid == 0) {
			processes(child);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
}

static long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int argc, char **argv)
{
	char byte;

	if (argc != 3)
		return 2;
	count = atol(argv[2]);
	puts("ready");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) != 1)
		return 0;
	long started = now();
	if (strcmp(argv[1], "threads") == 0)
		threads();
	else
		processes(0);
	printf("%ld\n", now() - started);
	return 0;
}

/*
 * flood MODE THREADS AMOUNT: busy threads that wait to be told to begin.
 *
 *   calls    each thread makes AMOUNT getppid calls
 *   time     each thread makes getppid calls for AMOUNT milliseconds; prints how many each made
 *   idle     the threads wait until told to end; AMOUNT is not used
 *
 * "ready" is printed when all threads wait.  A byte on stdin begins, end of file ends the program at once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STACK_BYTES = 64 * 1024, MAX_THREADS = 10000 };

static pthread_barrier_t all_wait;
static atomic_int go;
static atomic_bool over;
static long amount;
static int timed;
static long made[MAX_THREADS];

static void wait_for_go(void)
{
	while (!atomic_load(&go))
		syscall(SYS_futex, &go, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
}

static void *flood(void *argument)
{
	long *count = argument, done = 0;

	pthread_barrier_wait(&all_wait);
	wait_for_go();
	while (timed ? !atomic_load_explicit(&over, memory_order_relaxed) : done < amount) {
		syscall(SYS_getppid);
		done++;
	}
	*count = done;
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: flood calls|time|idle THREADS AMOUNT\n");
		return 2;
	}
	timed = strcmp(argv[1], "time") == 0;
	long threads = atol(argv[2]);
	amount = strcmp(argv[1], "idle") == 0 ? 0 : atol(argv[3]);
	if (threads < 1 || threads > MAX_THREADS)
		return 2;

	pthread_attr_t attributes;
	pthread_t handles[MAX_THREADS];
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_barrier_init(&all_wait, NULL, threads + 1);
	for (long i = 0; i < threads; i++)
		if (pthread_create(&handles[i], &attributes, flood, &made[i]) != 0) {
			perror("pthread_create");
			return 1;
		}
	pthread_barrier_wait(&all_wait);
	puts("ready");
	fflush(stdout);

	char byte;
	if (read(STDIN_FILENO, &byte, 1) != 1)
		return 0;
	atomic_store(&go, 1);
	syscall(SYS_futex, &go, 1 /* FUTEX_WAKE */, MAX_THREADS, NULL, NULL, 0);
	if (timed) {
		usleep(amount * 1000);
		atomic_store(&over, 1);
	}
	for (long i = 0; i < threads; i++) {
		pthread_join(handles[i], NULL);
		if (timed)
			printf("%ld\n", made[i]);
	}
	return 0;
}

// A program to be made set-uid, or to be given file capabilities.  It tells its effective user and where in its memory
// stands a mark, and waits for the end of its input.  "hidden": it does not let others look into it.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

volatile char mark[32] = "only for the privileged";

int main(int count, char **words)
{
    char byte;
    signal(SIGUSR1, SIG_IGN);
    if (count > 1 && strcmp(words[1], "hidden") == 0)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    printf("%u %lu\n", geteuid(), (unsigned long)mark);
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return mark[0] == 0;
}

/* tree DEPTH: each process makes two more, down to DEPTH; then all wait.  The number is 2 ** (DEPTH + 1) - 1. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte;
    int depth = atoi(argv[1]);
    write(1, "ready\n", 6);
    read(0, &byte, 1);
    setpgid(0, 0);
    for (int made = 0; depth > 0 && made < 2; made++)
        if (fork() == 0) {
            depth--;
            made = -1;
        }
    write(1, "x", 1);
    for (;;)
        pause();
}

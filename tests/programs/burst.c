/* burst COUNT: so many processes, one after the other, by vfork and exec, that exit with 0 to 6 in turn. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte, code[2] = "0";
    if (argc > 2)
        return atoi(argv[2]);
    write(1, "ready\n", 6);
    read(0, &byte, 1);
    for (int i = 0; i < atoi(argv[1]); i++) {
        code[0] = '0' + i % 7;
        if (vfork() == 0) {
            execl(argv[0], argv[0], "0", code, NULL);
            _exit(99);
        }
        wait(NULL);
    }
    return 7;
}

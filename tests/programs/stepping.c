/* stepping FILE: a loop that counts in the first eight bytes of FILE, of instructions whose places are known.

   Forty times "incq (%rbx)" of 3 bytes, and a jump to the first of them. The second eight bytes hold its address. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

extern char loop[];

int main(int argc, char **argv)
{
    nice(19); /* leave the CPUs to those who watch */
    int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    ftruncate(fd, 16);
    volatile unsigned long *counter = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    counter[1] = (unsigned long)loop;
    write(1, "ready\n", 6);
    asm volatile("loop: .rept 40\n incq (%0)\n .endr\n jmp loop" : : "b"(counter) : "memory", "cc");
}

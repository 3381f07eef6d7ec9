/* Memory: mapping, protecting, advising, moving. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    char *area = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area, 4096, PROT_NONE);
    mprotect(area + 4096, 4096, PROT_READ | PROT_EXEC);
    mprotect(area + 1, 4096, PROT_READ);
    madvise(area + 8192, 4096, MADV_DONTNEED);
    madvise(area, 8192, MADV_WILLNEED);
    unsigned char pages[4];
    mincore(area, 16384, pages);
    char *moved = mremap(area + 8192, 8192, 65536, MREMAP_MAYMOVE);
    mremap(moved, 65536, 4096, 0);
    mlock(moved, 4096);
    munlock(moved, 4096);
    int fd = memfd_create("some memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ftruncate(fd, 8192);
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    fcntl(fd, F_GET_SEALS);
    shared[5000] = 1;
    msync(shared, 8192, MS_SYNC);
    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096);
    mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0);
    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 77, 0);
    mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE | MAP_STACK, -1, 0);
    syscall(SYS_brk, 0);
    sbrk(8192);
    munmap(shared, 8192);
    munmap(area, 8192);
    munmap((void *)1, 4096);
    free(malloc(1 << 20));
    return 0;
}

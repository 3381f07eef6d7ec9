/* Data moved by the kernel: sendfile, splice, tee, vmsplice, copy_file_range. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
    int from = open("from", O_CREAT | O_RDWR, 0600), to = open("to", O_CREAT | O_RDWR, 0600);
    int one[2], two[2];
    write(from, "0123456789", 10);
    pipe(one);
    pipe(two);
    off_t offset = 2;
    sendfile(to, from, &offset, 5);
    sendfile(to, from, NULL, 5);
    sendfile(to, 99, NULL, 5);
    loff_t start = 1, end = 20;
    splice(from, &start, one[1], NULL, 8, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    tee(one[0], two[1], 100, 0);
    splice(one[0], NULL, to, NULL, 100, 0);
    splice(one[0], NULL, to, NULL, 100, SPLICE_F_NONBLOCK);
    struct iovec part = {"from memory", 11};
    vmsplice(one[1], &part, 1, 0);
    start = 0;
    copy_file_range(from, &start, to, &end, 10, 0);
    copy_file_range(from, NULL, to, NULL, 10, 1);
    readahead(from, 0, 10);
    sync_file_range(from, 0, 10, SYNC_FILE_RANGE_WRITE);
    unlink("from");
    unlink("to");
    return 0;
}

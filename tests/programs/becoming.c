// A program whose process may be told of until it becomes something else.  It then calls getppid three times, and ends.
//
// "same": it becomes nothing; "effective": for now its real user and group, as a set-uid program can; "dropped": these
// for good, and without capabilities; "hidden": not to be looked into; "namespace": root of a user namespace;
// "child PROGRAM HOW": its child is another program.  "thread UID": started by root, its first thread alone is that
// user, and another one still is root; "threads UID": both are that user.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMPOSSIBLE = 77 };

static int all, user, go[2], done[2];

static void call(void)
{
    for (int i = 0; i < 3; i++)
        syscall(SYS_getppid);
}

static void need(long result)
{
    if (result < 0)
        _exit(IMPOSSIBLE);
}

static void become(const char *how)
{
    if (strcmp(how, "effective") == 0) {
        need(setegid(getgid()));
        need(seteuid(getuid()));
    } else if (strcmp(how, "dropped") == 0) {
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct none[2] = {{0}};
        need(setresgid(getgid(), getgid(), getgid()));
        need(setresuid(getuid(), getuid(), getuid()));
        need(syscall(SYS_capset, &header, none));
    } else if (strcmp(how, "hidden") == 0) {
        need(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    } else if (strcmp(how, "namespace") == 0) {
        need(unshare(CLONE_NEWUSER));
    }
}

// The system call changes one thread; the C library's function would change all.
static void thread_becomes_user(void)
{
    need(syscall(SYS_setresgid, user, user, user));
    need(syscall(SYS_setresuid, user, user, user));
    need(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static void *other_thread(void *unused)
{
    char byte;
    if (all)
        thread_becomes_user();
    write(done[1], "!", 1);
    read(go[0], &byte, 1);
    call();
    write(done[1], "!", 1);
    return unused;
}

static void be_two_threads(void)
{
    pthread_t thread;
    char byte;
    syscall(SYS_setgroups, 0, NULL);
    pipe(go);
    pipe(done);
    pthread_create(&thread, NULL, other_thread, NULL);
    read(done[0], &byte, 1);
    thread_becomes_user();
    write(1, "!", 1);
    read(0, &byte, 1);
    call();
    write(go[1], "!", 1);
    read(done[0], &byte, 1);
    call();
}

int main(int count, char **words)
{
    if (strncmp(words[1], "thread", 6) == 0) {
        all = strcmp(words[1], "threads") == 0;
        user = atoi(words[2]);
        be_two_threads();
        _exit(0);
    }
    if (strcmp(words[1], "child") == 0) {
        int status;
        if (fork() == 0) {
            execl(words[2], "a-program", words[3], NULL);
            _exit(IMPOSSIBLE);
        }
        wait(&status);
        call();
        _exit(WEXITSTATUS(status));
    }
    become(words[1]);
    call();
    _exit(0);
}

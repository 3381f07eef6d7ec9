/* Who and where we are, and what we may use. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(void)
{
    struct rlimit limit = {0, RLIM_INFINITY};
    struct rusage usage;
    struct utsname name;
    gid_t groups[64];
    uid_t real, effective, saved;
    prlimit(0, RLIMIT_CORE, &limit, NULL);
    prlimit(0, RLIMIT_NOFILE, NULL, &limit);
    prlimit(getpid(), RLIMIT_STACK, NULL, &limit);
    syscall(SYS_getrlimit, RLIMIT_AS, &limit);
    syscall(SYS_setrlimit, RLIMIT_CPU, &limit);
    syscall(SYS_setrlimit, 77, &limit);
    getrusage(RUSAGE_SELF, &usage);
    getrusage(RUSAGE_CHILDREN, &usage);
    uname(&name);
    getuid();
    geteuid();
    getgid();
    getegid();
    getresuid(&real, &effective, &saved);
    getgroups(0, NULL);
    setuid(getuid());
    setresgid(-1, getgid(), -1);
    getpgrp();
    getpriority(PRIO_PROCESS, 0);
    setpriority(PRIO_PROCESS, 0, 1);
    prctl(PR_SET_NAME, "renamed");
    prctl(PR_GET_DUMPABLE);
    prctl(PR_SET_PDEATHSIG, 15);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    cpu_set_t cpus;
    syscall(SYS_sched_getaffinity, 0, 8, &cpus);
    sched_yield();
    struct sched_param priority = {0};
    sched_getscheduler(0);
    sched_setscheduler(0, SCHED_BATCH, &priority);
    char bytes[16];
    syscall(SYS_getrandom, bytes, 16, 1);
    syscall(SYS_sysinfo, 1);
    sethostname(NULL, 5000);
    return 0;
}

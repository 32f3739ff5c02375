#!/usr/bin/env python3
"""calls.py ROOT: system calls of the library stand in bitcask/io_posix*.c only, behind the I/O table, so that the simulated
disk of the tests sees all of them. And the library, io_posix*.c included, never exits, aborts, prints or touches signals.
"""

import fnmatch
import os
import re
import sys

from tree import c_files, finish, read, strip

SYSTEM = """
open openat openat2 open64 creat close closedir opendir fdopendir readdir rewinddir scandir nftw fts_open
read pread pread64 preadv preadv2 readv readahead write pwrite pwrite64 pwritev pwritev2 writev sendfile copy_file_range splice
lseek fsync fdatasync sync syncfs sync_file_range msync rename renameat renameat2 link linkat symlink unlink unlinkat remove
mkdir mkdirat rmdir truncate ftruncate fallocate posix_fallocate posix_fadvise fadvise mmap mmap64 mremap munmap mprotect
madvise posix_madvise mincore mlock munlock flock lockf fcntl ioctl stat fstat fstatat lstat statx statfs fstatfs statvfs
fstatvfs access faccessat chmod fchmod chown fchown dup dup2 dup3 pipe pipe2 poll select epoll_wait eventfd memfd_create
usleep sleep nanosleep clock_nanosleep clock_gettime gettimeofday time clock sched_yield sched_getaffinity sched_setaffinity
sched_setscheduler setpriority getpriority sysconf getrandom getentropy random rand getpid gettid getenv secure_getenv syscall
fopen fdopen freopen fclose fread fwrite fgets fgetc getline mkstemp mkdtemp tmpfile realpath
""".split()

HOST = """
exit _exit _Exit quick_exit abort raise kill printf vprintf fprintf vfprintf dprintf puts fputs putchar putc fputc perror
syslog psignal signal sigaction sigprocmask fork vfork system popen execv execve execvp execl execlp daemon setlocale chdir
""".split()

# BITCASK_OPEN_GUARD_SIGBUS asks for it.
GUARD = ["sigaction", "raise"]


def pattern(names):
    return re.compile(r"(?<![\w.])(?<!->)(" + "|".join(names) + r")\s*\(")


def check(root):
    problems = []
    system, host = pattern(SYSTEM), pattern(HOST)
    for path in c_files(root, "bitcask"):
        text = re.sub(r"->\s+", "->", strip(read(os.path.join(root, path)), strings=True))
        guard = os.path.basename(path) == "io_posix_guard.c"
        posix = fnmatch.fnmatchcase(os.path.basename(path), "io_posix*")
        for number, line in enumerate(text.splitlines(), 1):
            if not posix:
                for match in system.finditer(line):
                    problems.append(f"{path}:{number}: {match.group(1)}() belongs behind the I/O table (bitcask/io_posix*.c)")
            for match in host.finditer(line):
                if guard and match.group(1) in GUARD:
                    continue
                problems.append(f"{path}:{number}: the library never calls {match.group(1)}()")
    return problems


if __name__ == "__main__":
    finish(check(sys.argv[1]))

"""A small test-suite that uses of Python what talks to the kernel: prints each test's name and how it went."""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import mmap
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

QUEUED = signal.SIGRTMIN + 1


class Suite(unittest.TestCase):
    def test_a_pipeline_of_processes(self):
        first = subprocess.Popen(["seq", "1", "5000"], stdout=subprocess.PIPE)
        second = subprocess.run(["sort", "-rn"], stdin=first.stdout, stdout=subprocess.PIPE, check=True)
        first.stdout.close()
        self.assertEqual(first.wait(), 0)
        self.assertEqual(second.stdout.split()[0], b"5000")

    def test_exit_statuses_and_signals_of_children(self):
        codes = [subprocess.run(["sh", "-c", f"exit {code}"], check=False).returncode for code in (0, 1, 42)]
        killed = subprocess.run(["sh", "-c", "kill -TERM $$"], check=False).returncode
        self.assertEqual([*codes, killed], [0, 1, 42, -signal.SIGTERM])

    def test_a_child_is_stopped_and_goes_on(self):
        child = subprocess.Popen(["sh", "-c", "kill -STOP $$; exit 5"])
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        os.kill(child.pid, signal.SIGCONT)
        self.assertEqual(child.wait(), 5)

    def test_a_forked_child_that_faults(self):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(Exception):
                import resource

                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            ctypes.string_at(0)
        self.assertEqual(os.WTERMSIG(os.waitpid(pid, 0)[1]), signal.SIGSEGV)

    def test_timers_interrupt_calls_that_are_made_again(self):
        fired = []
        old = signal.signal(signal.SIGALRM, lambda *_: fired.append(len(fired)))
        reading, writing = os.pipe()
        timer = threading.Timer(0.1, os.write, (writing, b"x"))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        timer.start()
        self.assertEqual(os.read(reading, 1), b"x")
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        timer.join()
        self.assertGreater(len(fired), 2)

    def test_queued_signals_all_come(self):
        for _ in range(100):
            os.kill(os.getpid(), QUEUED)
        got = 0
        while signal.sigtimedwait({QUEUED}, 0) is not None:
            got += 1
        self.assertEqual(got, 100)

    def test_threads(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual(sum(pool.map(lambda n: n * n, range(1000))), 332_833_500)
        counter = iter(range(1000))
        threads = [threading.Thread(target=next, args=(counter,)) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(next(counter), 100)

    def test_processes_that_share_work(self):
        with multiprocessing.get_context("fork").Pool(3) as pool:
            self.assertEqual(pool.map(abs, range(-100, 0)), list(range(100, 0, -1)))

    def test_an_event_loop_with_processes(self):
        async def one(number):
            process = await asyncio.create_subprocess_exec("echo", str(number), stdout=subprocess.PIPE)
            said, _ = await process.communicate()
            return int(said), process.returncode

        async def main():
            return await asyncio.gather(*(one(number) for number in range(10)))

        self.assertEqual(asyncio.run(main()), [(number, 0) for number in range(10)])

    def test_sockets_and_polling(self):
        ours, theirs = socket.socketpair()
        poll = select.epoll()
        poll.register(theirs, select.EPOLLIN)
        self.assertEqual(poll.poll(0.01), [])
        sender = threading.Thread(target=lambda: [ours.sendall(b"x" * 1000) for _ in range(100)] and ours.close())
        sender.start()
        size = 0
        while poll.poll(10) and (data := theirs.recv(777)):
            size += len(data)
        sender.join()
        self.assertEqual(size, 100_000)
        poll.close()
        theirs.close()

    def test_memory_shared_with_a_child(self):
        with mmap.mmap(-1, 4096) as area:
            if os.fork() == 0:
                area[:5] = b"child"
                os._exit(0)
            os.wait()
            self.assertEqual(area[:5], b"child")

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(50):
                with open(os.path.join(folder, f"{number}"), "w") as file:
                    file.write("x" * number)
            sizes = sorted(entry.stat().st_size for entry in os.scandir(folder))
            self.assertEqual(sizes, list(range(50)))


class Plain(unittest.TestResult):
    def stopTest(self, test):  # noqa: N802
        failed = [text for each, text in self.failures + self.errors if each is test]
        print(test.id().rpartition(".")[2], failed[0] if failed else "ok", flush=True)


if __name__ == "__main__":
    # Before there are threads: one that was joined may still be there a moment later, and would be ended by it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {QUEUED})
    result = Plain()
    unittest.defaultTestLoader.loadTestsFromTestCase(Suite).run(result)
    sys.exit(not result.wasSuccessful())

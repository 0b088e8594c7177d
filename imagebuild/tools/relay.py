"""A loopback port of this machine whose connections end at a program's standard input and output."""

import contextlib
import contextvars
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from imagebuild.errors import BuildError
from imagebuild.tools import command

# more connections than one ssh, and who asks whether it answers
MOST = 16


@contextlib.contextmanager
def relayed(port: int, argv: Sequence[str]) -> Iterator[None]:
    """Until the block ends, start a program for each connection to a loopback port, as `nc` in a network that
    is not reached from here.
    """
    ended, free = threading.Event(), threading.Semaphore(MOST)
    programs: list[command.Process] = []
    threads: list[threading.Thread] = []

    def follow(connection: socket.socket) -> None:
        with free, connection, contextlib.suppress(BuildError, OSError):
            with os.fdopen(os.dup(connection.fileno()), "r+b", buffering=0) as ends:
                program = command.Process(argv, stdin=ends, stdout=ends, quiet=True)
            programs.append(program)
            connection.close()
            if ended.is_set():
                program.end(grace=0)
            program.wait()
            programs.remove(program)

    def accept(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                begin(follow, connection)

    def begin(work: Callable[[socket.socket], None], end: socket.socket) -> None:
        # what they start belongs to the step that this does
        run = contextvars.copy_context().run
        threads.append(threading.Thread(target=run, args=(work, end), daemon=True))
        threads[-1].start()

    with socket.create_server(("127.0.0.1", port)) as server:
        begin(accept, server)
        try:
            yield
        finally:
            ended.set()
            # who waits in accept() is not woken by close()
            server.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            for program in programs:
                program.end(grace=0)
            for thread in threads:
                thread.join()

"""Run `rgt` many times without importing PyTorch each time.

    python serve_rgt.py FOLDER            serve at FOLDER/socket until stdin is closed
    python serve_rgt.py FOLDER run ARG... run `rgt ARG...` in a fork of the server

The server removes FOLDER, which must be empty at first, when it ends.
The fork has the arguments, the environment, the working folder and the standard streams of the process
that asks for it, which ends as the fork does: with its exit code, or by the same signal.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn


def request(address: str, arguments: list[str]) -> int:
    """Ask the server to run `rgt`; return the exit code, or minus the signal that ended it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        call = json.dumps([arguments, str(Path.cwd()), dict(os.environ)]).encode()
        socket.send_fds(connection, [len(call).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(call)
        return int(connection.recv(16))


def serve(address: str) -> None:
    """Answer requests, several at once, until stdin is closed."""
    # What takes long is done before the fork. Modules that read the environment must come after it.
    import av  # noqa: F401
    import PIL.Image  # noqa: F401
    import tifffile  # noqa: F401
    import torch  # noqa: F401

    gc.freeze()  # else the collector of each fork would visit, and so copy, all of it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                if not os.fork():
                    listener.close()
                    answer(connection)
            while reap():
                pass


def reap() -> bool:
    """Collect a fork that has ended, if there is one."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def answer(connection: socket.socket) -> NoReturn:
    """Run the command of a request in its own process, and send its result."""
    child = os.fork()
    if not child:
        run(connection)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(str(code).encode())
    os._exit(0)


def run(connection: socket.socket) -> NoReturn:
    """Become the `rgt` that a request asks for."""
    header, streams, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as file:
        arguments, folder, environment = json.loads(file.read(int.from_bytes(header, "big")))
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rgt", *arguments]
    os._exit(call_rgt())


def call_rgt() -> int:
    """Run `rgt` and what Python does before it ends, but for the slow removal of PyTorch from memory."""
    from rgt_cli.cli import main

    code = 1
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def end_as(code: int) -> None:
    """End this process with an exit code, or by a signal where the code is negative."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2:3] == ["run"]:
        end_as(request(str(folder / "socket"), sys.argv[3:]))
    serve(str(folder / "socket"))
    (folder / "socket").unlink()
    folder.rmdir()

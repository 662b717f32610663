"""Run `rgt` many times without importing PyTorch each time.

    python serve_rgt.py SOCKET            serve until stdin is closed
    python serve_rgt.py SOCKET run ARG... run `rgt ARG...` in a fork of the server

The fork has the arguments, the environment, the working folder and the standard streams of the process
that asks for it, which ends with the exit code of the fork.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import traceback
from pathlib import Path


def request(address: str, arguments: list[str]) -> int:
    """Ask the server to run `rgt`; return the exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        call = json.dumps([arguments, str(Path.cwd()), dict(os.environ)]).encode()
        socket.send_fds(connection, [len(call).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(call)
        return int(connection.recv(16))


def serve(address: str) -> None:
    """Answer one request after the other until stdin is closed."""
    import torch  # noqa: F401 - what takes long is done before the fork

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                child = os.fork()
                if not child:
                    listener.close()
                    run(connection)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                connection.sendall(str(code).encode())


def run(connection: socket.socket) -> None:
    """Become the `rgt` that a request asks for."""
    header, streams, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as file:
        arguments, folder, environment = json.loads(file.read(int.from_bytes(header, "big")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rgt", *arguments]
    from rgt_cli.cli import main

    code = 70
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[2:3] == ["run"]:
        sys.exit(request(sys.argv[1], sys.argv[3:]))
    serve(sys.argv[1])

"""A command line to run, and a stand-in for a running mpbond behind a real control socket."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import msgpack
import pytest
from click.testing import CliRunner

from mpbond.cli import control_client, main


class StandIn:
    """Answers each connection on a Unix socket with what `answer` makes of the request."""

    def __init__(self, path, answer):
        self.path = path
        self.requests = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._one(connection)

    def _one(self, connection):
        (size,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        self.requests.append(msgpack.unpackb(connection.recv(size, socket.MSG_WAITALL)))
        reply = self._answer(self.requests[-1])
        if isinstance(reply, dict):
            body = msgpack.packb(reply)
            reply = struct.pack(">I", len(body)) + body
        if reply is None:
            connection.recv(1)  # no answer: waits until the other side gives up
        else:
            connection.sendall(reply)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    """The directory in which the command line looks for control sockets."""
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setattr(control_client, "RUN_DIRECTORY", directory)
    monkeypatch.delenv("MPBOND_CONTROL", raising=False)
    return directory


@pytest.fixture
def stand_in(sockets):
    """Starts stand-ins by `stand_in(answer, name)`; all end with the test."""
    running = []

    def start(answer, name="mpbond0.sock"):
        path = sockets / name
        running.append(StandIn(path, answer))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def mpbond():
    """Runs the command line: `mpbond("set", "hold", "auto")`."""

    def run(*args, **kwargs):
        return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="mpbond", **kwargs)

    return run

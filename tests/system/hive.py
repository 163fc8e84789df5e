"""The hive of the system tests: a sandbox, and a process in it that answers the tests."""

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox import inside
from sandbox.hive import Ports
from sandbox.instance import Instance, SandboxError

REPO = Path(__file__).resolve().parents[2]
AGENTS = ("manager", "alice", "bob")
PYTHON = "/usr/lib/hyperhive/bin/python"
BACKEND = os.environ.get("HIVE_TEST_BACKEND", "nspawn")
"""The backend of the hive: `nspawn`, or `nixos` with a stand-in for a NixOS system."""
SETTINGS = "/run/systemd/nspawn" if BACKEND == "nixos" else "/etc/systemd/nspawn"
UNITS = "/run/systemd/system" if BACKEND == "nixos" else "/etc/systemd/system"
"""The directories of the files that lifecycle writes for systemd."""
GRACE = 30.0
"""The seconds by which an answer may exceed its time limit."""


class CallError(Exception):
    """A call on the bus failed; `name` is the error's name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Resident:
    """The client of `tests/system/resident.py`, the process inside."""

    def __init__(self, instance: Instance) -> None:
        command = [PYTHON, "-BP", str(REPO / "tests/system/resident.py")]
        self._process = subprocess.Popen(
            inside.command_line(instance, command),
            env=inside.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._writing, self._lock = threading.Lock(), threading.Lock()
        self._open: dict[int, Future[dict[str, Any]]] = {}
        self._count = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return not self._reading.is_alive()

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """Send a request, and return its answer; see resident.py.

        Args:
            timeout: the limit of the request in seconds.
            request: the fields of the request.

        Raises:
            CallError: the answer is an error.
            TimeoutError: the request took too long.
            ConnectionError: the process ended meanwhile.
        """
        assert self._process.stdin is not None
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._count += 1
            number = self._count
            self._open[number] = answer
        line = json.dumps({"id": number, "timeout": timeout, **request})
        # Another lock: an answer that is being written over there may have to be read first.
        with self._writing, suppress(BrokenPipeError):  # the reader tells
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        if self.ended:
            self._give_up()
        found = answer.result(timeout + GRACE)
        if "error" in found:
            raise CallError(found["error"], found["text"])
        if "late" in found:
            raise TimeoutError(f"{request} took longer than {timeout:.0f} s.")
        return found

    def close(self) -> None:
        """End the process and its children."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                future = self._open.pop(answer["id"])
            future.set_result(answer)
        self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            left, self._open = self._open, {}
        for future in left.values():
            future.set_exception(ConnectionError("The process in the sandbox has ended."))


class Hive:
    """A sandbox with a hive in it; one for each worker of pytest-xdist."""

    def __init__(self, worker: str = "") -> None:
        self.name = f"test-{worker}" if worker else "test"
        # Sandboxes share the machine's network: 7001 and 7101 for the first, and so on.
        number = int(worker.removeprefix("gw") or "0") + 1
        self.ports = Ports(Ports.dashboard + number, Ports.model + number)
        self._instance = Instance(self.name)
        self._sandbox = [str(REPO / "sandbox/sandbox"), "--name", self.name]
        self._resident: Resident | None = None
        self._newest_before = 0

    def start(self, *agents: str) -> None:
        """Boot the sandbox, start the hive, and spawn or start `agents`; skip what is done."""
        ports = [
            f"--dashboard-port={self.ports.dashboard}",
            f"--model-port={self.ports.model}",
        ]
        if BACKEND == "nixos":
            ports.append("--nixos")
        subprocess.run([*self._sandbox, "hive", *ports, *agents], check=True, timeout=300)

    def stop(self, *options: str) -> None:
        """Stop the sandbox and remove it; with the option `--keep`, keep its data."""
        if self._resident is not None:
            self._resident.close()
            self._resident = None
        subprocess.run([*self._sandbox, "down", *options], check=True, timeout=120)

    def run(
        self, *command: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `command` inside, and capture its output; if `check`, fail the test if it fails."""
        request = {"do": "run", "command": command}
        return self._captured(command, request, check, timeout, input)

    def hivectl(
        self, *arguments: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run hivectl as `run` does, in a forked process that has the modules loaded."""
        request = {"do": "hivectl", "arguments": arguments}
        return self._captured(("hivectl", *arguments), request, check, timeout, input)

    def script(
        self, path: Path, *arguments: str, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a Python file as `run` does; it can import the installed package."""
        request = {"do": "script", "path": str(path), "arguments": arguments}
        return self._captured((path.name, *arguments), request, True, timeout, None)

    def call(self, *target: str, signature: str = "", arguments: Sequence[Any] = ()) -> list[Any]:
        """Call a method on the bus inside, as root, and return its results.

        Args:
            target: the destination, path, interface and member.
            signature: the signature of the arguments.
            arguments: the arguments.

        Raises:
            CallError: the method failed.
        """
        answer = self._ask(
            60, do="call", target=target, signature=signature, arguments=list(arguments)
        )
        return list(answer["result"])

    def until(self, *target: str, wanted: Sequence[Any], timeout: float = 90) -> Any:
        """Wait for a signal after which a property has one of the values; return the value."""
        return self._ask(timeout, do="until", target=target, wanted=list(wanted))["result"]

    def until_absent(self, *target: str, timeout: float = 90) -> None:
        """Wait for a signal after which a service has no object with an interface.

        Args:
            target: the service, its root path, and the interface.
            timeout: the limit in seconds.
        """
        self._ask(timeout, do="until_absent", target=target)

    def until_unit(self, unit: str, after: str = "", timeout: float = 90, **wanted: str) -> None:
        """Wait for a signal after which a unit's properties have these values.

        Args:
            unit: the unit.
            after: the InvocationID of a life of the unit that does not count.
            timeout: the limit in seconds.
            wanted: the values.
        """
        self._ask(timeout, do="until_unit", unit=unit, wanted=wanted, after=after)

    def until_message(self, to: str, kind: str, words: str, timeout: float = 60) -> str:
        """Wait for a message of this test with these words, and return its body."""
        wanted = {"to": to, "kind": kind, "after": self._newest_before}
        answer = self._ask(timeout, do="until_message", filter=wanted, words=words)
        return str(answer["result"])

    def begin_test(self) -> None:
        """Let `until_message` leave out the messages that are there already."""
        self._newest_before = int(self._ask(60, do="newest_message")["result"])

    def until_settled(self, number: int, *wanted: str, timeout: float = 120) -> str:
        """Wait until a message is in one of the states, `acknowledged` by default; return it."""
        states = wanted or ("acknowledged",)
        answer = self._ask(timeout, do="until_settled", message=number, wanted=list(states))
        return str(answer["result"])

    def popen(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        """Start `command` inside; killing the process also kills the command."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            inside.command_line(self._instance, command),
            env=inside.environment(),
            text=True,
            **{**pipes, **options},
        )

    def journal(self, lines: int = 80) -> str:
        """Return the newest lines of the hive's units."""
        units = ["hive-*", "systemd-nspawn@*"]
        options = ["--no-pager", "--output=short-precise", f"--lines={lines}"]
        command = ["journalctl", *options, *(f"--unit={unit}" for unit in units)]
        try:
            return self.run(*command, check=False).stdout
        except (SandboxError, ConnectionError) as error:
            return str(error)

    def _captured(
        self,
        shown: tuple[str, ...],
        request: dict[str, Any],
        check: bool,
        timeout: float,
        input: str | None,
    ) -> "subprocess.CompletedProcess[str]":
        try:
            answer = self._ask(timeout, stdin=input or "", **request)
        except TimeoutError:
            raise subprocess.TimeoutExpired(shown, timeout) from None
        done = subprocess.CompletedProcess(
            shown, answer["status"], answer["stdout"], answer["stderr"]
        )
        if check and done.returncode != 0:
            pytest.fail(f"{shown} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def _ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        if self._resident is None or self._resident.ended:
            self._resident = Resident(self._instance)
        return self._resident.ask(timeout, **request)


def worker() -> str:
    """Return the name of this worker of pytest-xdist; empty without workers."""
    return os.environ.get("PYTEST_XDIST_WORKER", "")

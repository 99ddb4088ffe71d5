"""Runs a command with a real Slurm of one node on this machine, and takes that down afterwards.

    python3 tests/slurm/with_slurm.py python3 -m unittest discover -s tests/slurm -v
    python3 tests/slurm/with_slurm.py bash

`SLURM_CONF` leads the command's `sbatch`, `squeue` and `scontrol` to this cluster. Its daemons and everything they write are in a
temporary folder, with ports, key and socket of their own, so that a Slurm or munge of the machine is not touched; what is ended
afterwards are those daemons and the jobs of this cluster, nothing else. The exit code is the command's. Where no
Slurm can be started the command does not run: the reason is printed, and the exit code is 0.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "setpriv")
START_SECONDS = 60  # a controller is up within two; a busy machine takes longer
STOP_SECONDS = 30  # KillWait of slurm.conf, and the controller's round of a few seconds
POLL_SECONDS = 0.1


class SlurmError(Exception):
    """A daemon that does not do what is expected of it."""


def main() -> int:
    command = sys.argv[1:]
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    if reason := cannot_run():
        print(f"with_slurm: skipped, for {reason}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):  # SIGINT raises of itself
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        with slurm(folder) as environment:
            code = subprocess.run(command, env=environment).returncode
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except SystemExit as ended:
        code = ended.code
    except SlurmError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    if code == 0:
        shutil.rmtree(folder)
    else:
        print(f"with_slurm: what the daemons wrote is in {folder}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def cannot_run() -> str | None:
    """Why no Slurm can be started here, if so."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"{', '.join(missing)} not found; Debian's packages: slurm-wlm munge util-linux"
    return None


@contextmanager
def slurm(folder: Path):
    """A cluster for as long as the context lasts; gives the environment of its clients.

    What was started is ended in reverse order, also when starting the next one failed.
    """
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    write_configuration(folder)

    def asks(*command: str) -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()

    with ExitStack() as running:
        start = lambda *command: running.enter_context(daemon(folder, *command))
        try:
            munged = start("munged", "--foreground", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
                           f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed")
            wait_for("it answers", lambda: asks("munge", "-n", "-S", f"{folder}/munge.socket"), munged)
            controller = start("slurmctld", "-D", "-f", environment["SLURM_CONF"])
            wait_for("it answers", lambda: "is UP" in asks("scontrol", "ping"), controller)
            node = start("slurmd", "-D", "-N", "localhost", "-f", environment["SLURM_CONF"])
            # Jobs outlive the daemon that started them, so they end first.
            running.callback(end_jobs, asks)
            wait_for("the node is idle", lambda: asks("sinfo", "-h", "-o", "%T") == "idle", node)
            yield environment
        finally:
            # Nothing may keep the rest from being taken down; every wait in it has its deadline.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)


def write_configuration(folder: Path) -> None:
    folder.chmod(0o755)  # munged refuses a socket that not everybody can reach
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    controller_port, node_port = free_ports(2)
    text = Path(__file__).with_name("slurm.conf").read_text()
    fields = {"folder": folder, "controller_port": controller_port, "node_port": node_port}
    (folder / "slurm.conf").write_text(text.format(**fields))
    # Enough of a GPU for a job to ask for: a file in its device's place.
    for n in range(8):
        (folder / f"gpu{n}").touch()
    (folder / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={folder}/gpu[0-7]\n")


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [server.getsockname()[1] for server in opened]


@dataclass
class Daemon:
    """A process of ours, and where it writes."""

    process: subprocess.Popen
    files: list[Path]

    @property
    def name(self) -> str:
        return self.files[0].stem

    def last_words(self) -> str:
        lines = [line for file in self.files if file.exists() for line in file.read_text(errors="replace").splitlines()]
        return "\n".join(f"  {line}" for line in lines[-20:])


@contextmanager
def daemon(folder: Path, *command: str):
    """A daemon in the foreground of a session of its own, so that Ctrl-C does not reach it before its turn.

    The kernel ends it as well, should this program be killed.
    """
    name = command[0]
    files = [folder / f"{name}.{ending}" for ending in ("out", "log")]
    with open(files[0], "w") as out:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield Daemon(process, files)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"with_slurm: {name} did not end in {STOP_SECONDS} s and is killed", file=sys.stderr)
            process.kill()
            process.wait()


def end_jobs(asks) -> None:
    """Cancels what is queued or runs, and waits until nothing does."""
    deadline = time.monotonic() + STOP_SECONDS
    asks("scancel", "--quiet", "--user=root")
    while asks("squeue", "-h") and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if left := asks("squeue", "-h", "-o", "%i %T"):
        print(f"with_slurm: these jobs did not end in {STOP_SECONDS} s:\n{left}", file=sys.stderr)


def wait_for(what: str, holds, daemon: Daemon) -> None:
    """Asks until it holds; an error when the daemon ends before, or time does."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        code = daemon.process.poll()
        if code is not None or time.monotonic() > deadline:
            why = f"{START_SECONDS} s have passed" if code is None else f"it ended with {code}"
            raise SlurmError(f"{daemon.name}, waiting until {what}: {why}\n{daemon.last_words()}")
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

"""Machines by name, over a shell each: this one, or several over ssh, on which `accelerate launch` joins the processes.

A job is a folder on each machine: `pid`, `born`, `log`, and in the end `status`. What runs there needs nobody who
watches.
"""

import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from services.trainer.domain.launching.endings import (
    LOST_PEER,
    LauncherDenied,
    LauncherRefused,
    LauncherUnavailable,
    QuotaReached,
    RemoteRun,
)
from services.trainer.domain.launching.orders import LaunchOrder
from shared.errors import HeliotropeError

CALL_SECONDS = 20.0
LOG_BYTES = 4000
UNREACHABLE_SECONDS = 300.0
"""A machine that is not reached for so long, while others are, is lost: longer than one takes to start anew."""
BUSY = 75
KILLED = (128 + 9, 128 + 15)
"""Status of a command that SIGKILL or SIGTERM ended."""
IS_ALIVE = """
is_alive() {
    set -- "$1" $(cat "/proc/$(cat "$1/pid" 2>/dev/null)/stat" 2>/dev/null)
    [ -n "$4" ] && [ "$4" != Z ] && [ "${23}" = "$(cat "$1/born")" ]
}
"""
"""Tells by the time of its birth too, since a pid is given out again; nobody may have collected a dead one."""
START = """
mkdir -p {folder} && cd {folder} || exit 73
{is_alive}
if [ -e {name}/pid ]; then exit 0; fi
for other in */; do
    if [ -e "$other/pid" ] && [ ! -e "$other/status" ] && is_alive "$other"; then echo "$other"; exit 75; fi
done
mkdir -p {name} && cd {name} || exit 73
echo {nodes} > nodes
{exports}
export JOB_COMMAND={command}
setsid sh -c 'cut -d" " -f22 /proc/$$/stat > born; echo $$ > pid
    sh -c "exec $JOB_COMMAND" > log 2>&1; echo $? > status.draft; mv status.draft status' </dev/null >/dev/null 2>&1 &
while [ ! -e pid ]; do sleep 0.05; done
"""
LOOK = """
{is_alive}
cd {folder}/{name} 2>/dev/null || {{ echo gone; exit 0; }}
if [ ! -e pid ]; then echo gone
elif [ -e status ]; then cat status
elif is_alive .; then echo running
elif [ -e status ]; then cat status
else echo killed; fi
cat nodes 2>/dev/null
exit 0
"""
CANCEL = """
{is_alive}
cd {folder}/{name} 2>/dev/null || exit 0
if [ -e pid ] && [ ! -e status ] && is_alive .; then kill -s KILL -- "-$(cat pid)"; fi
"""
FORGET = "cd .. && rm -rf {name}\n"
TAIL = "tail -c {bytes} {folder}/{name}/log 2>/dev/null; exit 0"


@dataclass(frozen=True)
class Machine:
    """What reaches a machine: a command that a shell script is appended to."""

    name: str
    shell: tuple[str, ...]

    def run(self, script: str, title: str) -> tuple[int, str]:
        """Run a script there; returns its status and output.

        Raises:
            LauncherDenied: the machine does not let us in.
            LauncherUnavailable: it is not reached.
        """
        try:
            done = subprocess.run(
                [*self.shell, script], capture_output=True, text=True, timeout=CALL_SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise LauncherUnavailable(f"{self.name} did not {title} within {CALL_SECONDS:.0f} s") from error
        except OSError as error:
            raise LauncherUnavailable(f"{self.shell[0]} cannot be started: {error}") from error
        if done.returncode == 255:
            denied = "ermission denied" in done.stderr or "verification failed" in done.stderr
            words = f"{self.name}: {done.stderr.strip()[-300:]}"
            raise LauncherDenied(words) if denied else LauncherUnavailable(words)
        return done.returncode, done.stdout


class MachinesLauncher:
    """Starts a process on each of its machines, in a session of its own."""

    def __init__(
        self,
        machines: Sequence[Machine],
        folder: str,
        command: Sequence[str],
        port: int,
        unreachable_seconds: float = UNREACHABLE_SECONDS,
    ) -> None:
        """Reach machines.

        Args:
            folder: on each machine, for jobs.
            command: what `heliotrope` is there.
            port: the first machine's.
            unreachable_seconds: after which a machine is lost, while others answer.
        """
        self._machines, self._folder, self._command, self._port = machines, folder, command, port
        self._unreachable_seconds = unreachable_seconds
        self._missed_since: dict[str, float] = {}

    def start(self, order: LaunchOrder) -> str:
        if order.nodes > len(self._machines):
            raise LauncherRefused(f"the recipe asks for {order.nodes} machines, and there are {len(self._machines)}")
        try:
            for rank in range(order.nodes):
                self._start_on(self._machines[rank], order, rank)
        except (QuotaReached, LauncherDenied, LauncherRefused):  # what began already would wait, and hold its machine
            for machine in self._machines:
                with suppress(LauncherDenied, LauncherUnavailable):
                    machine.run(self._fill(CANCEL + FORGET, order.name), "take the start back")
            raise
        return order.name

    def _start_on(self, machine: Machine, order: LaunchOrder, rank: int) -> None:
        status, said = machine.run(self._write_start(order, rank), "start the run")
        if status == BUSY:
            raise QuotaReached(f"{machine.name} is busy with {said.strip().rstrip('/')}")
        if status != 0:
            raise LauncherRefused(f"{machine.name}: {self._folder} cannot be written")

    def look(self, handle: str) -> RemoteRun:
        states, missed = self._look_at_all(handle)
        if missed:
            self._end_where_reached(handle)
            return RemoteRun("evicted", f"not reached for {self._unreachable_seconds:.0f} s: {missed}")
        known = [state for state in states if state != "gone"]
        if not known:
            return RemoteRun("gone")
        taken = [state for state in known if state in ("killed", *map(str, KILLED))]
        lost = [state for state in known if state == str(LOST_PEER)]
        failed = [state for state in known if state not in ("running", "0", *taken, *lost)]
        if failed or taken or lost:  # the others wait for it
            self._end_where_reached(handle)
        if failed:
            return RemoteRun("failed", f"ended with status {failed[0]}")
        if taken:
            return RemoteRun("evicted", "its processes were killed")
        if lost:
            return RemoteRun("lost", "its processes lost each other")
        return RemoteRun("running" if "running" in known else "succeeded")

    def read_log(self, handle: str) -> str:
        """Read the log's end, of the first machine that failed; one that is not reached has none."""
        machine = next(filter(partial(self._has_failed, handle), self._machines), self._machines[0])
        script = TAIL.format(bytes=LOG_BYTES, folder=shlex.quote(self._folder), name=shlex.quote(handle))
        return machine.run(script, "show the log")[1]

    def _has_failed(self, handle: str, machine: Machine) -> bool:
        quiet = ("0", "gone", "running", "killed", *map(str, KILLED), str(LOST_PEER))
        try:
            return self._look_at(machine, handle)[0] not in quiet
        except LauncherUnavailable:
            return False

    def cancel(self, handle: str) -> None:
        """End it on every machine that answers; raises for the others afterwards."""
        missed: list[HeliotropeError] = []
        for machine in self._machines:
            try:
                machine.run(self._fill(CANCEL, handle), "end the run")
            except (LauncherDenied, LauncherUnavailable) as error:
                missed.append(error)
        if missed:
            raise missed[0]

    def _end_where_reached(self, handle: str) -> None:
        with suppress(LauncherDenied, LauncherUnavailable):
            self.cancel(handle)

    def _look_at_all(self, handle: str) -> tuple[list[str], str]:
        """Look at each machine; returns the states of those that take part, and the names of those that are lost.

        One that does not answer counts as running until it is lost.

        Raises:
            LauncherUnavailable: none answers.
        """
        found: list[tuple[str, int] | LauncherUnavailable] = []
        for machine in self._machines:
            try:
                found.append(self._look_at(machine, handle))
                self._missed_since.pop(machine.name, None)
            except LauncherUnavailable as error:
                found.append(error)
        answers = [one for one in found if not isinstance(one, LauncherUnavailable)]
        if not answers:
            raise next(one for one in found if isinstance(one, LauncherUnavailable))
        taking_part = max(count for _, count in answers) or len(found)
        missed = [self._judge_missed(rank) for rank in range(taking_part) if isinstance(found[rank], HeliotropeError)]
        lost = [name for name in missed if name]
        return [state for state, _ in answers] + ["running"] * len(missed), ", ".join(lost)

    def _judge_missed(self, rank: int) -> str | None:
        """Return the name of a machine that is not reached if that has lasted too long."""
        name = self._machines[rank].name
        since = self._missed_since.setdefault(name, time.monotonic())
        return name if time.monotonic() - since >= self._unreachable_seconds else None

    def _look_at(self, machine: Machine, handle: str) -> tuple[str, int]:
        """Return the job's state there, and how many machines it has; 0 where it is not known."""
        state, _, count = machine.run(self._fill(LOOK, handle), "look at the run")[1].strip().partition("\n")
        return state, int(count or 0)

    def _write_start(self, order: LaunchOrder, rank: int) -> str:
        environment = dict(order.environment)
        if order.nodes > 1:
            environment |= self._place(order, rank)
        # in the foreground: else it would leave the group of processes that is killed in the end
        limit = ("timeout", "--foreground", "--signal=KILL", str(order.max_seconds))
        return self._fill(
            START,
            order.name,
            nodes=str(order.nodes),
            exports=write_exports(environment),
            command=shlex.quote(shlex.join([*limit, *self._command, *order.arguments])),
        )

    def _place(self, order: LaunchOrder, rank: int) -> dict[str, str]:
        return {
            "HELIOTROPE_NODES": str(order.nodes),
            "HELIOTROPE_NODE_RANK": str(rank),
            "HELIOTROPE_NODE_ADDRESS": self._machines[0].name.rpartition("@")[2],
            "HELIOTROPE_NODE_PORT": str(self._port),
        }

    def _fill(self, script: str, name: str, **more: str) -> str:
        return script.format(is_alive=IS_ALIVE, folder=shlex.quote(self._folder), name=shlex.quote(name), **more)


def write_exports(environment: Mapping[str, str]) -> str:
    """Write variables as a shell has them."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())

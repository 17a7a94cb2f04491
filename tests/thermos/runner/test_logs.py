"""Where output goes: every destination and mode, rotation that loses nothing, and places that do not want it."""

from __future__ import annotations

import gzip
import os
import re
import stat
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import IS_ROOT, Box, process, until
from thermos.states import ProcessState, TaskState

P = ProcessState


def rotating(size: int, backups: int, destination: str = "file") -> dict[str, object]:
    return {"destination": destination, "mode": "rotate", "rotate": {"log_size": size, "backups": backups}}


def logs(box: Box, name: str = "p") -> list[str]:
    """Names of a process's log files."""
    directory = Path(box.sandbox, ".logs", name, "0")
    return sorted(os.listdir(directory)) if directory.exists() else []


# -- destinations --------------------------------------------------------------------------------------------------

SPEAKS = "echo some words; echo some errors >&2"


@pytest.mark.parametrize(
    "destination, mode", list(product(["file", "console", "both", "none"], ["standard", "rotate"]))
)
def test_every_destination_in_every_mode(box: Box, destination: str, mode: str) -> None:
    flags = (f"--process_logger_destination={destination}", f"--process_logger_mode={mode}")
    assert box.run([process("p", SPEAKS)], *flags) == 0
    assert box.states("p") == [P.SUCCESS]
    if destination in ("file", "both"):
        assert (box.log("p"), box.log("p", "stderr")) == ("some words\n", "some errors\n")
        assert logs(box) == ["stderr", "stdout"]
    else:
        assert logs(box) == []
    console = sorted(box.said().splitlines())
    assert console == (["some errors", "some words"] if destination in ("console", "both") else [])


def test_a_logger_of_its_own_overrides_the_flags_whole(box: Box) -> None:
    task = [process("p", SPEAKS, logger={"destination": "none"}), process("q", SPEAKS)]
    assert box.run(task, "--process_logger_destination=both") == 0
    assert (logs(box, "p"), logs(box, "q")) == ([], ["stderr", "stdout"])
    assert sorted(box.said().splitlines()) == ["some errors", "some words"]


def test_each_run_has_logs_of_its_own(box: Box) -> None:
    assert box.run([process("p", "n=$(($(cat n) + 1)); echo $n | tee n; [ $n = 3 ]", max_failures=9)]) == 0
    assert [box.log("p", run=number) for number in range(3)] == ["1\n", "2\n", "3\n"]


def test_plain_files_are_the_commands_own_descriptors(box: Box) -> None:
    """No byte is copied: the coordinator holds neither a pipe nor the files."""
    box.start([process("p", "echo x; exec sleep 600"), process("q", "exec sleep 600", logger={"destination": "both"})])
    box.until_running("p", "q")
    run = box.last("p")
    assert os.readlink(f"/proc/{run.pid}/fd/1") == f"{box.sandbox}/.logs/p/0/stdout"
    held = {os.readlink(f"/proc/{run.coordinator_pid}/fd/{fd}") for fd in os.listdir(f"/proc/{run.coordinator_pid}/fd")}
    assert not [name for name in held if ".logs" in name]
    others = {os.readlink(f"/proc/{run.pid}/fd/{fd}") for fd in "12"}
    assert not [name for name in others if name.startswith("pipe:")]
    until(lambda: os.readlink(f"/proc/{box.last('q').pid}/fd/1").startswith("pipe:"), "that of q is")


def test_output_of_the_last_moment_and_of_no_line_end_is_kept(box: Box) -> None:
    task = [
        process("p", "printf tail; printf errors >&2; kill -9 $$", max_failures=1, logger=rotating(1000, 1, "both"))
    ]
    runner = box.start(task)
    until(lambda: len(box.states("p")) > 1, "a second run")
    assert (box.log("p"), box.log("p", "stderr")) == ("tail", "errors")
    runner.kill()


def test_a_child_that_keeps_the_pipe_open_does_not_hold_the_process_up(box: Box) -> None:
    assert box.run([process("p", "echo x; setsid sleep 600 & true", logger=rotating(1000, 1))], timeout_s=20) == 0
    assert (box.log("p"), box.states("p")) == ("x\n", [P.SUCCESS])


# -- rotation ------------------------------------------------------------------------------------------------------

#: Numbered lines of many lengths, as fast as they come, on both streams.
NUMBERS = """awk 'BEGIN { for (n = 1; n <= 20000; n++) {
    line = sprintf("%d %s", n, substr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1, n % 40)); print line
    if (n % 10 == 0) print line >"/dev/stderr" } }'"""


def numbers(text: str) -> list[int]:
    """The numbers of whole lines; a torn or spliced line fails."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\d+) (x*)", line)
        assert match, f"torn: {line!r}"
        assert len(match[2]) == int(match[1]) % 40, f"spliced: {line!r}"
        found.append(int(match[1]))
    return found


def parts(box: Box, stream: str, name: str = "p") -> list[str]:
    """The texts of all log files of one stream, oldest first; the last one is the live file's."""
    directory = Path(box.sandbox, ".logs", name, "0")
    put_aside = sorted(
        (int(found[1]), file)
        for file in os.listdir(directory)
        if (found := re.fullmatch(rf"{stream}\.(\d+)(\.gz)?", file))
    )
    assert [number for number, _ in put_aside] == list(range(1, len(put_aside) + 1))
    texts = []
    for _, file in reversed(put_aside):
        data = (directory / file).read_bytes()
        texts.append((gzip.decompress(data) if file.endswith(".gz") else data).decode())
    return [*texts, (directory / stream).read_text()]


@pytest.mark.parametrize("destination", ["file", "both"])
def test_rotation_loses_and_tears_no_line(box: Box, destination: str) -> None:
    assert box.run([process("p", NUMBERS, logger=rotating(20_000, 100, destination))]) == 0
    for stream, step in (("stdout", 1), ("stderr", 10)):
        found = parts(box, stream)
        assert len(found) > 1
        assert numbers("".join(found)) == list(range(step, 20_001, step))
        assert all(text.endswith("\n") for text in found[:-1])
        assert all(19_000 < len(text) <= 20_000 + 50 for text in found[:-1])
        assert len(found[-1]) < 20_000
    if destination == "both":
        assert len(box.said().splitlines()) == 22_000


@pytest.mark.parametrize("backups", [1, 3])
def test_rotation_keeps_as_many_as_it_should_and_the_newest(box: Box, backups: int) -> None:
    assert box.run([process("p", NUMBERS, logger=rotating(10_000, backups))]) == 0
    found = numbers("".join(parts(box, "stdout")))
    assert found == list(range(20_001 - len(found), 20_001))
    assert len([name for name in logs(box) if name.startswith("stdout.")]) == backups


def test_flags_set_size_and_backups(box: Box) -> None:
    cmdline = "head -c 2500000 /dev/zero | tr '\\0' '\\n'"
    flags = ("--process_logger_mode=rotate", "--rotate_log_size_mb=1", "--rotate_log_backups=1")
    assert box.run([process("p", cmdline)], *flags) == 0
    sizes = {name: os.path.getsize(f"{box.sandbox}/.logs/p/0/{name}") for name in logs(box)}
    assert sizes == {"stderr": 0, "stdout": 2_500_000 - 2 * (1 << 20), "stdout.1": 1 << 20}


def test_stdout_is_the_live_file_at_every_moment(box: Box) -> None:
    """Whoever opens it finds one, however fast it rotates; the number of its last line never goes back."""
    runner = box.start([process("p", f"{NUMBERS}; {NUMBERS}", logger=rotating(500, 2))])
    box.until_running("p")
    path = Path(box.sandbox, ".logs/p/0/stdout")
    misses = 0
    while runner.poll() is None:
        misses += not path.exists()
    assert misses == 0


def test_a_line_longer_than_the_limit_is_let_run_over_but_not_for_ever(box: Box) -> None:
    cmdline = "head -c 60000 /dev/zero | tr '\\0' a; echo; head -c 1000000 /dev/zero | tr '\\0' b; echo; echo end"
    assert box.run([process("p", cmdline, logger=rotating(1000, 50))]) == 0
    found = parts(box, "stdout")
    whole = "".join(found)
    assert whole == "a" * 60_000 + "\n" + "b" * 1_000_000 + "\nend\n"
    assert max(map(len, found)) <= 1000 + 3 * (64 << 10)


def test_all_that_was_put_aside_is_compressed(box: Box) -> None:
    all_packed = "until [ $(ls .logs/p/0/stdout.*.gz | wc -l) = 4 ]; do sleep 0.1; done"
    task = {
        "processes": [process("p", f"{NUMBERS}; {all_packed}; echo 20001 x", logger=rotating(30_000, 4))],
        "x_processes": {"p": {"compress_rotated": True}},
    }
    assert box.run(task) == 0
    names = logs(box)
    assert [name for name in names if name.startswith("stdout")] == [
        "stdout",
        *(f"stdout.{number}.gz" for number in range(1, 5)),
    ]
    assert not [name for name in names if name.endswith(".part")], names
    text = "".join(parts(box, "stdout"))
    found = numbers(text)
    assert found == list(range(20_002 - len(found), 20_002))


# -- places that do not want it ------------------------------------------------------------------------------------


def plant_file(logs_of_p: Path) -> None:
    logs_of_p.parent.mkdir(parents=True)
    logs_of_p.write_text("in the way")


def plant_file_above(logs_of_p: Path) -> None:
    logs_of_p.parent.parent.mkdir(parents=True)
    logs_of_p.parent.write_text("in the way")


def plant_link_above(logs_of_p: Path) -> None:
    logs_of_p.parent.parent.mkdir(parents=True)
    os.symlink(logs_of_p.parents[3], logs_of_p.parent)


def plant_fifo(logs_of_p: Path) -> None:
    logs_of_p.mkdir(parents=True)
    os.mkfifo(logs_of_p / "stdout")


def plant_link(logs_of_p: Path) -> None:
    logs_of_p.mkdir(parents=True)
    os.symlink(logs_of_p.parents[3] / "victim", logs_of_p / "stdout")


def plant_directory(logs_of_p: Path) -> None:
    (logs_of_p / "stdout").mkdir(parents=True)


def plant_hard_link(logs_of_p: Path) -> None:
    logs_of_p.mkdir(parents=True)
    os.link(logs_of_p.parents[3] / "victim", logs_of_p / "stdout")


PLANTS = [plant_file, plant_file_above, plant_link_above, plant_fifo, plant_link, plant_directory, plant_hard_link]


@pytest.mark.parametrize("mode", ["standard", "rotate"])
@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_where_a_log_should_be_harms_nobody(box: Box, plant: Any, mode: str) -> None:
    """The sandbox is the task's user's; the logs are opened by root. What lies outside stays as it is."""
    victim = Path(box.path, "victim")
    victim.write_text("precious\n")
    victim.chmod(0o600)
    before = (victim.stat().st_uid, victim.stat().st_mode)
    plant(Path(box.sandbox, ".logs/p/0"))
    flags = ["--process_logger_mode=" + mode]
    if IS_ROOT:
        flags.append("--setuid=nobody")
    assert box.run([process("p", f"{SPEAKS}; exit 3")], *flags) == 0
    assert (box.last("p").state, box.last("p").return_code) == (P.FAILED, 3)
    assert [note for note in box.notes if note.startswith("log: ") and "output is dropped" in note], box.notes
    assert victim.read_text() == "precious\n"
    assert (victim.stat().st_uid, victim.stat().st_mode) == before
    assert box.task_state is TaskState.FAILED


def test_rotating_and_compressing_write_over_nothing_that_was_planted(box: Box) -> None:
    victim = Path(box.path, "victim")
    victim.write_text("precious\n")
    directory = Path(box.sandbox, ".logs/p/0")
    directory.mkdir(parents=True)
    for name in (".stdout.gz.part", ".stdout.new", "stdout.1", "stdout.2"):
        os.link(victim, directory / name)
    for name in (".stderr.gz.part", ".stderr.new", "stderr.1", "stderr.2"):
        os.symlink(victim, directory / name)
    task = {
        "processes": [process("p", NUMBERS, logger=rotating(30_000, 4))],
        "x_processes": {"p": {"compress_rotated": True}},
    }
    assert box.run(task) == 0
    assert victim.read_text() == "precious\n"
    assert stat.S_IMODE(victim.stat().st_mode) & 0o111 == 0


def test_a_console_that_is_gone_is_nobodys_loss(box: Box) -> None:
    ours, theirs = os.pipe()
    task = [process("p", "sleep 0.2; yes | head -100000; echo done >done", logger={"destination": "both"})]
    runner = box.start(task, stdout=theirs)
    os.close(theirs)
    os.close(ours)
    assert box.wait(runner) == 0
    assert (box.states("p"), len(box.log("p"))) == ([P.SUCCESS], 200_000)

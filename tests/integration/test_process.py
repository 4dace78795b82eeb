"""The scheduler as a real process: signals, reloads, restarts and kills."""

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra_server import Client, HydraServer
from running import (
    PATIENCE_S,
    ROOT,
    Job,
    SlowServer,
    child_of,
    configure_slow,
    namespace,
    once,
    program,
    repetitions,
    stored,
    stretched,
    table,
    until,
)

from job.cli import exit_status
from job.core.secret import Secret

AT_ONCE = 4

pytestmark = pytest.mark.integration


NAMES = ("kept", "changed", "removed", "added")


@pytest.fixture
def server() -> Iterator[HydraServer]:
    """Start the authorization server, with a client for each token."""
    clients = [Client(name, Secret(secrets.token_urlsafe(24)), scopes=("a",)) for name in NAMES]
    with HydraServer(clients) as running:
        running.secrets = {c.client_id: c.secret.reveal() for c in clients}  # type: ignore[attr-defined]
        yield running


def configure(folder: Path, server: HydraServer, *names: str, **more: str) -> Path:
    """Write the configuration of some tokens; `more` has further lines for one of them."""
    tables = []
    for name in names:
        (folder / f"{name}.secret").write_text(server.secrets[name])  # type: ignore[attr-defined]
        tables.append(table(name, server.token_url, more.get(name, "")))
    config = folder / "freshtoken.toml"
    config.write_text("\n".join(tables))
    return config


# The end


@pytest.mark.fault("sigterm")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_job_at_once(
    tmp_path: Path, server: HydraServer, number: signal.Signals
) -> None:
    """Promise: SIGTERM and Ctrl-C leave within seconds, with status 0 and a last line."""
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        job.send(number)
        assert job.end(within_s=5.0) == 0
        assert job.names() == ["job.started", "token.refreshed", "token.delivered", "job.stopped"]
        assert job.events[-1]["reason"] == number.name
    assert server.is_valid(stored(tmp_path, "kept"))


@pytest.mark.fault("sigterm")
def test_sigterm_waits_for_the_exchange_in_hand(tmp_path: Path) -> None:
    """Promise: a token that is being fetched is stored before the process leaves."""
    with SlowServer() as slow, Job(configure_slow(tmp_path, slow)) as job:
        assert slow.asked.acquire(timeout=PATIENCE_S)
        job.send(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            job.process.wait(0.3)
        slow.answer.set()
        assert job.end(within_s=5.0) == 0
        assert job.names() == ["job.started", "token.refreshed", "token.delivered", "job.stopped"]
    assert stored(tmp_path, "slow") == slow.token


@pytest.mark.fault("sigterm")
def test_sigterm_waits_for_seconds_and_no_longer(tmp_path: Path) -> None:
    """Promise: an exchange that hangs doesn't hold the process; the store stays as it was."""
    with SlowServer() as slow, Job(configure_slow(tmp_path, slow)) as job:
        assert slow.asked.acquire(timeout=PATIENCE_S)
        job.send(signal.SIGTERM)
        # Five seconds are promised; the rest is for the start and the end of a process.
        assert job.end(within_s=8.0) == 0
        assert job.names() == ["job.started", "job.stopped"]
    assert not (tmp_path / "slow.json").exists()


@pytest.mark.fault("sigterm")
def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    """Promise: an impatient supervisor gets status 0 too, and the token is stored."""
    with SlowServer() as slow, Job(configure_slow(tmp_path, slow)) as job:
        assert slow.asked.acquire(timeout=PATIENCE_S)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            job.send(number)
        with pytest.raises(subprocess.TimeoutExpired):
            job.process.wait(0.3)
        slow.answer.set()
        assert job.end(within_s=5.0) == 0
    assert stored(tmp_path, "slow") == slow.token


@pytest.mark.fault("log-unwritable")
def test_a_full_log_disk_stops_nothing(tmp_path: Path, server: HydraServer) -> None:
    """Promise: when no line can be written, tokens are still kept and signals still heard."""
    config = configure(tmp_path, server, "kept")
    argv = program("run", "--config", str(config))
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(argv, stderr=full, cwd=ROOT, text=True) as process,
    ):
        try:
            assert until((tmp_path / "kept.json").exists, process)
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert server.is_valid(stored(tmp_path, "kept"))


# Reload and refresh


@pytest.mark.fault("reload")
def test_sighup_takes_a_new_configuration(tmp_path: Path, server: HydraServer) -> None:
    """Promise: added and changed tokens are got, removed ones rest, unchanged ones cost nothing."""
    with Job(configure(tmp_path, server, "kept", "changed", "removed")) as job:
        for _ in range(3):
            job.told("token.delivered")
        first = {name: stored(tmp_path, name) for name in ("kept", "changed", "removed")}
        configure(tmp_path, server, "kept", "changed", "added", changed='scope = ["a"]')
        job.send(signal.SIGHUP)
        assert job.told("job.reloaded")["tokens"] == 3
        assert {job.told("token.delivered")["token"] for _ in range(2)} == {"changed", "added"}
        job.send(signal.SIGUSR1)
        assert {job.told("token.delivered")["token"] for _ in range(3)} == {
            "kept",
            "changed",
            "added",
        }
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert {name: server.exchanges(name) for name in NAMES} == {
        "kept": 2,
        "changed": 3,
        "removed": 1,
        "added": 2,
    }
    assert stored(tmp_path, "removed") == first["removed"]
    assert stored(tmp_path, "changed") != first["changed"]
    assert not {"job.crashed", "token.refresh_failed"} & set(job.names())


@pytest.mark.fault("reload-broken")
@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("[tokens.kept", "is not TOML"),
        ("[tokens.kept]\nclient_id = 7\n", "tokens.kept.client_id"),
        ("", "tokens: there is none"),
        (None, "cannot be read"),
        ("a = " + "[" * 5000, "is not TOML"),
    ],
    ids=["no toml", "wrong keys", "empty", "no file", "too deep"],
)
def test_sighup_refuses_a_broken_configuration(
    tmp_path: Path, server: HydraServer, broken: str | None, problem: str
) -> None:
    """Promise: a bad file is told and changes nothing; a good one after it is taken."""
    config = configure(tmp_path, server, "kept")
    with Job(config) as job:
        job.told("token.delivered")
        if broken is None:
            config.unlink()
        else:
            config.write_text(broken)
        job.send(signal.SIGHUP)
        assert problem in " ".join(job.told("config.rejected")["problems"])
        job.send(signal.SIGUSR1)
        job.told("token.delivered", token="kept")
        configure(tmp_path, server, "kept", "added")
        job.send(signal.SIGHUP)
        job.told("token.delivered", token="added")
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert (server.exchanges("kept"), server.exchanges("added")) == (2, 1)


def test_sigusr1_refreshes_now(tmp_path: Path, server: HydraServer) -> None:
    """Promise: each SIGUSR1 gives every token a new exchange, due or not."""
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        seen = [stored(tmp_path, "kept")]
        for _ in range(3):
            job.send(signal.SIGUSR1)
            job.told("token.delivered")
            seen.append(stored(tmp_path, "kept"))
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert len(set(seen)) == 4
    assert server.exchanges("kept") == 4


# Restarts


@pytest.mark.fault("restart-storm")
def test_a_hundred_runs_of_once_ask_for_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Promise: cron every minute costs no request while the stored token is good.

    A fifth are processes of their own; the others, for the sake of time, are runs in this one.
    There are a hundred in CI.
    """
    own, here = repetitions(20), repetitions(80)
    with SlowServer() as server:
        server.answer.set()
        config = configure_slow(tmp_path, server)
        assert once(config).returncode == 0
        assert server.requests == 1
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            runs = list(at_once.map(once, [config] * own))
        assert [(run.returncode, run.stdout, run.stderr) for run in runs] == [(0, "", "")] * own
        assert [exit_status(["once", "--config", str(config)]) for _ in range(here)] == [0] * here
        assert capfd.readouterr() == ("", "")
        assert server.requests == 1


@pytest.mark.fault("restart-storm")
def test_twenty_restarts_ask_for_nothing(tmp_path: Path) -> None:
    """Promise: a job that is restarted, however often, goes on with the token that it stored.

    There are twenty restarts in CI.
    """
    times = repetitions(20)

    def restart(config: Path) -> tuple[int, list[str]]:
        with Job(config) as job:
            job.told("token.adopted")
            job.send(signal.SIGTERM)
            return job.end(), job.names()

    with SlowServer() as server:
        server.answer.set()
        config = configure_slow(tmp_path, server)
        assert once(config).returncode == 0
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            restarts = list(at_once.map(restart, [config] * times))
        assert restarts == [(0, ["job.started", "token.adopted", "job.stopped"])] * times
        assert server.requests == 1


@pytest.mark.fault("kill-during-exchange")
def test_a_killed_job_is_taken_up_again(tmp_path: Path) -> None:
    """Promise: kill -9 in an exchange leaves no lock and no litter; then a start does the rest."""
    with SlowServer() as slow:
        config = configure_slow(tmp_path, slow)
        for _ in range(3):
            with Job(config) as job:
                assert slow.asked.acquire(timeout=PATIENCE_S)
                job.send(signal.SIGKILL)
                assert job.end() == -signal.SIGKILL
        assert not (tmp_path / "slow.json").exists()
        slow.answer.set()
        before = time.monotonic()
        with Job(config) as job:
            job.told("token.delivered")
            assert time.monotonic() - before < stretched(10.0)
            job.send(signal.SIGTERM)
            assert job.end() == 0
        assert stored(tmp_path, "slow") == slow.token
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".slow.json.lock", "freshtoken.toml", "slow.json", "slow.secret"]


# The process itself


@pytest.mark.fault("sigterm")
def test_as_pid_1_it_hears_sigterm(tmp_path: Path, server: HydraServer) -> None:
    """Promise: in a container without an init, `docker stop` ends it at once and cleanly."""
    with Job(configure(tmp_path, server, "kept"), *namespace()) as job:
        job.told("token.delivered")
        job.pid = child_of(job.process.pid)
        status = Path(f"/proc/{job.pid}/status").read_text()
        assert next(line for line in status.splitlines() if line.startswith("NSpid")).endswith(
            "\t1"
        )
        job.send(signal.SIGHUP)
        job.told("job.reloaded")
        job.send(signal.SIGTERM)
        assert job.end(within_s=5.0) == 0
        assert job.names()[-1] == "job.stopped"


def test_it_leaves_no_core_and_opens_its_memory_to_nobody(
    tmp_path: Path, server: HydraServer
) -> None:
    """Promise: a crash writes no secret to a disk (core(5), prctl(2) PR_SET_DUMPABLE)."""
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        limits = Path(f"/proc/{job.pid}/limits").read_text().splitlines()
        core = next(line for line in limits if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        job.send(signal.SIGTERM)
        assert job.end() == 0
    code = (
        "import ctypes; from job.runners.process import harden; harden();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert asked.stdout == "0\n"


@pytest.mark.fault("signal-storm")
def test_it_has_no_thread_for_each_token(tmp_path: Path, server: HydraServer) -> None:
    """Promise: an idle job has few threads beside its workers, whatever it has done."""
    with Job(configure(tmp_path, server, *NAMES)) as job:
        for _ in range(5):
            for _ in NAMES:
                job.told("token.delivered")
            threads = len(list(Path(f"/proc/{job.pid}/task").iterdir()))
            assert threads <= 5 + 2 * len(NAMES)
            job.send(signal.SIGUSR1)
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert "job.crashed" not in job.names()

import threading

from job.core.events import JobStarted
from job.observe.background import BackgroundReporter
from job.verbs.common import leave


def test_a_log_that_hangs_is_left_behind() -> None:
    """The process ends with its status, whoever reads its log or not."""
    release, left = threading.Event(), list[int]()
    with BackgroundReporter(lambda _: release.wait(10.0), drain_s=0.0) as log:  # type: ignore[arg-type,return-value]  # it observes nothing
        log(JobStarted("1", 1))
    assert (leave(75, log, left.append), left) == (75, [75])
    release.set()
    log._thread.join(10.0)  # no thread is left behind
    assert (leave(0, log, left.append), left) == (0, [75])

"""`python -m job` is `freshtoken`; it holds signals until a verb says what they mean."""

from job.runners.process import hold_signals


def main() -> None:
    """Run the program."""
    hold_signals()
    from job import cli  # noqa: PLC0415  # 50 ms in which SIGTERM would kill, or be lost

    cli.main()


if __name__ == "__main__":
    main()

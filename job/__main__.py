"""`python -m job` is `freshtoken`."""

from job.cli import main

main()

"""`python -m batch` is `token-batch`."""

from batch.cli import main

main()

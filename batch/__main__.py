"""The program: `token-batch`, and `python -m batch`."""

import gc

# What is imported stays: looking through it for garbage takes a tenth of the start.
gc.disable()

from batch.cli import main  # noqa: E402

if __name__ == "__main__":
    main()

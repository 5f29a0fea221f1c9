"""token-batch: bulk updates of charging tokens, from a sheet to a report of every row."""

__version__ = "0.1.0"

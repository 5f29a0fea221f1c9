"""token-batch: bulk updates of charging tokens, from a sheet to a report of every row."""

from importlib.metadata import version

__version__ = version("token-batch")

"""The send stage: operations become outcomes."""

from batch.send.exchange import Record
from batch.send.sender import Sender

__all__ = ["Record", "Sender"]

"""The send stage: operations become outcomes."""

from batch.send.sender import Record, Sender

__all__ = ["Record", "Sender"]

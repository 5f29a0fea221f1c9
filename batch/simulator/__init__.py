"""The simulated Spirii API: a real HTTP server with an account of tokens in SQLite.

It stands in for the API in `--simulate`, in `token-batch simulate` and in every test.
Where the API's public pages disagree, `Behaviour` chooses the reading.
"""

from batch.simulator.behaviour import Behaviour, ErrorBody
from batch.simulator.faults import Fault, Faults, Outage, Planned
from batch.simulator.limits import Limits, Window
from batch.simulator.record import Request
from batch.simulator.sample import CUSTOMERS
from batch.simulator.server import SimulatedApi

__all__ = [
    "CUSTOMERS",
    "Behaviour",
    "ErrorBody",
    "Fault",
    "Faults",
    "Limits",
    "Outage",
    "Planned",
    "Request",
    "SimulatedApi",
    "Window",
]

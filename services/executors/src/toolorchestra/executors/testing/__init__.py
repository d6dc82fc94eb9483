"""Real peers for tests: a provider that counts its own bill. ``python -m toolorchestra.executors.testing`` runs one."""

from toolorchestra.executors.testing.answers import SimulatedExpert
from toolorchestra.executors.testing.behaviour import Behaviour
from toolorchestra.executors.testing.bill import Bill, Entry
from toolorchestra.executors.testing.provider import CountingProvider, ProviderConfig

__all__ = ["Behaviour", "Bill", "CountingProvider", "Entry", "ProviderConfig", "SimulatedExpert"]

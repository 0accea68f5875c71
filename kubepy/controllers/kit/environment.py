"""What a controller is given: clients and recorders under its own identity, shared informers, options, a clock."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kubepy.base.clock import Clock, SystemClock
from kubepy.base.task import Tasks
from kubepy.client.events import EventRecorder, Recorder
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.controllers.kit.option import Options


@dataclass(slots=True)
class Environment:
    """`client_for(account)` gives a client as the service account of that name in kube-system (or as the manager itself)."""

    client_for: Callable[[str], Client]
    informers: InformerFactory
    tasks: Tasks
    options: Options = field(default_factory=Options)
    clock: Clock = field(default_factory=SystemClock)
    metadata_client: Client | None = None
    """A client that asks for metadata only (garbage collector); the informers' own where there is none."""
    kubelet: Callable[[str], Client] | None = None
    """A client of the kubelet at a URL, which shows it a certificate and never a token: the node could use that. To be closed."""
    _recorders: dict[str, Recorder] = field(default_factory=dict)

    def recorder(self, component: str, account: str) -> Recorder:
        """The event recorder of a component; its source is the component's name."""
        found = self._recorders.get(component)
        if found is None:
            recorder = EventRecorder(self.client_for(account), component, clock=self.clock)
            recorder.start(self.tasks)
            found = self._recorders[component] = recorder
        return found

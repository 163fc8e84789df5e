"""The span of the turn that runs, to which the agent's messages and questions belong."""

from services.endpoint.delivery.held_messages import Holder


class CurrentSpan:
    """The span of the agent's turn, as its harness reports it.

    Attributes:
        traceparent: The span, as W3C Trace Context writes it; None outside of a turn, and without
            telemetry.
    """

    def __init__(self) -> None:
        self.traceparent: str | None = None
        self._holder: Holder | None = None

    def enter(self, holder: Holder, traceparent: str | None) -> None:
        """Begin or end a turn; `holder` is the connection of the harness."""
        self.traceparent = traceparent
        self._holder = holder

    def forget(self, holder: Holder) -> None:
        """Note that a connection has ended: its turn has, too."""
        if self._holder is holder:
            self.traceparent = self._holder = None

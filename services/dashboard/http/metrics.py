"""The answer to a reader of the metrics."""

from aiohttp import web

from services.dashboard.clients.measurements import Measurements
from services.dashboard.state.counts import Counts
from services.dashboard.state.tables import Table, Tables


class Metrics:
    """The metrics of the hive."""

    def __init__(self, tables: Tables, counts: Counts, measurements: Measurements) -> None:
        self._tables = tables
        self._counts = counts
        self._measurements = measurements

    async def answer(self) -> web.Response:
        """Ask for the figures that no signal tells, and answer with the metrics as text."""
        # Imported here: a hive without Prometheus does not need the memory.
        from services.dashboard.http import prometheus

        measured = await self._measurements.read(self._tables.rows(Table.AGENTS))
        text = prometheus.text(self._tables, self._counts, measured)
        return web.Response(body=text, headers={"Content-Type": prometheus.CONTENT_TYPE})

"""Fields with names, as `systemctl status` shows them."""

from hivectl.output.terminal import Output
from hivectl.output.text import wrap_painted


class Fields:
    """Named values; the values begin in one column, and go on there in further lines."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._fields: list[tuple[str, str]] = []

    def add(self, name: str, value: str) -> None:
        """Add a field; `value` must be safe, and may have colours. An empty one is left out."""
        if value:
            self._fields.append((name, value))

    def lines(self) -> list[str]:
        """Return the lines of all fields."""
        column = max((len(name) for name, _ in self._fields), default=0)
        lines = []
        for name, value in self._fields:
            lead = f"  {name:>{column}}: "
            first, *more = self._wrapped(value, len(lead))
            lines += [lead + first, *(" " * len(lead) + line for line in more)]
        return lines

    def _wrapped(self, value: str, before: int) -> list[str]:
        columns = self._output.columns
        if columns is None:
            return [value]
        return list(wrap_painted(value, max(columns - before, 20)))

"""Prepares the host that this runs in: its model gets the scenario, its broker perhaps a fault."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNITS: Final = Path("/run/systemd/system")
REPO: Final = Path(__file__).resolve().parents[2]
CHECKOUT: Final = "/run/hive-chaos"
PYTHON: Final = "/usr/lib/hyperhive/bin/python"
SCENARIO: Final = Path("/run/hive-chaos.toml")
"""A copy of the scenario: the model does not see the checkout."""

_MODEL: Final = f"""\
[Service]
ExecStart=
ExecStart={PYTHON} -m sandbox.model --host ${{MODEL_HOST}} --port ${{MODEL_PORT}} \
--scenario {SCENARIO} --scenario sandbox/model/demo.toml
"""
_BROKER: Final = f"""\
[Service]
BindReadOnlyPaths={REPO}:{CHECKOUT}
Environment=PYTHONPATH={CHECKOUT} PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart={PYTHON} -m bench.chaos.sabotage %s
"""


@contextmanager
def prepared(sabotage: str) -> Iterator[None]:
    """Prepare the scripted model for the load; `sabotage` names the fault of the broker, if any."""
    drop_ins = {"hive-model.service": _MODEL}
    if sabotage:
        drop_ins["hive-broker.service"] = _BROKER % sabotage
    files = [UNITS / f"{unit}.d/60-chaos.conf" for unit in drop_ins]
    SCENARIO.write_bytes(Path(__file__).with_name("scenario.toml").read_bytes())
    SCENARIO.chmod(0o644)
    try:
        for file, text in zip(files, drop_ins.values(), strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        _restart(*drop_ins)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)
        _restart(*drop_ins)


def _restart(*units: str) -> None:
    for command in (["daemon-reload"], ["reset-failed", *units], ["restart", *units]):
        subprocess.run(["systemctl", *command], check=True)

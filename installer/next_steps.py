"""The text after a first installation."""

from typing import Final

NEXT_STEPS: Final = """\
Hyperhive is installed. Next:
  1. Give the agents a key or a token of the model:  hivectl credentials set
     (or log them in with accounts, once they run:  hivectl login manager)
  2. Start the hive now; it starts with each boot:  systemctl start hive.target
  3. Open your page:  hivectl login-link
The settings are in /etc/hyperhive/hyperhive.toml. `hivectl --help` lists the commands."""

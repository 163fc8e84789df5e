"""The text after a first installation."""

from typing import Final

NEXT_STEPS: Final = """\
Hyperhive is installed. Run as root:
  1. Store an API key or a token of the model's provider:  hivectl credentials set
     (or log agents in with accounts, once they run:  hivectl login manager)
  2. Start the hive now; it starts with each boot:  systemctl start hive.target
     The first start also creates the manager.
  3. Open your page:  hivectl login-link
     (if your browser is on another machine, run there:  ssh -L 7000:127.0.0.1:7000 HOST)
  4. Create an agent, or ask the manager for one:  hivectl spawn alice
Root and the members of the group hive operate the hive: `getent group hive` lists them. If other
software has made that group, take its users out of it first.
The settings are in /etc/hyperhive/hyperhive.toml. `hivectl --help` lists the commands."""

"""NixOS systems of agents, built by the real Nix in hive-build@NAME and booted.

The stand-in for Hyperhive's flake copies the stand-in for a NixOS system (sandbox/nixos.py), and
adds a text from agent.nix. No garbage is collected here: the stand-in is not registered with Nix.
"""

import shutil
from collections.abc import Iterator

import pytest

from tests.system.hive import BACKEND, PYTHON, REPO, Hive
from tests.system.inside import decide, hivectl, inside, until_recorded, wait_for_inbox
from tests.system.test_approvals import CLONED

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(BACKEND != "nixos", reason="test_the_suites_hold_with_nixos runs this"),
    pytest.mark.skipif(not shutil.which("nix"), reason="needs Nix"),
]

CONFIG = "/etc/hyperhive/hyperhive.toml"
DROP_IN = "/run/systemd/system/hive-build@.service.d/nixos.conf"
ROOTS = "/nix/var/nix/gcroots/hyperhive"
META = "/var/lib/hyperhive/git/meta"

NIX_CONF = """
substituters =
sandbox = false
build-users-group =
experimental-features = nix-command flakes
"""
HYPERHIVE = """{
  inputs.nixpkgs.url = "path:/nowhere";
  outputs = { self, nixpkgs }: {
    lib.agentSystem = { name, manager, system, agent }: {
      config.system.build.toplevel = derivation {
        name = "nixos-system-${name}";
        inherit system;
        builder = "/bin/sh";
        PATH = "/usr/bin:/bin";
        args = [ "-c" ''
          echo "assembling ${name}"
          eval "$before"
          cp -a STAND_IN "$out"
          chmod -R u+w "$out"
          sed -i "s|STAND_IN|$out|g" "$out/init"
          echo "$text" > "$out/etc/agent-text"
        '' ];
        text = "${(agent.nixosModules.default { }).text} ${nixpkgs.lib.version}";
        before = (agent.nixosModules.default { }).before or "";
      };
    };
  };
}
"""


class NixHost:
    """A hive whose host has Nix, and inputs for the systems of agents."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive
        self.before = hive.run("cat", CONFIG).stdout
        [line] = [line for line in self.before.splitlines() if line.startswith("toplevel")]
        self.hyperhive = HYPERHIVE.replace("STAND_IN", line.split('"')[1])
        self.write("/etc/nix/nix.conf", NIX_CONF)
        self.write(DROP_IN, (REPO / "services/build/hive-build-nixos.conf").read_text())
        hive.run("mkdir", "-p", ROOTS)
        hive.run("systemd-run", "--quiet", "--unit=nix-daemon-stand-in", "nix-daemon")
        hive.run("systemctl", "daemon-reload")

    def write(self, path: str, text: str) -> None:
        self.hive.run("install", "-D", "-m", "0644", "/dev/stdin", path, input=text)

    def have(self, version: str) -> None:
        """Give the host a version of nixpkgs, as an update of the host does."""
        nixpkgs = f'{{ outputs = _: {{ lib.version = "{version}"; }}; }}'
        sections = []
        for name, flake in (("hyperhive", self.hyperhive), ("nixpkgs", nixpkgs)):
            folder = f"/var/tmp/nix-builds/{name}"
            self.write(f"{folder}/flake.nix", flake)
            add = ("nix-store", "--add-fixed", "--recursive", "sha256", folder)
            path = self.hive.run(*add).stdout.strip()
            digest = self.hive.run("nix", "hash", "path", path).stdout.strip()
            sections.append(f'\n[nixos.inputs.{name}]\npath = "{path}"\nnar_hash = "{digest}"\n')
        self.write(CONFIG, self.before + "".join(sections))
        self.hive.run("systemctl", "restart", "hive-approvals", "hive-lifecycle")

    def edit(self, agent: str, code: str, *, check: bool = True, before: str = '""') -> str:
        """Deploy another agent.nix, as the operator; return the output of hivectl.

        Args:
            agent: the agent.
            code: the Nix code of the text in its system.
            check: whether the deploy must succeed; otherwise it must fail.
            before: the Nix code of a script that the builder runs first.
        """
        editor = "/var/tmp/nix-builds/editor"
        module = f"{{ ... }}: {{ text = {code}; before = {before}; }}\n"
        self.write("/var/tmp/nix-builds/agent.nix", module)
        self.write(editor, "#!/bin/sh\ncp /var/tmp/nix-builds/agent.nix $1\n")
        self.hive.run("chmod", "+x", editor)
        command = ("edit", agent, "agent.nix", "--yes", "--now")
        done = self.hive.run(
            "env", f"VISUAL={editor}", "hivectl", *command, check=False, timeout=150
        )
        assert (done.returncode == 0) is check, done.stdout + done.stderr
        return done.stdout + done.stderr

    def text(self, agent: str) -> str:
        """Return the text of the system that the agent's container runs."""
        told: str = inside(self.hive, agent, "cat", "/etc/agent-text").stdout.strip()
        return told

    def roots(self, agent: str) -> list[str]:
        """Return the systems that lifecycle keeps for a container."""
        return self.hive.run("ls", f"{ROOTS}/{agent}").stdout.split()

    def meta(self, *arguments: str) -> str:
        command = ("runuser", "-u", "hive-approvals", "--", "git", "-C", META, *arguments)
        return self.hive.run(*command).stdout.strip()

    def remove(self) -> None:
        """Restore the hive as it was, except for its agents."""
        self.write(CONFIG, self.before)
        self.hive.run("rm", "-rf", DROP_IN, "/etc/nix", "/var/tmp/nix-builds", ROOTS)
        self.hive.run("systemctl", "stop", "nix-daemon-stand-in")
        self.hive.run("systemctl", "daemon-reload")
        self.hive.run("systemctl", "restart", "hive-approvals", "hive-lifecycle")


@pytest.fixture(scope="module")
def host(swarm: Hive) -> Iterator[NixHost]:
    made = NixHost(swarm)
    try:
        made.have("26")
        swarm.hivectl("spawn", "nora", timeout=120)
        yield made
        swarm.hivectl("destroy", "nora", "--purge", "--yes", timeout=120)
    finally:
        made.remove()


def test_a_deploy_boots_what_nix_has_built(host: NixHost) -> None:
    host.edit("nora", '"hello"')
    assert host.text("nora") == "hello 26"
    [system] = host.roots("nora")
    assert host.meta("log", "-1", "--format=%s") == "Deploy nora: Edit agent.nix"
    assert host.meta("status", "--short") == ""
    roots = host.hive.run("nix-store", "--gc", "--print-roots").stdout
    links = [line.split(" -> ")[0] for line in roots.splitlines() if line.endswith(system)]
    assert f"{ROOTS}/nora/{system}" in links
    assert any(link.startswith("/var/lib/hyperhive/builds/nora/") for link in links)
    lines = host.hive.hivectl("logs", "nora", "--build").stdout
    assert "nixos-system-nora> assembling nora" in lines


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('builtins.readFile "/etc/hostname"', "is forbidden"),
        (
            '(builtins.getFlake "git+file:///var/lib/hyperhive/git/applied/alice?rev=REV").rev',
            "git",
        ),
        ('throw "on purpose"', "on purpose"),
    ],
)
def test_a_deploy_that_cannot_be_built_changes_nothing(host: NixHost, code: str, why: str) -> None:
    lock = host.meta("show", "main:flake.lock")
    applied = "/var/lib/hyperhive/git/applied/alice"
    command = ("runuser", "-u", "hive-approvals", "--", "git", "--git-dir", applied)
    rev = host.hive.run(*command, "rev-parse", "main").stdout.strip()
    said = host.edit("nora", code.replace("REV", rev), check=False)
    assert why in said
    assert host.meta("show", "main:flake.lock") == lock
    assert host.meta("status", "--short") == ""
    assert host.hive.hivectl("status", "nora").returncode == 0


MEGABYTES = 192
GROUP = "/run/little-memory"
"""The mount of the machine's memory controller, where that is one of the first version."""
ALLOCATE = f"exec python3 -c 'b\"x\" * ({2 * MEGABYTES} << 20)'"
LIST = (
    'toString (builtins.length (builtins.filter (x: x != "") (builtins.genList toString 50000000)))'
)


@pytest.fixture
def enter(host: NixHost) -> Iterator[str]:
    """Limit the memory of builds; return the command with which a builder enters the limit.

    systemd limits memory where the machine has the second version of the memory controller. With
    the first version, the same kernel kills in a group that the test makes.
    """
    run, path = host.hive.run, "/run/systemd/system/hive-build@.service.d/zz-memory.conf"
    daemon = "nix-daemon-stand-in"
    mount = ("mount", "-t", "cgroup", "-o", "memory", "none", GROUP)
    own = f"{GROUP}/{host.hive.name}"
    enter, unit = ":", f"[Service]\nMemoryMax={MEGABYTES}M\nMemorySwapMax=0\n"
    second = "memory" in run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout
    if second:
        limits = (f"MemoryMax={MEGABYTES}M", "MemorySwapMax=0")
        run("systemctl", "set-property", "--runtime", daemon, *limits)
    else:
        run("mkdir", "-p", GROUP)
        if run(*mount, check=False).returncode:
            run("rmdir", GROUP)
            pytest.skip("this machine has no memory controller")
        run("mkdir", own)
        run("sh", "-c", f"echo {MEGABYTES}M > {own}/memory.limit_in_bytes")
        run("chmod", "666", f"{own}/cgroup.procs")
        enter = f"echo $$ > {own}/cgroup.procs"
        build = f"{enter.replace('$', '$$')}; exec {PYTHON} -m services.build %i"
        unit = f'[Service]\nReadWritePaths={GROUP}\nExecStart=\nExecStart=/bin/sh -c "{build}"\n'
    host.write(path, unit)
    run("systemctl", "daemon-reload")
    try:
        yield enter
    finally:
        run("rm", path)
        run("systemctl", "daemon-reload")
        if second:
            run("systemctl", "set-property", "--runtime", daemon, "MemoryMax=infinity")
        else:
            run("rmdir", own)
            run("umount", GROUP)
            run("rmdir", GROUP)


def test_an_evaluation_without_memory_is_told(host: NixHost, enter: str) -> None:
    before = host.text("nora")
    said = " ".join(host.edit("nora", LIST, check=False).split())
    assert "The system of nora cannot be built: nix was killed by SIGKILL. It may have used" in said
    assert host.text("nora") == before
    assert host.meta("status", "--short") == ""


def test_a_builder_without_memory_is_told(host: NixHost, enter: str) -> None:
    before = host.text("nora")
    script = f"''{enter}; {ALLOCATE} ''"
    said = " ".join(host.edit("nora", '"x"', before=script, check=False).split())
    assert "nixos-system-nora.drv' failed due to signal 9 (Killed). It may have used up" in said
    assert host.text("nora") == before
    host.edit("nora", '"small enough"')
    assert host.text("nora") == "small enough 26"


def test_the_operator_approves_a_module_of_the_manager(host: NixHost) -> None:
    """The errand of nix/tests/host.nix, which needs a real nixpkgs."""
    hive = host.hive
    inside(hive, "manager", PYTHON, "-c", CLONED, "nora")
    hive.hivectl("send", "manager", 'give nora the module { ... }: { text = "errand"; }')
    wait_for_inbox(hive, "another agent.nix of nora", "manager")
    [request] = [row for row in hivectl(hive, "pending") if row["agent"] == "nora"]
    assert (request["state"], request["requested_by"]) == ("pending", "manager")
    assert "errand" in hive.hivectl("diff", str(request["id"])).stdout
    decide(hive, "approve", request["id"], timeout=180)
    assert host.text("nora") == "errand 26"
    until_recorded(hive, "nora")
    assert host.meta("log", "-1", "--format=%s") == "Deploy nora: Change agent.nix"


def test_an_update_of_the_host_rebuilds_an_agent(host: NixHost) -> None:
    host.edit("nora", '"again"')
    host.have("27")
    assert host.meta("log", "-1", "--format=%s") == "Update the inputs"
    host.hive.hivectl("restart", "nora", timeout=120)
    assert host.text("nora") == "again 26", "a restart waits for no build"
    host.hive.hivectl("rebuild", "nora", timeout=150)
    assert len(host.roots("nora")) == 2, "it may still start from the old one"
    assert host.text("nora") == "again 26"
    host.hive.hivectl("update", "nora", timeout=150)
    assert host.text("nora") == "again 27"
    assert len(host.roots("nora")) == 1

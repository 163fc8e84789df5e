# A host in a VM. The services start, a declared agent boots its NixOS system, and a message to the agent
# comes back with an answer of the scripted model. Then the manager proposes another agent.nix, the
# operator approves it, and the agent boots the system that is built from it. Nobody has run this with
# a real nixpkgs yet.
{
  lib,
  modules,
  python,
  source,
  system,
  # `lib.agentSystem` of the flake.
  agentSystem,
}:

let
  # The VM has no network to fetch what a build needs. So it has the result in its store: Nix finds
  # that there is nothing to build when it has evaluated the same system.
  built = agentSystem {
    inherit system;
    name = "alice";
    agent.nixosModules.default = import ./errand.nix;
  };
in
{
  name = "hyperhive-host";

  nodes.host = {
    imports = modules;
    services.hyperhive = {
      enable = true;
      operators = [ "ann" ];
      agents.alice = { };
      settings.harness.scripted_model_url = "http://127.0.0.1:7100";
    };
    users.users.ann.isNormalUser = true;

    nix.settings.substituters = lib.mkForce [ ];
    # Evaluating a system writes all of its derivations into the store.
    virtualisation = {
      additionalPaths = [ built.config.system.build.toplevel ];
      writableStoreUseTmpfs = false;
      diskSize = 8192;
      memorySize = 6144;
    };

    systemd.services.hive-model = {
      description = "The scripted model";
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = "notify";
        DynamicUser = true;
        WorkingDirectory = "${source}";
        ExecStart = "${
          python.withPackages (libraries: [
            libraries.aiohttp
            libraries.pydantic
            libraries.sdnotify
          ])
        }/bin/python -B -m sandbox.model --host 127.0.0.1 --port 7100";
      };
    };
  };

  testScript = ''
    import json
    import shlex


    def ann(command):
        """Run a command as an operator who is not root; return its output."""
        return host.succeed(f"su ann -c {shlex.quote(command)}")


    def inside(agent, command):
        """Run a command in the container of an agent; return its output."""
        unit = "systemd-run --quiet --wait --pipe"
        return host.succeed(f"{unit} --machine=h-{agent} /run/current-system/sw/bin/{command}")


    host.wait_for_unit("hive.target")
    for service in ("broker", "lifecycle", "approvals", "ledger", "dashboard", "notify"):
        host.wait_for_unit(f"hive-{service}.service")
    host.wait_for_open_port(7000)
    host.succeed("curl --fail --silent --output /dev/null http://127.0.0.1:7000/login")

    with subtest("An operator sees the agent that the configuration declares"):
        host.wait_for_unit("hive-declared-agents.service")
        assert "alice" in ann("hivectl list --json")

    with subtest("The agent answers"):
        answer = ann("hivectl ask alice 'What is six times seven?' --wait 300")
        assert answer.strip() == "42", answer

    with subtest("The manager proposes a change"):
        # Its harness makes a working copy of each agent's configuration.
        working_copy = "/var/lib/hyperhive/git/proposed/alice/agent.nix"
        host.wait_until_succeeds(f"test -e {working_copy}", timeout=300)
        ann("hivectl send manager " + shlex.quote("""give alice the module ${builtins.readFile ./errand.nix}"""))
        host.wait_until_succeeds("hivectl pending --json | grep alice", timeout=300)
        [request] = json.loads(ann("hivectl pending --json"))
        assert (request["agent"], request["requested_by"]) == ("alice", "manager"), request
        number, commit = request["id"], request["commit"]
        assert "errand" in ann(f"hivectl diff {number}")

    with subtest("The operator approves it, and the agent boots the system that it makes"):
        before = inside("alice", "readlink /run/booted-system")
        ann(f"hivectl approve {number} --commit {commit} --timeout 1800")
        assert inside("alice", "cat /etc/errand") == "done"
        after = inside("alice", "readlink /run/booted-system")
        assert after == "${built.config.system.build.toplevel}\n" != before, after
        assert f"deployed/{number}" in ann("hivectl deploy-log alice")
        answer = ann("hivectl ask alice 'What is six times eight?' --wait 300")
        assert answer.strip() == "48", answer

    with subtest("A switch to the same configuration restarts no container"):
        before = host.succeed("machinectl show h-alice --property=Leader")
        host.succeed("/run/current-system/bin/switch-to-configuration test")
        assert before == host.succeed("machinectl show h-alice --property=Leader")

    host.fail("systemctl --failed --quiet | grep hive")
  '';
}

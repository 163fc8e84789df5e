# A host in a VM: the services start, a declared agent boots its NixOS system, and a message to the agent
# comes back with an answer of the scripted model. Nobody has run this with a real nixpkgs yet.
{
  modules,
  python,
  source,
}:

{
  name = "hyperhive-host";

  nodes.host = {
    imports = modules;
    services.hyperhive = {
      enable = true;
      operators = [ "ann" ];
      manager.enable = false;
      agents.alice = { };
      settings.harness.scripted_model_url = "http://127.0.0.1:7100";
    };
    users.users.ann.isNormalUser = true;
    virtualisation.memorySize = 3072;

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
    host.wait_for_unit("hive.target")
    for service in ("broker", "lifecycle", "approvals", "ledger", "dashboard", "notify"):
        host.wait_for_unit(f"hive-{service}.service")
    host.wait_for_open_port(7000)
    host.succeed("curl --fail --silent --output /dev/null http://127.0.0.1:7000/login")

    with subtest("An operator sees the agent that the configuration declares"):
        host.wait_for_unit("hive-declared-agents.service")
        host.succeed("su ann -c 'hivectl list --json' | grep alice")

    with subtest("The agent answers"):
        host.succeed("hivectl send alice 'what is $LANG'")
        host.succeed("su ann -c 'hivectl inbox --wait 120' | grep 'LANG is'")

    with subtest("A switch to the same configuration restarts no container"):
        before = host.succeed("machinectl show h-alice --property=Leader")
        host.succeed("/run/current-system/bin/switch-to-configuration test")
        assert before == host.succeed("machinectl show h-alice --property=Leader")

    host.fail("systemctl --failed --quiet | grep hive")
  '';
}

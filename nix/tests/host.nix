# A host in a VM: the services start, the dashboard answers, and a message waits for its agent.
{ modules }:

{
  name = "hyperhive-host";

  nodes.host = {
    imports = modules;
    services.hyperhive = {
      enable = true;
      operators = [ "ann" ];
      # Without a network no container can be built here.
      manager.enable = false;
    };
    users.users.ann.isNormalUser = true;
    virtualisation.memorySize = 2048;
  };

  testScript = ''
    host.wait_for_unit("hive.target")
    for service in ("broker", "lifecycle", "approvals", "ledger", "dashboard", "notify"):
        host.wait_for_unit(f"hive-{service}.service")
    host.wait_for_open_port(7000)
    host.succeed("curl --fail --silent --output /dev/null http://127.0.0.1:7000/login")
    host.succeed("su ann -c 'hivectl list --json'")
    host.succeed("hivectl threads --json")
    host.fail("systemctl --failed --quiet | grep hive")
  '';
}

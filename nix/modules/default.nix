# The whole hive: `services.hyperhive.enable = true` is enough. Each service has a module of its own
# in this folder, enabled by default with the hive.
{
  imports = [
    ./hive.nix
    ./approvals.nix
    ./assistant.nix
    ./broker.nix
    ./dashboard.nix
    ./forge-events.nix
    ./gateway.nix
    ./ledger.nix
    ./lifecycle.nix
    ./notify.nix
    ./projects.nix
    ./telemetry.nix
  ];
}

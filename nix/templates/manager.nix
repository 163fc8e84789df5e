# The system of the manager: an agent that also prepares the configurations of others, in /agents.
{ pkgs, ... }:

{
  imports = [ ./agent-base.nix ];

  # To update the flake.lock of a configuration. Nix has a store of its own here, because there is no
  # daemon, and /nix/store cannot be written.
  environment.systemPackages = [ pkgs.nix ];
  environment.etc."nix/nix.conf".text = ''
    experimental-features = nix-command flakes
    build-users-group =
  '';
  systemd.services.hive-harness.environment.NIX_REMOTE = "/var/lib/hive-nix";
}

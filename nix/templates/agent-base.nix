# The system of an agent without a configuration of its own; agent.nix is added to it.
{ lib, pkgs, ... }:

{
  imports = [ ./harness-base.nix ];

  environment.systemPackages = [
    pkgs.curl
    pkgs.jq
    pkgs.python3
    pkgs.ripgrep
  ];

  documentation.enable = lib.mkDefault false;
  system.stateVersion = lib.mkDefault "25.11";
}

# The gateways of the agents: a unit for each, which its socket starts.
{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.gateway;
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.gateway = {
    enable = lib.mkEnableOption "the gateways, through which agents reach the model and other hosts" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    # A template: lifecycle starts the sockets with each container.
    systemd.services."hive-gateway@".restartTriggers = triggers.of hive.settings [ "gateway" ];

    users.users.hive-gateway = {
      isSystemUser = true;
      group = "hive-gateway";
      description = "Hyperhive gateways of agents";
    };
    users.groups.hive-gateway = { };
  };

  meta.maintainers = [ ];
}

{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.broker;
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.broker = {
    enable = lib.mkEnableOption "the durable message broker" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-broker = {
      wantedBy = [ "hive.target" ];
      restartTriggers = triggers.of hive.settings [ "broker" ];
    };
    systemd.timers.hive-vacuum = {
      wantedBy = [ "hive.target" ];
    };

    users.users.hive-broker = {
      isSystemUser = true;
      group = "hive-broker";
      description = "Hyperhive broker";
      home = "/var/lib/hyperhive/broker";
    };
    users.groups.hive-broker = { };
    users.users.hive-vacuum = {
      isSystemUser = true;
      group = "hive-vacuum";
      description = "Hyperhive retention";
    };
    users.groups.hive-vacuum = { };
  };

  meta.maintainers = [ ];
}

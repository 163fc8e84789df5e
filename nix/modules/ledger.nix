{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.ledger;
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.ledger = {
    enable = lib.mkEnableOption "the record of turns and their costs" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-ledger = {
      wantedBy = [ "hive.target" ];
      restartTriggers = triggers.of hive.settings [ "ledger" ];
    };

    users.users.hive-ledger = {
      isSystemUser = true;
      group = "hive-ledger";
      description = "Hyperhive ledger";
      home = "/var/lib/hyperhive/ledger";
    };
    users.groups.hive-ledger = { };
  };

  meta.maintainers = [ ];
}

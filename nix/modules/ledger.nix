{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.ledger;
in
{
  options.services.hyperhive.ledger = {
    enable = lib.mkEnableOption "the record of turns and their costs" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-ledger.wantedBy = [ "hive.target" ];

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

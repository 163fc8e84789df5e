{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.dashboard;
in
{
  options.services.hyperhive.dashboard = {
    enable = lib.mkEnableOption "the operator's web dashboard" // {
      default = true;
      example = false;
    };

    port = lib.mkOption {
      description = ''
        TCP port on which the dashboard listens, on this host's loopback only. Users of other hosts
        reach it through a tunnel, or through a proxy of yours that authenticates them.
      '';
      type = lib.types.port;
      default = 7000;
      example = 8080;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.sockets.hive-dashboard = {
      wantedBy = [ "hive.target" ];
      # The empty entry removes the address in the package's unit.
      listenStreams = [
        ""
        "127.0.0.1:${toString cfg.port}"
      ];
    };
    systemd.services.hive-dashboard.wantedBy = [ "hive.target" ];

    users.users.hive-dashboard = {
      isSystemUser = true;
      group = "hive-dashboard";
      description = "Hyperhive dashboard";
      home = "/var/lib/hyperhive/dashboard";
    };
    users.groups.hive-dashboard = { };
  };

  meta.maintainers = [ ];
}

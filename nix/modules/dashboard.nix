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

    metricsTokenFile = lib.mkOption {
      description = ''
        File with the token that reads `/metrics`, outside the Nix store. Without it, only a logged-in
        page reads the metrics.
      '';
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/keys/hive-metrics";
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
    systemd.services.hive-dashboard = {
      wantedBy = [ "hive.target" ];
      serviceConfig.LoadCredential = lib.optional (
        cfg.metricsTokenFile != null
      ) "dashboard_metrics:${toString cfg.metricsTokenFile}";
    };

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

{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.telemetry;
in
{
  options.services.hyperhive.telemetry = {
    enable = lib.mkEnableOption "the export of traces to the collector of `settings.telemetry.endpoint`" // {
      default = true;
      example = false;
    };

    headerFiles = lib.mkOption {
      description = ''
        Files with the headers of the requests to the collector, outside the Nix store; the keys are
        the names of the headers. The service gets them as systemd credentials.
      '';
      type = lib.types.attrsOf lib.types.path;
      default = { };
      example = {
        authorization = "/run/keys/collector";
      };
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-telemetry = {
      wantedBy = [ "hive.target" ];
      serviceConfig.LoadCredential = lib.mapAttrsToList (
        name: file: "telemetry_${name}:${toString file}"
      ) cfg.headerFiles;
    };

    users.users.hive-telemetry = {
      isSystemUser = true;
      group = "hive-telemetry";
      description = "Hyperhive telemetry";
    };
    users.groups.hive-telemetry = { };
  };

  meta.maintainers = [ ];
}

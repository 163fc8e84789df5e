{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.telemetry;
  credentials = import ../credentials.nix { inherit lib; };
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.telemetry = {
    enable = lib.mkEnableOption "the export of traces to the collector of `settings.telemetry.endpoint`" // {
      default = true;
      example = false;
    };

    headerFiles = credentials.files {
      description = ''
        Files with the headers of the requests to the collector, outside the Nix store; the keys are
        the names of the headers. The service gets them as systemd credentials.
      '';
      example.authorization = "/run/keys/collector";
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    assertions = [
      {
        assertion = cfg.headerFiles == { } || hive.settings.telemetry.endpoint != null;
        message = "services.hyperhive.telemetry.headerFiles needs settings.telemetry.endpoint: without it no traces are made.";
      }
    ];

    services.hyperhive.secretFiles = credentials.named "telemetry.headerFiles" cfg.headerFiles;

    systemd.services.hive-telemetry = {
      wantedBy = [ "hive.target" ];
      restartTriggers = triggers.of hive.settings [ "telemetry" ];
      serviceConfig.LoadCredential = credentials.load "telemetry" cfg.headerFiles;
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

{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.notify;
  credentials = import ../credentials.nix { inherit lib; };
in
{
  options.services.hyperhive.notify = {
    enable = lib.mkEnableOption "the service that tells the webhooks of `settings.notify` that the operator is needed" // {
      default = true;
      example = false;
    };

    tokenFiles = credentials.files {
      description = ''
        Files with the tokens of the webhooks, outside the Nix store; the keys are the names of the
        webhooks. The service gets the tokens as systemd credentials.
      '';
      example.phone = "/run/keys/ntfy";
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-notify = {
      wantedBy = [ "hive.target" ];
      serviceConfig.LoadCredential = credentials.load "notify" cfg.tokenFiles;
    };

    users.users.hive-notify = {
      isSystemUser = true;
      group = "hive-notify";
      description = "Hyperhive notifications";
      home = "/var/lib/hyperhive/notify";
    };
    users.groups.hive-notify = { };
  };

  meta.maintainers = [ ];
}

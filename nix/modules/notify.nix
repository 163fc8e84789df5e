{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.notify;
in
{
  options.services.hyperhive.notify = {
    enable = lib.mkEnableOption "the service that tells the webhooks of `settings.notify` that the operator is needed" // {
      default = true;
      example = false;
    };

    tokenFiles = lib.mkOption {
      description = ''
        Files with the tokens of the webhooks, outside the Nix store; the keys are the names of the
        webhooks. The service gets the tokens as systemd credentials.
      '';
      type = lib.types.attrsOf lib.types.path;
      default = { };
      example = {
        phone = "/run/keys/ntfy";
      };
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-notify = {
      wantedBy = [ "hive.target" ];
      serviceConfig.LoadCredential = lib.mapAttrsToList (
        name: file: "notify_${name}:${toString file}"
      ) cfg.tokenFiles;
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

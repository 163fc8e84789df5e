{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.notify;
in
{
  options.services.hyperhive.notify = {
    enable = lib.mkEnableOption "what tells the webhooks of `settings.notify` that you are needed" // {
      default = true;
      example = false;
    };

    tokenFiles = lib.mkOption {
      description = ''
        Files with the tokens of the webhooks, by the names of these, kept out of the Nix store.
        They are handed to the service as systemd credentials.
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

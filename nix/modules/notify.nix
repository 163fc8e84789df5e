{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.notify;
  credentials = import ../credentials.nix { inherit lib; };
  webhooks = map (webhook: webhook.name) (
    if hive.settings.notify.webhooks == null then [ ] else hive.settings.notify.webhooks
  );
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

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
    assertions = map (name: {
      assertion = false;
      message = "services.hyperhive.notify.tokenFiles.${name}: settings.notify.webhooks has no webhook of this name. Add the webhook, or remove the token.";
    }) (lib.filter (name: !(lib.elem name webhooks)) (lib.attrNames cfg.tokenFiles));

    services.hyperhive.secretFiles = credentials.named "notify.tokenFiles" cfg.tokenFiles;

    systemd.services.hive-notify = {
      wantedBy = [ "hive.target" ];
      restartTriggers = triggers.of hive.settings [
        "notify"
        "dashboard"
      ];
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

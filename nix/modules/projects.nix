{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  cfg = hive.projects;
  credentials = import ../credentials.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.projects = {
    enable = lib.mkEnableOption "the repositories that agents work on" // {
      default = true;
      example = false;
    };

    credentialFiles = credentials.files {
      description = ''
        Files with the deploy keys and tokens for upstreams of projects, outside the Nix store; the
        keys are the names of the credentials. The secret of the webhook of a project has the key
        `"PROJECT.webhook"`. The service gets them as systemd credentials.
      '';
      example.website = "/run/keys/website-deploy-key";
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    services.hyperhive.secretFiles = credentials.named "projects.credentialFiles" cfg.credentialFiles;

    systemd.services.hive-projects = {
      wantedBy = [ "hive.target" ];
      # Any setting here becomes a drop-in that also sets PATH: the programs it calls must be on that.
      path = [
        pkgs.git
        pkgs.openssh
        pkgs.util-linux # prlimit
      ];
      serviceConfig.LoadCredential = credentials.load "projects" cfg.credentialFiles;
    };
    systemd.timers.hive-fetch = {
      wantedBy = [ "hive.target" ];
    };

    users.users.hive-projects = {
      isSystemUser = true;
      group = "hive-projects";
      description = "Hyperhive projects";
      home = "/var/lib/hyperhive/projects";
    };
    users.groups.hive-projects = { };
    users.users.hive-fetch = {
      isSystemUser = true;
      group = "hive-fetch";
      description = "Hyperhive fetches of projects";
    };
    users.groups.hive-fetch = { };
  };

  meta.maintainers = [ ];
}

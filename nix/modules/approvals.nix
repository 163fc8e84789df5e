{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  cfg = hive.approvals;
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.approvals = {
    enable = lib.mkEnableOption "the queue of requests that wait for the operator" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-approvals = {
      wantedBy = [ "hive.target" ];
      restartTriggers =
        triggers.of hive.settings [
          "approvals"
          "nixos"
        ]
        ++ [ "backend-${hive.backend}" ];
      # Any setting here becomes a drop-in that also sets PATH: the programs it calls must be on that.
      path = [
        pkgs.git
        pkgs.util-linux # prlimit
      ];
    };

    users.users.hive-approvals = {
      isSystemUser = true;
      group = "hive-approvals";
      description = "Hyperhive approvals";
      home = "/var/lib/hyperhive/approvals";
      extraGroups = [ "hive-git" ];
    };
    # Its members read the agents' configurations, including proposed ones.
    users.groups.hive-git = { };
    users.groups.hive-approvals = { };
  };

  meta.maintainers = [ ];
}

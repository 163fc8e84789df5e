{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  cfg = hive.approvals;
in
{
  options.services.hyperhive.approvals = {
    enable = lib.mkEnableOption "the queue of what waits for the operator" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    systemd.services.hive-approvals = {
      wantedBy = [ "hive.target" ];
      # Any setting here becomes a drop-in that sets PATH too: what it calls must be on it.
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
    # Who reads the agents' configurations, proposed ones and others.
    users.groups.hive-git = { };
    users.groups.hive-approvals = { };
  };

  meta.maintainers = [ ];
}

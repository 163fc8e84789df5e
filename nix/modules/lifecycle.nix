{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  cfg = hive.lifecycle;
in
{
  options.services.hyperhive.lifecycle = {
    enable = lib.mkEnableOption "the service that runs the agents' containers" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    # The containers are ordinary units of systemd-nspawn, and machined registers them.
    boot.enableContainers = true;

    systemd.services.hive-lifecycle = {
      wantedBy = [ "hive.target" ];
      # Any setting here becomes a drop-in that also sets PATH: the programs it calls must be on that.
      path = [
        config.systemd.package
      ];
    };
    systemd.services.hive-canfilter = {
      wantedBy = [ "hive.target" ];
    };
    systemd.timers.hive-sweep = {
      wantedBy = [ "hive.target" ];
    };
    # A template, which lifecycle starts. Without apt, agents cannot have packages of their own.
    systemd.services."hive-build@".path = [ pkgs.git ];

    users.users.hive-filter = {
      isSystemUser = true;
      group = "hive-filter";
      description = "Hyperhive network filter";
    };
    users.groups.hive-filter = { };

    users.users.hive-build = {
      isSystemUser = true;
      group = "hive-build";
      description = "Hyperhive builds";
      extraGroups = [ "hive-git" ];
    };
    users.groups.hive-build = { };
  };

  meta.maintainers = [ ];
}

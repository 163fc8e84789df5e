# The whole hive: `services.hyperhive.enable = true` is enough. Each service has a module of its own
# in this folder, enabled by default with the hive.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.hyperhive;
  format = pkgs.formats.toml { };
in
{
  imports = [
    ./broker.nix
    ./lifecycle.nix
    ./approvals.nix
    ./dashboard.nix
    ./assistant.nix
    ./notify.nix
    ./ledger.nix
    ./telemetry.nix
  ];

  options.services.hyperhive = {
    enable = lib.mkEnableOption "Hyperhive, a swarm of Claude Code agents in containers";

    package = lib.mkPackageOption pkgs "hyperhive" { };

    settings = lib.mkOption {
      description = ''
        Contents of {file}`/etc/hyperhive/hyperhive.toml`. If it has an unknown key, the services
        refuse to start and name the key.
      '';
      default = { };
      example = {
        harness.session_idle = 900;
        approvals.max_pending = 20;
      };
      type = lib.types.submodule {
        freeformType = format.type;
      };
    };

    apiKeyFile = lib.mkOption {
      description = ''
        File with the API key for the agents, outside the Nix store. The gateways get the key as a
        systemd credential; no container does. Without this file the operator stores a key with
        `hivectl credentials set`, or logs each agent in.
      '';
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/keys/anthropic";
    };

    operators = lib.mkOption {
      description = "Users with all rights of the operator.";
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "ann" ];
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.apiKeyFile == null || !lib.hasPrefix builtins.storeDir (toString cfg.apiKeyFile);
        message = "services.hyperhive.apiKeyFile is in the Nix store, where everybody can read it.";
      }
    ];

    environment.systemPackages = [ cfg.package ];
    environment.etc."hyperhive/hyperhive.toml".source = format.generate "hyperhive.toml" cfg.settings;

    services.dbus.packages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    systemd.tmpfiles.rules = lib.mkIf (cfg.apiKeyFile != null) [
      "C+ /etc/hyperhive/credentials/gateway/default 0600 root root - ${toString cfg.apiKeyFile}"
    ];

    # As hyperhive.sysctl.conf. NixOS's own defaults, which have been higher so far, take precedence.
    boot.kernel.sysctl."fs.inotify.max_user_instances" = lib.mkOverride 1400 262144;
    boot.kernel.sysctl."fs.inotify.max_user_watches" = lib.mkOverride 1400 67108864;

    # systemd.packages ignores [Install]: this and the other modules enable the units.
    systemd.targets.hive.wantedBy = [ "multi-user.target" ];

    # NixOS creates users itself: it reads a package's sysusers.d only with systemd.sysusers.enable.
    users.groups.hive.members = cfg.operators;
    users.users.hive-agents = {
      isSystemUser = true;
      group = "hive-agents";
      description = "Hyperhive endpoints of agents";
    };
    users.groups.hive-agents = { };
    users.users.hive-gateway = {
      isSystemUser = true;
      group = "hive-gateway";
      description = "Hyperhive gateways of agents";
    };
    users.groups.hive-gateway = { };
  };

  meta.maintainers = [ ];
}

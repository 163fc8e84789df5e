# The hive as a whole: `services.hyperhive.enable = true` is enough. Each service has a module of its
# own beside this one, enabled by default with the hive.
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
    ./notify.nix
  ];

  options.services.hyperhive = {
    enable = lib.mkEnableOption "Hyperhive, a swarm of Claude Code agents in containers";

    package = lib.mkPackageOption pkgs "hyperhive" { };

    settings = lib.mkOption {
      description = ''
        Contents of {file}`/etc/hyperhive/hyperhive.toml`. The services refuse to start, saying
        which key is wrong, when it has one that they do not know.
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
        File with the API key for the agents, kept out of the Nix store. It is handed to the
        containers as a systemd credential. Without it, each agent is logged in by the operator.
      '';
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/keys/anthropic";
    };

    operators = lib.mkOption {
      description = "Users who may do whatever the operator may.";
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
      "C+ /etc/hyperhive/credentials/anthropic_api_key 0600 root root - ${toString cfg.apiKeyFile}"
    ];

    # As hyperhive.sysctl.conf, and weaker than a default of NixOS: those that it has had are higher.
    boot.kernel.sysctl."fs.inotify.max_user_instances" = lib.mkOverride 1400 8192;

    # systemd.packages ignores [Install]: what starts the units stands here and in the modules beside.
    systemd.targets.hive.wantedBy = [ "multi-user.target" ];

    # NixOS makes users itself: sysusers.d of a package is read only with systemd.sysusers.enable.
    users.groups.hive.members = cfg.operators;
    users.users.hive-agents = {
      isSystemUser = true;
      group = "hive-agents";
      description = "Hyperhive endpoints of agents";
    };
    users.groups.hive-agents = { };
  };

  meta.maintainers = [ ];
}

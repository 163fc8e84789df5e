# The options that all modules share, and what is the same with each service. Every other module in this
# folder imports it.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.hyperhive;
  format = pkgs.formats.toml { };
  typed = import ../settings.nix {
    inherit lib;
    freeform = format.type;
  };
  triggers = import ../triggers.nix { inherit lib; };

  file = format.generate "hyperhive.toml" (triggers.withoutNull cfg.settings);

  # The services themselves check the file, with the sentences that the journal would have had.
  checked =
    if cfg.checkSettings && cfg.package ? prefix then
      pkgs.runCommand "hyperhive.toml" { } ''
        HYPERHIVE_CONFIG=${file} ${cfg.package.prefix}/bin/python -P -m services.config
        cp ${file} $out
      ''
    else
      file;

  secrets = lib.filterAttrs (_: file: file != null) (
    {
      default = cfg.credentials.default;
    }
    // lib.mapAttrs' (name: file: lib.nameValuePair "agents/${name}" file) cfg.credentials.agents
  );
  # The name of an encrypted credential (systemd-creds) ends with .cred, there as here.
  linkOf =
    name: file:
    "L+ /etc/hyperhive/credentials/gateway/${name}${lib.optionalString (lib.hasSuffix ".cred" (toString file)) ".cred"} - - - - ${toString file}";

  # As wire/names.py.
  isAgentName =
    name:
    builtins.match "[a-z]([a-z0-9-]{0,7}[a-z0-9])?" name != null && name != "operator" && name != "system";
  wrongNames = lib.filter (name: !isAgentName name) (
    lib.attrNames (cfg.agents // cfg.credentials.agents)
  );
  exposed = lib.filterAttrs (
    _: file: lib.hasPrefix builtins.storeDir (toString file)
  ) cfg.secretFiles;
in
{
  options.services.hyperhive = {
    enable = lib.mkEnableOption "Hyperhive, a swarm of Claude Code agents in containers";

    package = lib.mkPackageOption pkgs "hyperhive" { };

    settings = lib.mkOption {
      description = ''
        Contents of {file}`/etc/hyperhive/hyperhive.toml`. A key that is not set has the default of
        Hyperhive.
      '';
      default = { };
      example = {
        harness.session_idle = 900;
        approvals.max_pending = 20;
      };
      type = lib.types.submodule {
        freeformType = format.type;
        options = typed.file;
      };
    };

    checkSettings = lib.mkOption {
      description = ''
        Whether to check the settings when the system is built. Turn this off if the host that builds
        cannot run programs of this one.
      '';
      type = lib.types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalExpression "pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform";
      example = false;
    };

    operator = {
      name = lib.mkOption {
        description = "The name by which agents call the operator.";
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "Ann";
      };
      pronouns = lib.mkOption {
        description = "The operator's pronouns; without them agents write they/them.";
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "she/her";
      };
    };

    operators = lib.mkOption {
      description = "Users with all rights of the operator.";
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "ann" ];
    };

    credentials = {
      default = lib.mkOption {
        description = ''
          File with the key or token for all agents, outside the Nix store. The gateways get it as a
          systemd credential; no container does. A name that ends with `.cred` is a file that
          {manpage}`systemd-creds(1)` encrypted. Without this file the operator stores a key with
          `hivectl credentials set`, or logs each agent in.
        '';
        type = lib.types.nullOr lib.types.path;
        default = null;
        example = "/run/keys/anthropic";
      };
      agents = lib.mkOption {
        description = "Such files for single agents, in place of the one for all.";
        type = lib.types.attrsOf lib.types.path;
        default = { };
        example.alice = "/run/keys/anthropic-alice";
      };
    };

    backend = lib.mkOption {
      description = ''
        System in the containers of agents: a NixOS system of each agent (`nixos`), or the programs of
        the host's {file}`/usr` (`nspawn`), which NixOS does not have.
      '';
      type = lib.types.enum [
        "nixos"
        "nspawn"
      ];
      default = "nixos";
      example = "nixos";
    };

    systems = lib.mkOption {
      description = ''
        NixOS systems of agents whose configuration has none: `default`, and those of single agents.
        The flake sets `default` and `manager`.
      '';
      type = lib.types.attrsOf lib.types.package;
      default = { };
      example = lib.literalExpression "{ alice = (lib.nixosSystem { ... }).config.system.build.toplevel; }";
    };

    secretFiles = lib.mkOption {
      description = "All files with secrets, by the option that names them.";
      type = lib.types.attrsOf lib.types.raw;
      default = { };
      example = { };
      internal = true;
    };

    agents = lib.mkOption {
      description = ''
        Agents that the hive has from its first start. An agent that is removed from here goes on;
        `hivectl destroy` ends it.
      '';
      default = { };
      example = {
        alice.settings.resources.memory_max = "8G";
        bob.gateway.egress = [ "github.com" ];
      };
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            create = lib.mkOption {
              description = "Whether to create the agent if it does not exist.";
              type = lib.types.bool;
              default = true;
              example = false;
            };
            settings = lib.mkOption {
              description = "The section `[lifecycle.agents.NAME]`.";
              type = lib.types.submodule { options = typed.agentSettings; };
              default = { };
              example.sleep_after = 3600;
            };
            gateway = lib.mkOption {
              description = "The section `[gateway.agents.NAME]`.";
              type = lib.types.submodule { options = typed.gatewayAgent; };
              default = { };
              example.egress = [ "github.com" ];
            };
            messages = lib.mkOption {
              description = "The section `[broker.agents.NAME]`.";
              type = lib.types.submodule { options = typed.sendLimits; };
              default = { };
              example.may_send_to = [ "manager" ];
            };
            budget = lib.mkOption {
              description = "The section `[ledger.budgets.agents.NAME]`.";
              type = lib.types.submodule { options = typed.budgetLimits; };
              default = { };
              example.day = 5.0;
            };
          };
        }
      );
    };
  };

  imports = [
    (lib.mkRenamedOptionModule
      [ "services" "hyperhive" "apiKeyFile" ]
      [ "services" "hyperhive" "credentials" "default" ]
    )
  ];

  config = lib.mkIf cfg.enable {
    assertions =
      lib.mapAttrsToList (option: file: {
        assertion = false;
        message = "services.hyperhive.${option} = ${toString file} is in the Nix store, where everybody can read it. Name a file outside of the store, such as one in /run/keys.";
      }) exposed
      ++ map (name: {
        assertion = false;
        message = "services.hyperhive: \"${name}\" is not a valid agent name. Use 1 to 9 lower-case letters, digits and hyphens, the first of them a letter and the last not a hyphen, but not a reserved name.";
      }) wrongNames
      ++ [
        {
          assertion = lib.versionAtLeast config.systemd.package.version "252";
          message = "services.hyperhive needs systemd 252 or newer, and this system has ${config.systemd.package.version}.";
        }
        {
          assertion =
            (config.system.etc.overlay.mutable or true) || !(config.system.etc.overlay.enable or false);
          message = "services.hyperhive keeps credentials below /etc/hyperhive, which cannot be written here. Turn system.etc.overlay.mutable on.";
        }
      ];

    services.hyperhive.secretFiles =
      lib.optionalAttrs (cfg.credentials.default != null) {
        "credentials.default" = cfg.credentials.default;
      }
      // lib.mapAttrs' (
        name: file: lib.nameValuePair "credentials.agents.${name}" file
      ) cfg.credentials.agents;

    services.hyperhive.settings = {
      operator = {
        name = lib.mkIf (cfg.operator.name != null) (lib.mkDefault cfg.operator.name);
        pronouns = lib.mkIf (cfg.operator.pronouns != null) (lib.mkDefault cfg.operator.pronouns);
      };
      lifecycle.agents = triggers.given (lib.mapAttrs (_: agent: agent.settings) cfg.agents);
      gateway.agents = triggers.given (lib.mapAttrs (_: agent: agent.gateway) cfg.agents);
      broker.agents = triggers.given (lib.mapAttrs (_: agent: agent.messages) cfg.agents);
      ledger.budgets.agents = triggers.given (lib.mapAttrs (_: agent: agent.budget) cfg.agents);
    };

    environment.systemPackages = [ cfg.package ];
    environment.etc."hyperhive/hyperhive.toml".source = checked;

    services.dbus.packages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    # L+: a changed file is the one that counts at the next start of a gateway. A copy would be stale.
    systemd.tmpfiles.rules = lib.mapAttrsToList linkOf secrets;

    # As hyperhive.sysctl.conf. NixOS's own defaults, which have been higher so far, take precedence.
    boot.kernel.sysctl."fs.inotify.max_user_instances" = lib.mkOverride 1400 262144;
    boot.kernel.sysctl."fs.inotify.max_user_watches" = lib.mkOverride 1400 67108864;

    # systemd.packages ignores [Install]: this and the other modules enable the units.
    systemd.targets.hive.wantedBy = [ "multi-user.target" ];

    # NixOS creates users itself: it reads a package's sysusers.d only with systemd.sysusers.enable.
    users.groups.hive.members = cfg.operators;
  };

  meta.maintainers = [ ];
}

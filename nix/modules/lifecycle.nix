{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  cfg = hive.lifecycle;
  triggers = import ../triggers.nix { inherit lib; };

  isNixos = hive.backend == "nixos";

  declared = lib.attrNames (lib.filterAttrs (_: agent: agent.create) hive.agents);
in
{
  imports = [
    ./hive.nix
    ../systems.nix
  ];

  options.services.hyperhive = {
    lifecycle = {
      enable = lib.mkEnableOption "the service that runs the agents' containers" // {
        default = true;
        example = false;
      };
    };

    manager.enable = lib.mkEnableOption "the manager, an agent that proposes changes of the others" // {
      default = true;
      example = false;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    assertions = [
      {
        assertion = hive.broker.enable or true;
        message = "services.hyperhive.lifecycle needs the broker: agents would get no messages. Set services.hyperhive.broker.enable, or turn lifecycle off, too.";
      }
      {
        assertion = isNixos;
        message = "services.hyperhive.backend = \"nspawn\" cannot work on NixOS: it runs containers from the host's /usr, which has no systemd here. Leave the backend at \"nixos\".";
      }
      {
        assertion = !isNixos || hive.systems ? default;
        message = "services.hyperhive.systems.default is not set, so agents would have no system to boot. Import the module from Hyperhive's flake, which sets it.";
      }
      {
        assertion = hive.gateway.enable or true;
        message = "services.hyperhive.lifecycle needs the gateways: agents would not reach the model. Set services.hyperhive.gateway.enable, or turn lifecycle off, too.";
      }
    ];

    services.hyperhive.settings.lifecycle = {
      backend = lib.mkDefault hive.backend;
      create_manager = lib.mkDefault hive.manager.enable;
      toplevel = lib.mkIf (isNixos && hive.systems ? default) (lib.mkDefault "${hive.systems.default}");
      agents = lib.mkIf isNixos (
        lib.mapAttrs (_: system: { toplevel = lib.mkDefault "${system}"; }) (
          removeAttrs hive.systems [ "default" ]
        )
      );
    };

    # The containers are ordinary units of systemd-nspawn, and machined registers them.
    boot.enableContainers = true;

    systemd.services.hive-lifecycle = {
      wantedBy = [ "hive.target" ];
      restartTriggers = triggers.of hive.settings [
        "lifecycle"
        "nixos"
        "forge"
        "gateway"
        "harness"
        "operator"
        "telemetry"
      ];
      # Any setting here becomes a drop-in that also sets PATH: the programs it calls must be on that.
      path = [
        config.systemd.package
      ];
      # As services/lifecycle/hive-lifecycle-nixos.conf, which says why.
      serviceConfig.ReadWritePaths = lib.mkIf isNixos [
        "/run/systemd/nspawn"
        "/run/systemd/system"
        "-/nix/var/nix/gcroots/hyperhive"
      ];
    };
    systemd.services.hive-canfilter = {
      wantedBy = [ "hive.target" ];
    };
    systemd.timers.hive-sweep = {
      wantedBy = [ "hive.target" ];
    };
    # A template, which lifecycle starts.
    systemd.services."hive-build@" = {
      path = [
        pkgs.git
      ]
      ++ lib.optional isNixos config.nix.package;
      # A build that runs is not cut short.
      restartIfChanged = false;
    };

    # Lifecycle links the systems of containers into the first, so that Nix does not remove them.
    systemd.tmpfiles.rules = lib.optionals isNixos [
      "d /nix/var/nix/gcroots/hyperhive 0755 root root"
      "d /run/systemd/nspawn 0755 root root"
    ];

    # Lifecycle updates the agents itself, one after the other, each when it has no turn. The endpoints
    # stop with the containers.
    systemd.services."systemd-nspawn@".restartIfChanged = false;
    systemd.services."hive-agent@".restartIfChanged = false;

    systemd.services.hive-declared-agents = lib.mkIf (declared != [ ]) {
      description = "Hyperhive: create the agents of the configuration";
      wantedBy = [ "hive.target" ];
      partOf = [ "hive.target" ];
      requires = [ "hive-lifecycle.service" ];
      after = [
        "hive-lifecycle.service"
        "hive-broker.service"
        "hive-approvals.service"
      ];
      path = [ hive.package ];
      # Root, because only operators create agents. It talks to the bus and does nothing else.
      serviceConfig = import ../confined.nix // {
        RemainAfterExit = true;
        PrivateNetwork = true;
        RestrictAddressFamilies = "AF_UNIX";
      };
      environment.AGENTS = lib.concatStringsSep " " declared;
      script = ''
        status=0
        for agent in $AGENTS; do
          found=0
          hivectl status "$agent" > /dev/null 2>&1 || found=$?
          # 3: there is no such agent.
          if [ "$found" = 3 ]; then
            hivectl spawn --timeout 900 "$agent" || status=1
          elif [ "$found" != 0 ]; then
            echo "The state of $agent could not be read (exit status $found)." >&2
            status=1
          fi
        done
        exit "$status"
      '';
    };

    users.users.hive-agents = {
      isSystemUser = true;
      group = "hive-agents";
      description = "Hyperhive endpoints of agents";
    };
    users.groups.hive-agents = { };

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

# The NixOS systems of the agents, which hive-build@NAME makes from their configurations. hive.nix has the
# settings of `settings.nixos`; the flake sets its `inputs`.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  agents = hive.backend == "nixos";
in
{
  imports = [ ./modules/hive.nix ];

  options.services.hyperhive.builds.memoryMax = lib.mkOption {
    description = ''
      Memory above which the evaluation of an agent's system is ended, and the build fails with a
      sentence. One build runs for each agent that is deployed or updated. The builders that compile
      programs belong to {file}`nix-daemon.service`, and do not count.
    '';
    type = lib.types.strMatching "[1-9][0-9]*[MG]";
    default = "4G";
    example = "8G";
  };

  config = lib.mkIf (hive.enable && (hive.lifecycle.enable or false)) {
    services.hyperhive.settings.nixos.system = lib.mkDefault pkgs.stdenv.hostPlatform.system;

    assertions = lib.optionals agents [
      {
        assertion = config.nix.enable or true;
        message = "services.hyperhive.backend is \"nixos\", which builds the agents' systems with Nix. Turn nix.enable on.";
      }
      {
        assertion = (config.nix.settings.sandbox or true) == true;
        message = "services.hyperhive builds what agents have written, which nix.settings.sandbox must keep from the host. Turn it on.";
      }
    ];

    # As services/build/hive-build-nixos.conf, which says why.
    systemd.services."hive-build@" = lib.mkIf agents {
      serviceConfig = {
        MemoryMax = hive.builds.memoryMax;
        OOMPolicy = "continue";
        TasksMax = "512";
        LimitSTACK = "64M";
        TimeoutStartSec = "90min";
        TemporaryFileSystem = "/var/lib/hyperhive/git:ro";
        BindReadOnlyPaths = "/var/lib/hyperhive/git/applied/%i";
        InaccessiblePaths = "-/root -/home -/boot -/srv -/mnt -/media";
        IPAddressDeny = "localhost link-local multicast";
        IPAddressAllow = "127.0.0.53 127.0.0.54";
      };
    };
  };

  meta.maintainers = [ ];
}

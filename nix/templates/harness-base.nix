# What the hive needs in an agent's container: the units of the harness, its programs, and links to
# the files that lifecycle gives to the container (services/lifecycle/backends/toplevel.py).
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  cfg = config.hyperhive;

  given = "/run/hive-etc";

  # systemd.packages links units in lib/systemd/system only.
  units = pkgs.runCommand "hyperhive-container-units" { } ''
    mkdir -p $out/lib/systemd/system
    cp ${cfg.package}/share/hyperhive/container/* $out/lib/systemd/system/
  '';

  claude = pkgs.runCommand "hyperhive-claude" { } ''
    mkdir -p $out/bin
    ln -s ${cfg.package}/share/hyperhive/claude $out/bin/claude
  '';

  # The programs of the agent first: systemPackages are those of agent.nix, too.
  programs = [
    "/run/current-system/sw"
    claude
    pkgs.socat
    pkgs.git
    pkgs.bash
  ];

  server = lib.types.submodule {
    options = {
      command = lib.mkOption {
        description = "Program that starts the server.";
        type = lib.types.str;
        example = lib.literalExpression "lib.getExe pkgs.mcp-server-fetch";
      };
      args = lib.mkOption {
        description = "Arguments of the program.";
        type = lib.types.listOf lib.types.str;
        default = [ ];
        example = [ "--stdio" ];
      };
      env = lib.mkOption {
        description = "Environment variables of the program. The Nix store is readable for everybody: no secrets.";
        type = lib.types.attrsOf lib.types.str;
        default = { };
        example = {
          LANG = "C.UTF-8";
        };
      };
      allowedTools = lib.mkOption {
        description = "Tools of the server that the agent may call; `*` is all of them.";
        type = lib.types.listOf lib.types.str;
        default = [ "*" ];
        example = [ "search" ];
      };
    };
  };
in
{
  options.hyperhive = {
    package = lib.mkOption {
      description = "Harness to use: the package `harness` of Hyperhive's flake, which sets it.";
      type = lib.types.package;
      example = lib.literalExpression "hyperhive.packages.x86_64-linux.harness";
    };

    extraMcpServers = lib.mkOption {
      description = "More MCP servers for Claude Code, by name.";
      type = lib.types.attrsOf server;
      default = { };
      example = {
        docs.command = "/run/current-system/sw/bin/docs-server";
      };
    };
  };

  config = {
    assertions = [
      {
        assertion = !(cfg.extraMcpServers ? hyperhive || cfg.extraMcpServers ? hive);
        message = "hyperhive.extraMcpServers has a server called hyperhive or hive: these are the hive's own. Give the server another name.";
      }
    ];

    # Releases before 26.05 have isContainer only.
    boot =
      if options ? boot.isNspawnContainer then { isNspawnContainer = true; } else { isContainer = true; };

    systemd.packages = [ units ];
    # systemd boots this target. The agent's own services are wanted by the usual ones.
    systemd.targets.hive-container.wants = [ "multi-user.target" ];
    systemd.services = {
      hive-harness.path = programs;
      "hive-terminal@".path = programs;
      "hive-exec@".path = programs;
      # It makes / read-only, which NixOS and its tmpfiles write to before. These are in memory, too.
      hive-mounts = {
        after = [ "sysinit.target" ];
        serviceConfig.ExecStart = [
          "${pkgs.util-linux}/bin/mount -o remount,bind,ro /usr"
          "${pkgs.util-linux}/bin/mount -o remount,bind,ro /nix"
        ];
      };
      # Nobody logs in.
      console-getty.enable = false;
    };
    # The sockets of the container's network.
    systemd.generators.hive-etc = "${pkgs.writeShellScript "hive-etc-generator" ''
      exec ${pkgs.coreutils}/bin/cp --recursive --symbolic-link ${given}/systemd/system/. "$1"
    ''}";
    services.journald.extraConfig = ''
      SystemMaxUse=64M
      RuntimeMaxUse=16M
    '';

    environment.systemPackages = [
      claude
      pkgs.git
      pkgs.socat
    ];
    environment.etc = {
      "machine-id".source = "${given}/machine-id";
      "hyperhive/harness.json".source = "${given}/hyperhive/harness.json";
      "hyperhive/extra-mcp.json" = lib.mkIf (cfg.extraMcpServers != { }) {
        text = builtins.toJSON cfg.extraMcpServers;
      };
      "npmrc".source = "${given}/npmrc";
      "resolv.conf".source = "${given}/resolv.conf";
      # The variables of the proxy, for all services.
      "systemd/system.conf.d/hyperhive.conf".source = "${given}/systemd/system.conf.d/hyperhive.conf";
    };

    # The name and address of the agent, and the proxy, if its network has one.
    programs.git.enable = true;
    programs.git.config.include.path = "${given}/gitconfig";
    programs.ssh.extraConfig = "Include ${given}/ssh/ssh_config";

    # The container has no CAP_NET_ADMIN. systemd-nspawn sets the host name.
    networking = {
      firewall.enable = false;
      hostName = lib.mkDefault "";
      resolvconf.enable = false;
      useDHCP = false;
      useHostResolvConf = false;
    };

    # There is no daemon of Nix in the container, and no privilege to gain.
    nix.enable = lib.mkDefault false;
    security.sudo.enable = false;
  };
}

{
  description = "Hyperhive: a swarm of Claude Code agents on one host, with an operator who approves every change";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    # For Claude Code alone, which changes every few days.
    nixpkgs-unstable.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
  };

  outputs =
    {
      self,
      nixpkgs,
      nixpkgs-unstable,
    }:
    let
      inherit (nixpkgs) lib;

      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEach = make: lib.genAttrs systems (system: make system nixpkgs.legacyPackages.${system});

      # Claude Code is not free software. This allows it, and nothing else, so that an operator need
      # not set allowUnfree for a whole host.
      claude =
        system:
        (import nixpkgs-unstable {
          inherit system;
          config.allowUnfreePredicate = package: lib.getName package == "claude-code";
        }).claude-code;

      packagesFor =
        pkgs: claude-code:
        let
          package = more: pkgs.callPackage ./nix/package.nix ({ inherit claude-code; } // more);
        in
        {
          hyperhive = package { };
          hyperhive-harness = package { harnessOnly = true; };
        };

      agentSystem = import ./nix/agent-system.nix { inherit self nixpkgs; };

      # What the modules take from this flake, unless the configuration says otherwise: no overlay is
      # needed. The systems of agents are made of the same inputs.
      own =
        { lib, pkgs, ... }:
        let
          inherit (pkgs.stdenv.hostPlatform) system;
          toplevel =
            manager: (agentSystem { inherit system manager; }).config.system.build.toplevel;
        in
        {
          key = "hyperhive#own";
          services.hyperhive = {
            package = lib.mkDefault self.packages.${system}.hyperhive;
            systems = {
              default = lib.mkDefault (toplevel false);
              manager = lib.mkDefault (toplevel true);
            };
          };
        };

      # The inputs from which the systems of agents are made: this flake, and its own inputs.
      ownInputs =
        { lib, ... }:
        {
          key = "hyperhive#inputs";
          services.hyperhive.settings.nixos.inputs =
            lib.mapAttrs
              (_: input: {
                path = lib.mkDefault "${input}";
                nar_hash = lib.mkDefault input.narHash;
                last_modified = lib.mkDefault (input.lastModified or 1);
              })
              {
                hyperhive = self;
                inherit nixpkgs nixpkgs-unstable;
              };
        };

      # A set, not a path: Nix 2.8 accepts no paths here. The key makes a second import harmless.
      module = name: {
        _file = "${self}/flake.nix#nixosModules.${name}";
        key = "hyperhive#nixosModules.${name}";
        imports = [
          (./nix/modules + "/${name}.nix")
          own
          ownInputs
        ];
      };
    in
    {
      packages = forEach (
        system: pkgs:
        let
          packages = packagesFor pkgs (claude system);
        in
        {
          inherit (packages) hyperhive;
          harness = packages.hyperhive-harness;
          default = packages.hyperhive;
        }
      );

      overlays.default =
        final: prev:
        let
          claude-code = claude prev.stdenv.hostPlatform.system;
        in
        packagesFor final claude-code // { inherit claude-code; };

      nixosModules = lib.genAttrs [
        "default"
        "approvals"
        "assistant"
        "broker"
        "dashboard"
        "forge"
        "forge-events"
        "gateway"
        "ledger"
        "lifecycle"
        "notify"
        "projects"
        "telemetry"
      ] module;

      devShells = forEach (
        system: pkgs: {
          default = pkgs.mkShell {
            packages = [
              (pkgs.python313.withPackages (libraries: [
                libraries.hatchling
                libraries.pytest
              ]))
              pkgs.dbus
              pkgs.git
              pkgs.nixfmt
              pkgs.ruff
              pkgs.socat
            ];
          };
        }
      );

      formatter = forEach (system: pkgs: import ./nix/formatter.nix { inherit pkgs; });

      checks = forEach (
        system: pkgs:
        import ./nix/checks.nix {
          inherit pkgs lib self;
          package = self.packages.${system}.hyperhive;
          formatter = self.formatter.${system};
        }
      );

      lib = { inherit agentSystem; };

      templates.default = {
        path = ./nix/templates/host;
        description = "A NixOS host with a hive";
      };
    };
}

{
  description = "Hyperhive: a swarm of Claude Code agents on one host, with an operator who approves every change";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEach =
        make:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = make system;
          }) systems
        );
    in
    {
      packages = forEach (system: rec {
        hyperhive = nixpkgs.legacyPackages.${system}.callPackage ./nix/package.nix { };
        default = hyperhive;
      });

      overlays.default = final: _previous: {
        hyperhive = final.callPackage ./nix/package.nix { };
      };

      # Nix 2.8 wants a function here, not a path.
      nixosModules = rec {
        hyperhive = import ./nix/modules/default.nix;
        default = hyperhive;
      };
    };
}

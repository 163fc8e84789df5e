# `lib.agentSystem` of the flake: the NixOS system of an agent.
#
#   name      the agent; null for a system that several agents share
#   manager   whether the agent is the manager
#   system    the type of the host, such as "x86_64-linux"
#   agent     the flake of the agent's configuration; null for none
{ self, nixpkgs }:

{
  name ? null,
  manager ? false,
  system,
  agent ? null,
}:

nixpkgs.lib.nixosSystem {
  specialArgs.flakeInputs = if agent == null then { } else agent.lib.flakeInputs or { };
  modules = [
    (if manager then ./templates/manager.nix else ./templates/agent-base.nix)
    (
      { lib, ... }:
      {
        hyperhive.package = lib.mkDefault self.packages.${system}.harness;
        networking.hostName = lib.mkIf (name != null) name;
        # Servers of an agent listen there, and not at the 127.0.0.2 of NixOS.
        networking.hosts."127.0.0.1" = lib.mkIf (name != null) [ name ];
        nixpkgs.hostPlatform = system;
        # As an input of `meta`, nixpkgs is a path without a revision. The system must be the same there
        # as in the configuration of the host.
        system.nixos = {
          revision = lib.mkDefault null;
          versionSuffix = lib.mkDefault "";
        };
      }
    )
  ]
  ++ (if agent == null then [ ] else [ agent.nixosModules.default ]);
}

{
  description = "A NixOS host with a hive";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    hyperhive.url = "git+https://example.org/hyperhive"; # where you keep it
  };

  outputs =
    { nixpkgs, hyperhive, ... }:
    {
      nixosConfigurations.host = nixpkgs.lib.nixosSystem {
        modules = [
          hyperhive.nixosModules.default
          ./hardware-configuration.nix
          {
            system.stateVersion = "26.11";
            networking.hostName = "host";
            users.users.ann = {
              isNormalUser = true;
              extraGroups = [ "wheel" ];
            };

            services.hyperhive = {
              enable = true;
              operator.name = "Ann";
              operators = [ "ann" ];
              credentials.default = "/run/keys/anthropic";
              agents.alice = { };
            };
          }
        ];
      };
    };
}

# A stand-in for nixpkgs: as much of it as our files use, without a program to build anything.
# `nix flake check` and the tests of the modules run with it where the real one cannot be had.
{
  outputs = _: {
    lib = import ./lib.nix;
    legacyPackages = builtins.listToAttrs (
      map
        (system: {
          name = system;
          value = import ./. { inherit system; };
        })
        [
          "x86_64-linux"
          "aarch64-linux"
        ]
    );
  };
}

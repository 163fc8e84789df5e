# `nix flake check`: format, lint, the unit tests that need no systemd, and a host in a VM.
{
  pkgs,
  lib,
  self,
  package,
  formatter,
}:

let
  source = self.outPath;
in
{
  inherit package;

  format = pkgs.runCommand "hyperhive-format" { nativeBuildInputs = [ formatter ]; } ''
    cp -r ${source} tree
    chmod -R u+w tree
    cd tree
    treefmt --ci --tree-root .
    touch $out
  '';

  lint = pkgs.runCommand "hyperhive-lint" { nativeBuildInputs = [ pkgs.ruff ]; } ''
    cd ${source}
    ruff check --no-cache .
    touch $out
  '';

  unit =
    pkgs.runCommand "hyperhive-unit-tests"
      {
        nativeBuildInputs = [
          (package.python.withPackages (libraries: [
            package.module
            libraries.hypothesis
            libraries.pytest
            libraries.pytest-asyncio
          ]))
          pkgs.dbus
          pkgs.git
        ];
      }
      ''
        cp -r ${source} tree
        chmod -R u+w tree
        cd tree
        export HOME=$TMPDIR
        python -B -m pytest -q -p no:cacheprovider -o addopts=--import-mode=importlib \
          -m 'not system and not long' wire
        touch $out
      '';

  host = pkgs.testers.runNixOSTest (
    import ./tests/host.nix {
      modules = [ self.nixosModules.default ];
      inherit (package) python;
      inherit (self.lib) agentSystem;
      inherit lib source;
      inherit (pkgs.stdenv.hostPlatform) system;
    }
  );
}

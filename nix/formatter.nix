# `nix fmt`: Nix and Python in their usual forms.
{ pkgs }:

pkgs.treefmt.withConfig {
  runtimeInputs = [
    pkgs.nixfmt
    pkgs.ruff
  ];
  settings = {
    on-unmatched = "info";
    # Made by generators, in their own form.
    excludes = [ "nix/settings.nix" ];
    formatter = {
      nixfmt = {
        command = "nixfmt";
        includes = [ "*.nix" ];
      };
      ruff = {
        command = "ruff";
        options = [ "format" ];
        includes = [ "*.py" ];
      };
    };
  };
}

# The kinds of settings in settings.nix, and the types that NixOS does not have.
{ lib, freeform }:

let
  inherit (lib) mkOption types;

  checked =
    type: description: check:
    types.addCheck type check // { inherit description; };
in
rec {
  # Keys that are not known here are written, too: the package may be newer than the module.
  withOptions =
    options:
    types.submodule {
      inherit options;
      freeformType = freeform;
    };

  # A key that need not be set.
  setting =
    type: description:
    mkOption {
      inherit description;
      type = types.nullOr type;
      default = null;
    };

  # A key that must be set.
  required = type: description: mkOption { inherit description type; };

  # A section of the file. Its options are in a submodule, so that each can be set alone.
  section =
    options: description:
    mkOption {
      inherit description;
      type = withOptions options;
      default = { };
    };

  # A table of sections, such as those of agents.
  sections =
    options: description:
    mkOption {
      inherit description;
      type = types.attrsOf (withOptions options);
      default = { };
    };

  atLeast =
    least:
    checked types.int "integer, at least ${toString least}" (value: value >= least);

  between =
    least: most:
    checked types.number "number between ${toString least} and ${toString most}" (
      value: value >= least && value <= most
    );

  above =
    least: most:
    checked types.number "number above ${toString least} and at most ${toString most}" (
      value: value > least && value <= most
    );

  # Bytes, at least so many, or a string with a unit.
  size = least: types.either (atLeast least) (types.strMatching "[0-9]+[KMGTkmgt]");
}

# The secrets of a service: files outside the Nix store, which it gets as systemd credentials.
{ lib }:

{
  # The option for the files, by name.
  files =
    { description, example }:
    lib.mkOption {
      inherit description example;
      type = lib.types.attrsOf lib.types.path;
      default = { };
    };

  # Their LoadCredential=; a credential is called PREFIX_NAME.
  load = prefix: lib.mapAttrsToList (name: file: "${prefix}_${name}:${toString file}");

  # These files by the options that name them, for the check that none is in the store.
  named =
    option: files: lib.mapAttrs' (name: file: lib.nameValuePair "${option}.${name}" file) files;
}

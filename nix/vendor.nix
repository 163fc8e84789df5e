# The files of npm packages that the dashboard serves, as services/dashboard/vendor.toml pins them.
{
  lib,
  fetchurl,
  runCommand,
}:

let
  pinned = (builtins.fromTOML (builtins.readFile ../services/dashboard/vendor.toml)).package;
  served = lib.filter (package: !(package.tests or false)) pinned;

  archive =
    { name, version, sha512, ... }:
    fetchurl {
      # The archive of @scope/name is called name.
      url = "https://registry.npmjs.org/${name}/-/${baseNameOf name}-${version}.tgz";
      hash = "sha512-${sha512}";
    };
in
runCommand "hyperhive-dashboard-vendor" { } (
  ''
    mkdir "$out"
  ''
  + lib.concatStrings (
    map (package: ''
      mkdir unpacked
      tar -xzf ${archive package} -C unpacked --strip-components=1
      ${lib.concatStrings (
        lib.mapAttrsToList (name: path: ''
          cp "unpacked/${path}" "$out/${name}"
        '') package.files
      )}
      rm -r unpacked
    '') served
  )
)

# What our modules make of some settings, and the options that they declare.
#
#   nix-instantiate --eval --strict --json tests/nixpkgs/evaluate.nix \
#       --arg modules '[ PATH ]' --arg settings '{ ... }'
{
  modules,
  settings ? { },
}:

let
  lib = import ./lib.nix;
  pkgs = import ./. { system = "x86_64-linux"; };
  system = lib.nixosSystem {
    modules = modules ++ [
      {
        services.hyperhive.package = lib.mkOverride 1400 (pkgs.hello // { prefix = pkgs.hello; });
        services.hyperhive.systems = lib.mkOverride 1400 { default = pkgs.hello; };
      }
      settings
    ];
  };

  listOptions =
    path: option:
    if (option._type or "") == "option" then
      if !(option.visible or true) || (option.internal or false) then
        [ ]
      else
        [
          {
            name = lib.concatStringsSep "." path;
            description = option.description or "";
            hasDefault = option ? default;
            hasExample = option ? example;
            default =
              if option ? defaultText then
                option.defaultText.text
              else if option ? default then
                builtins.toJSON option.default
              else
                "";
            type = option.type.description;
          }
        ]
        ++ (
          if (option.type.getSubOptions or null) == null then
            [ ]
          else
            let
              between =
                {
                  attrsOf = [ "<name>" ];
                  listOf = [ "*" ];
                }
                .${(option.type.inner or option.type).name} or [ ];
            in
            listOptions (path ++ between) option.type.getSubOptions
        )
    else
      lib.concatLists (lib.mapAttrsToList (name: listOptions (path ++ [ name ])) option);
in
{
  config = lib.present (
    removeAttrs system.config [
      "nix"
      "services"
      "system"
    ]
    // {
      boot = removeAttrs system.config.boot [ "isNspawnContainer" ];
      systemd = removeAttrs system.config.systemd [ "package" ];
    }
  );
  forgejo = lib.present system.config.services.forgejo;
  hive = removeAttrs system.config.services.hyperhive [ "package" ];
  file = (import ../../nix/triggers.nix { inherit lib; }).withoutNull (
    system.config.services.hyperhive.settings
  );
  options = listOptions [ ] system.options;
}

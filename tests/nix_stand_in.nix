# A stand-in for nixpkgs' `lib` and `pkgs`: just enough to evaluate our modules without nixpkgs.
# It merges options' defaults and definitions; it checks no types. What it cannot show is shown by
# the tests that HIVE_TEST_NIXPKGS enables.
#
#   nix-instantiate --eval --strict --json tests/nix_stand_in.nix --argstr module PATH --arg settings '{ ... }'
{
  module,
  settings ? { },
}:

let
  inherit (builtins)
    isAttrs
    isFunction
    isList
    foldl'
    concatLists
    attrNames
    hasAttr
    ;

  recursiveUpdate =
    left: right:
    left
    // builtins.mapAttrs (
      name: value:
      if hasAttr name left && isAttrs left.${name} && isAttrs value then
        recursiveUpdate left.${name} value
      else if hasAttr name left && isList left.${name} && isList value then
        left.${name} ++ value
      else
        value
    ) right;

  type = name: { inherit name; };
  lib = {
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = what: {
      _type = "option";
      description = "Whether to enable ${what}.";
      default = false;
      example = true;
      type = type "bool";
    };
    mkPackageOption = packages: name: _: {
      _type = "option";
      description = "The ${name} package to use.";
      default = packages.${name};
      example = name;
      type = type "package";
    };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkOverride = _: value: value;
    optional = condition: one: if condition then [ one ] else [ ];
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    mapAttrsToList = function: attrs: map (name: function name attrs.${name}) (attrNames attrs);
    types = {
      str = type "str";
      port = type "port";
      path = type "path";
      nullOr = _: type "nullOr";
      listOf = _: type "listOf";
      attrsOf = _: type "attrsOf";
      submodule = _: type "submodule";
    };
  };

  pkgs = {
    hyperhive = "/store/hyperhive";
    git = "/store/git";
    util-linux = "/store/util-linux";
    formats.toml = _: {
      type = type "toml";
      generate = name: _: "/store/${name}";
    };
  };

  # Conditions are dropped where they are false, at any depth.
  resolve =
    value:
    if isAttrs value && (value._type or "") == "if" then
      (if value.condition then resolve value.content else null)
    else if isAttrs value then
      foldl' (
        done: name:
        let
          resolved = resolve value.${name};
        in
        if resolved == null && value.${name} != null then done else done // { ${name} = resolved; }
      ) { } (attrNames value)
    else
      value;

  load =
    file:
    let
      loaded = import file;
      evaluated = if isFunction loaded then loaded { inherit config lib pkgs; } else loaded;
    in
    [ evaluated ] ++ concatLists (map load (evaluated.imports or [ ]));

  modules = load module;
  options = foldl' recursiveUpdate { } (map (one: one.options or { }) modules);

  defaults =
    option:
    if (option._type or "") == "option" then
      option.default or null
    else
      builtins.mapAttrs (_: defaults) option;

  values = recursiveUpdate (defaults options) settings;
  config = values // {
    systemd.package = "/store/systemd";
  };

  defined =
    foldl'
      (
        done: one:
        let
          own = resolve (one.config or { });
        in
        if own == null then done else recursiveUpdate done own
      )
      { }
      modules;

  listOptions =
    path: option:
    if (option._type or "") == "option" then
      [
        {
          name = builtins.concatStringsSep "." path;
          described = option ? description;
          hasDefault = option ? default;
          hasExample = option ? example;
        }
      ]
    else
      concatLists (map (name: listOptions (path ++ [ name ]) option.${name}) (attrNames option));
in
{
  config = defined;
  options = listOptions [ ] options;
}

# The part of nixpkgs' `lib` that our files use, with the same rules: options are declared once, each
# definition is checked by its type, `mkIf`, `mkMerge` and `mkDefault` work at any depth, a module that
# is imported twice counts once. Options of NixOS are not declared here: they take any value.
let
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatMap
    elem
    filter
    foldl'
    genericClosure
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    match
    substring
    stringLength
    tail
    ;

  isType = name: value: isAttrs value && (value._type or null) == name;
  showOption = builtins.concatStringsSep ".";
  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  unique = foldl' (done: one: if elem one done then done else done ++ [ one ]) [ ];
  concatStringsSep = builtins.concatStringsSep;

  # --- definitions -------------------------------------------------------------------------------

  # The attribute sets of a definition, with its conditions moved to their values.
  pushDown =
    value:
    if isType "merge" value then
      concatMap pushDown value.contents
    else if isType "if" value then
      map (builtins.mapAttrs (_: content: mkIf value.condition content)) (pushDown value.content)
    else if isType "override" value then
      map (builtins.mapAttrs (_: content: mkOverride value.priority content)) (pushDown value.content)
    else
      [ value ];

  # The values of a definition that apply, with their priorities.
  discharge =
    value:
    if isType "merge" value then
      concatMap discharge value.contents
    else if isType "if" value then
      if value.condition then discharge value.content else [ ]
    else if isType "override" value then
      [
        {
          inherit (value) priority;
          value = value.content;
        }
      ]
    else
      [
        {
          priority = 100;
          inherit value;
        }
      ];

  strongest =
    values:
    let
      least = foldl' (done: one: if one.priority < done then one.priority else done) 9999 values;
    in
    map (one: one.value) (filter (one: one.priority == least) values);

  # The value of something that no module has declared.
  anything =
    loc: definitions:
    let
      values = strongest (concatMap discharge definitions);
    in
    if values == [ ] then
      { _type = "absent"; }
    else if length values == 1 && !isAttrs (head values) then
      head values
    else if builtins.all isList values then
      concatLists values
    else if builtins.all (one: isAttrs one && (one.type or null) != "derivation") values then
      mergeFree loc (concatMap pushDown definitions)
    else if length (unique values) == 1 then
      head values
    else
      throw "The option `${showOption loc}' has conflicting definition values.";

  # Conditions are not looked at before the value is: they may depend on the rest. `present` removes
  # what has no definition that applies.
  mergeFree =
    loc: sets:
    genAttrs (unique (concatMap attrNames sets)) (
      name:
      anything (loc ++ [ name ]) (
        concatMap (set: if set ? ${name} then [ set.${name} ] else [ ]) sets
      )
    );

  present =
    value:
    if isType "absent" value then
      null
    else if isAttrs value && (value.type or null) != "derivation" then
      lib.filterAttrs (name: _: !(isType "absent" value.${name})) (builtins.mapAttrs (_: present) value)
    else
      value;

  # --- types -------------------------------------------------------------------------------------

  one =
    loc: values:
    if length (unique values) == 1 then
      head values
    else
      throw "The option `${showOption loc}' has conflicting definition values.";
  plain = name: description: check: {
    _type = "option-type";
    inherit name description check;
    merge = one;
  };
  mergeDefinitions =
    type: loc: definitions:
    let
      values = strongest (concatMap discharge definitions);
      wrong = filter (value: !type.check value) values;
    in
    if values == [ ] then
      throw "The option `${showOption loc}' was accessed but has no value defined. Try setting the option."
    else if wrong != [ ] then
      throw "A definition for option `${showOption loc}' is not of type `${type.description}'."
    else
      type.merge loc values;

  types = {
    bool = plain "bool" "boolean" isBool;
    int = plain "int" "signed integer" isInt;
    number = plain "number" "number" (value: isInt value || isFloat value);
    str = plain "str" "string" isString;
    path = plain "path" "absolute path" (
      value: isPath value || (isString value && substring 0 1 value == "/")
    );
    # One definition only, even if others are alike.
    package = plain "package" "package" (value: isAttrs value && value ? outPath) // {
      merge =
        loc: values:
        if length values == 1 then
          head values
        else
          throw "The option `${showOption loc}' is defined multiple times while it's expected to be unique.";
    };
    raw = plain "raw" "raw value" (_: true);
    port = types.ints.between 0 65535 // {
      description = "16 bit unsigned integer; between 0 and 65535 (both inclusive)";
    };
    ints.between =
      least: most:
      plain "intBetween" "integer between ${toString least} and ${toString most} (both inclusive)" (
        value: isInt value && value >= least && value <= most
      );
    strMatching =
      pattern:
      plain "strMatching" "string matching the pattern ${pattern}" (
        value: isString value && match pattern value != null
      );
    enum =
      values:
      plain "enum" "one of ${concatStringsSep ", " (map builtins.toJSON values)}" (
        value: elem value values
      );
    addCheck =
      type: check:
      type
      // {
        check = value: type.check value && check value;
      };
    nullOr =
      type:
      plain "nullOr" "null or ${type.description}" (value: value == null || type.check value)
      // {
        merge = loc: values: if elem null values then one loc values else type.merge loc values;
        inner = type;
        getSubOptions = type.getSubOptions or null;
      };
    either =
      left: right:
      plain "either" "${left.description} or ${right.description}" (
        value: left.check value || right.check value
      )
      // {
        merge =
          loc: values: (if builtins.all left.check values then left else right).merge loc values;
      };
    listOf =
      type:
      plain "listOf" "list of ${type.description}" isList
      // {
        merge =
          loc: values:
          map (value: mergeDefinitions type (loc ++ [ "*" ]) [ value ]) (concatLists values);
        getSubOptions = type.getSubOptions or null;
      };
    attrsOf =
      type:
      plain "attrsOf" "attribute set of ${type.description}" isAttrs
      // {
        merge =
          loc: values:
          let
            sets = concatMap pushDown values;
            names = filter (
              name: concatMap (set: discharge (set.${name} or (mkIf false null))) sets != [ ]
            ) (unique (concatMap attrNames sets));
          in
          genAttrs names (
            name:
            mergeDefinitions type (loc ++ [ name ]) (
              concatMap (set: if set ? ${name} then [ set.${name} ] else [ ]) sets
            )
          );
        getSubOptions = type.getSubOptions or null;
      };
    submodule =
      module:
      let
        modules = if isList module then module else [ module ];
        evaluate =
          loc: values:
          evalModules {
            modules = modules ++ map (value: { config = value; }) values;
            specialArgs.name = if loc == [ ] then "‹name›" else builtins.elemAt loc (length loc - 1);
            inherit loc;
          };
      in
      plain "submodule" "submodule" (value: isAttrs value || isFunction value)
      // {
        merge = loc: values: (evaluate loc values).config;
        getSubOptions = (evaluate [ ] [ ]).options;
      };
  };

  # --- modules -----------------------------------------------------------------------------------

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };

  loadAll =
    arguments: modules:
    let
      load =
        number: module:
        let
          file = isPath module || isString module;
          imported = if file then import module else module;
          value =
            if isFunction imported then
              imported (
                arguments
                // builtins.mapAttrs (name: _: arguments.${name} or arguments.config._module.args.${name}) (
                  builtins.functionArgs imported
                )
              )
            else
              imported;
          known = [
            "_file"
            "key"
            "imports"
            "options"
            "config"
            "meta"
            "freeformType"
          ];
        in
        {
          key = toString (value.key or (if file then toString module else "anonymous ${number}"));
          imports = value.imports or [ ];
          options = value.options or { };
          freeformType = value.freeformType or value.config._module.freeformType or null;
          config =
            if value ? config || value ? options then value.config or { } else removeAttrs value known;
        };
      numbered =
        prefix: list: builtins.genList (index: load "${prefix}.${toString index}" (builtins.elemAt list index)) (length list);
      removeAttrs = builtins.removeAttrs;
    in
    genericClosure {
      startSet = numbered "" modules;
      operator = module: numbered module.key module.imports;
    };

  declare =
    loc: left: right:
    left
    // builtins.mapAttrs (
      name: value:
      if !(left ? ${name}) then
        value
      else if isType "option" value || isType "option" left.${name} then
        throw "The option `${showOption (loc ++ [ name ])}' is already declared."
      else
        declare (loc ++ [ name ]) left.${name} value
    ) right;

  evalModules =
    {
      modules,
      specialArgs ? { },
      loc ? [ ],
      strict ? true,
    }:
    let
      arguments = {
        inherit config options lib;
      }
      // specialArgs;
      loaded = loadAll arguments modules;
      options = foldl' (declare loc) { } (map (module: module.options) loaded);
      freeform = filter (type: type != null) (map (module: module.freeformType) loaded);
      definitions = concatMap (module: pushDown module.config) loaded;

      values =
        place: tree: sets:
        let
          given = filter (name: name != "_module") (unique (concatMap attrNames sets));
          undeclared = filter (name: !(tree ? ${name})) given;
          of = name: concatMap (set: if set ? ${name} then [ set.${name} ] else [ ]) sets;
          free =
            if undeclared == [ ] then
              { }
            else if !strict || freeform != [ ] then
              mergeFree place (
                map (set: builtins.intersectAttrs (genAttrs undeclared (_: null)) set) sets
              )
            else
              throw "The option `${showOption (place ++ [ (head undeclared) ])}' does not exist.";
        in
        free
        // builtins.mapAttrs (
          name: option:
          if isType "option" option then
            let
              definitions = of name ++ (if option ? default then [ (mkOverride 1500 option.default) ] else [ ]);
              value = mergeDefinitions option.type (place ++ [ name ]) definitions;
            in
            (option.apply or (same: same)) value
          else
            values (place ++ [ name ]) option (concatMap pushDown (of name))
        ) tree;

      config = values loc options definitions;
    in
    {
      inherit config options;
    };

  mkOption = option: { _type = "option"; } // option;

  lib = rec {
    inherit
      evalModules
      genAttrs
      isType
      mkIf
      mkOption
      mkOverride
      nameValuePair
      present
      types
      unique
      concatStringsSep
      showOption
      ;
    inherit (builtins)
      all
      any
      attrNames
      attrValues
      concatLists
      concatMap
      elem
      filter
      isAttrs
      isList
      isString
      mapAttrs
      removeAttrs
      ;
    assertMsg = condition: message: condition || throw message;
    escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
    escapeShellArgs = texts: concatStringsSep " " (map escapeShellArg texts);
    concatMapAttrs =
      f: set: foldl' (done: more: done // more) { } (attrValues (builtins.mapAttrs f set));
    concatStrings = concatStringsSep "";
    concatMapStringsSep = separator: f: list: concatStringsSep separator (map f list);
    filterAttrs =
      keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    getAttrs = names: set: genAttrs names (name: set.${name});
    getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname}";
    getExe' = package: program: "${package}/bin/${program}";
    getName = package: package.pname or (builtins.parseDrvName package.name).name;
    hasInfix = infix: text: length (builtins.split (escapeRegex infix) text) > 1;
    escapeRegex = builtins.replaceStrings [ "." "*" "+" "?" "/" ] [ "\\." "\\*" "\\+" "\\?" "/" ];
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      stringLength text >= stringLength suffix
      && substring (stringLength text - stringLength suffix) (-1) text == suffix;
    licenses = {
      mit = "MIT";
      unfree = "unfree";
    };
    literalExpression = text: {
      _type = "literalExpression";
      inherit text;
    };
    literalMD = text: {
      _type = "literalMD";
      inherit text;
    };
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    makeBinPath = concatMapStringsSep ":" (package: "${package}/bin");
    mkDefault = mkOverride 1000;
    mkEnableOption =
      what:
      mkOption {
        description = "Whether to enable ${what}.";
        default = false;
        example = true;
        type = types.bool;
      };
    mkForce = mkOverride 50;
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkPackageOption =
      packages: name: more:
      mkOption (
        {
          description = "The ${name} package to use.";
          default = packages.${name};
          defaultText = literalExpression "pkgs.${name}";
          type = types.package;
        }
        // more
      );
    mkRenamedOptionModule =
      from: to:
      { config, ... }:
      {
        options = setAttrByPath from (mkOption {
          description = "Renamed to ${showOption to}.";
          visible = false;
          type = types.raw;
          default = null;
        });
        config = setAttrByPath to (
          mkIf (getAttrFromPath from config != null) (getAttrFromPath from config)
        );
      };
    getAttrFromPath = path: set: foldl' (done: name: done.${name}) set path;
    setAttrByPath =
      path: value: if path == [ ] then value else { ${head path} = setAttrByPath (tail path) value; };
    optional = condition: one: if condition then [ one ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    recursiveUpdate =
      left: right:
      left
      // builtins.mapAttrs (
        name: value:
        if isAttrs value && isAttrs (left.${name} or null) then
          recursiveUpdate left.${name} value
        else
          value
      ) right;
    versionAtLeast = left: right: builtins.compareVersions left right >= 0;
    fileset = {
      unions = paths: paths;
      toSource = { root, fileset }: builtins.path {
        path = root;
        name = "source";
        filter = path: _: any (one: hasPrefix (toString one) path || hasPrefix path (toString one)) fileset;
      };
    };
    nixosSystem =
      {
        modules,
        system ? "x86_64-linux",
        specialArgs ? { },
      }:
      evalModules {
        strict = false;
        modules = modules ++ [
          {
            systemd.package = (import ./. { inherit system; }).systemd;
            services.forgejo = {
              user = "forgejo";
              group = "forgejo";
              stateDir = "/var/lib/forgejo";
              customDir = "/var/lib/forgejo/custom";
            };
            nix.package = (import ./. { inherit system; }).nix;
          }
          {
            options.boot.isNspawnContainer = mkOption {
              type = types.bool;
              default = false;
              internal = true;
            };
          }
          # As much of a system as the assertions allow: a file that tells what the modules set.
          (
            { config, pkgs, ... }:
            let
              failed = filter (one: !one.assertion) (
                if isList (config.assertions or null) then config.assertions else [ ]
              );
              parts = genAttrs [ "environment" "networking" "systemd" "users" ] (
                name: present (config.${name} or null)
              );
            in
            {
              system.build.toplevel =
                if failed == [ ] then
                  pkgs.runCommand "nixos-system" { } (builtins.toJSON parts)
                else
                  throw "Failed assertions: ${concatStringsSep " " (map (one: one.message) failed)}";
            }
          )
        ];
        specialArgs = {
          pkgs = import ./. { inherit system; };
        }
        // specialArgs;
      };
  };
in
lib

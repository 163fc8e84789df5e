# The packages that our files name. Each is a derivation that leaves a file with its script.
{
  system ? builtins.currentSystem,
  config ? { },
  overlays ? [ ],
}:

let
  lib = import ./lib.nix;

  make =
    attributes:
    let
      name = attributes.name or "${attributes.pname}-${attributes.version}";
      meta = attributes.meta or { };
      refused =
        (meta.license or null) == "unfree" && !((config.allowUnfreePredicate or (_: false)) attributes);
      built = derivation {
        inherit name system;
        builder = "/bin/sh";
        args = [
          "-c"
          "echo built > $out"
        ];
        script = attributes.script or "";
        inputs = attributes.inputs or [ ];
      };
      package =
        built
        // removeAttrs attributes [
          "script"
          "inputs"
        ]
        // (attributes.passthru or { })
        // {
          inherit name meta;
          overrideAttrs = change: make (attributes // change);
        };
    in
    if refused then
      throw "Package ‘${name}’ has an unfree license (‘unfree’), refusing to evaluate."
    else
      package;

  simple =
    pname: version: more:
    make ({ inherit pname version; } // more);

  python = {
    name = "python3-3.13.9";
    executable = "python3.13";
    sitePackages = "lib/python3.13/site-packages";
    pkgs =
      lib.mapAttrs (pname: version: simple pname version { }) {
        aiohttp = "3.13.2";
        claude-agent-sdk = "0.2.170";
        click = "8.3.1";
        dbus-next = "0.2.3";
        hatchling = "1.28.0";
        http-ece = "1.2.1";
        hypothesis = "6.150.0";
        idna = "3.11";
        mcp = "2.1.0";
        opentelemetry-exporter-otlp-proto-http = "1.40.0";
        opentelemetry-sdk = "1.40.0";
        prometheus-client = "0.24.0";
        py-vapid = "1.9.2";
        pydantic = "2.12.5";
        pytest = "9.0.1";
        pytest-asyncio = "1.3.0";
        sdnotify = "0.3.2";
        systemd-python = "235";
        uvicorn = "0.40.0";
        webauthn = "2.7.0";
      }
      // {
        buildPythonPackage =
          attributes:
          let
            package = make {
              inherit (attributes) pname version;
              script = (attributes.postPatch or "") + (attributes.postInstall or "");
              inputs = [ attributes.src ] ++ attributes.dependencies or [ ];
              passthru.src = attributes.src;
            };
          in
          package // { data = simple "${attributes.pname}-data" attributes.version { }; };
      };
    buildEnv.override =
      {
        extraLibs,
        postBuild ? "",
      }:
      simple "python3-env" "3.13.9" {
        script = postBuild;
        inputs = extraLibs;
      };
    withPackages = choose: python.buildEnv.override { extraLibs = choose python.pkgs; };
  };

  packages = final: {
    inherit lib python;
    python313 = final.python;
    python3 = simple "python3" "3.13.9" { };
    callPackage =
      file: more:
      let
        function = import file;
        wanted = builtins.functionArgs function;
        known = builtins.intersectAttrs wanted final;
        missing = lib.filter (name: !(known ? ${name} || more ? ${name} || wanted.${name})) (
          lib.attrNames wanted
        );
      in
      if missing == [ ] then
        function (known // more)
      else
        throw "Function called without required argument \"${builtins.head missing}\"";
    runCommand =
      name: attributes: script:
      make (
        {
          inherit name script;
        }
        // removeAttrs attributes [ "nativeBuildInputs" ]
        // {
          inputs = attributes.nativeBuildInputs or [ ];
        }
      );
    fetchurl =
      { url, hash }:
      make {
        name = baseNameOf url;
        passthru = { inherit url hash; };
        script = "${url} ${hash}";
      };
    mkShell =
      attributes:
      make {
        name = "shell";
        inputs = attributes.packages;
      };
    writeShellScript =
      name: script:
      make {
        inherit name script;
      };
    writeShellApplication =
      { name, text, runtimeInputs ? [ ], ... }:
      make {
        inherit name;
        script = text;
        inputs = runtimeInputs;
        meta.mainProgram = name;
      };
    formats.toml = _: {
      type = lib.types.raw // {
        check = _: true;
      };
      generate =
        name: value:
        make {
          inherit name;
          passthru = { inherit value; };
        };
    };
    stdenv = {
      buildPlatform = {
        inherit system;
        canExecute = _: true;
      };
      hostPlatform = { inherit system; };
    };
    testers.runNixOSTest =
      test:
      let
        hosts = lib.mapAttrs (
          _: module:
          lib.nixosSystem {
            inherit system;
            modules = [ module ];
          }
        ) test.nodes;
      in
      make {
        name = "vm-test-run-${test.name}";
        script = test.testScript;
        inputs = lib.mapAttrsToList (_: host: host.config.system.build.toplevel) hosts;
        passthru = {
          inherit (test) testScript;
          nodes = lib.mapAttrs (_: host: host.config) hosts;
        };
      };
    treefmt.withConfig =
      attributes:
      make {
        name = "treefmt";
        inputs = attributes.runtimeInputs;
        meta.mainProgram = "treefmt";
      };
    claude-code = simple "claude-code" "2.1.300" {
      meta = {
        license = "unfree";
        mainProgram = "claude";
      };
    };
    runtimeShell = "${final.bash}/bin/bash";
    hello = simple "hello" "2.12" { meta.mainProgram = "hello"; };
    forgejo = simple "forgejo" "15.0" { };
    forgejo-lts = simple "forgejo-lts" "11.0" { };
  }
  // lib.genAttrs [
    "bash"
    "coreutils"
    "curl"
    "dbus"
    "gawk"
    "git"
    "gnugrep"
    "installShellFiles"
    "jq"
    "mypy"
    "nix"
    "nixfmt"
    "openssh"
    "ripgrep"
    "ruff"
    "socat"
    "systemd"
    "util-linux"
  ] (pname: simple pname (if pname == "systemd" then "258" else "1") { meta.mainProgram = pname; });

  fixed = builtins.foldl' (
    before: overlay: final:
    before final // overlay final (before final)
  ) packages overlays;
  result = fixed result;
in
result

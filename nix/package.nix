# The two packages: `hyperhive` for the host, and `harness` for containers.
#
#   callPackage ./nix/package.nix { }            the host
#   callPackage ./nix/package.nix { harnessOnly = true; }
{
  lib,
  # dbus-next needs modules that Python 3.15 drops.
  python313,
  fetchurl,
  runCommand,
  stdenv,
  bash,
  claude-code,
  coreutils,
  installShellFiles,
  systemd,
  util-linux,
  harnessOnly ? false,
}:

let
  python = python313;
  version = "0.1.0";

  # What the code needs of each library; pyproject.toml has the same bounds.
  bounds = {
    claude-agent-sdk = {
      atLeast = "0.2.165";
      reason = "the harness sends prompts verbatim";
    };
    mcp = {
      atLeast = "2";
      reason = "the assistant's server is written for its second interface";
    };
  };

  # Names that changed in nixpkgs.
  earlier.systemd-python = "systemd";

  checked =
    name:
    let
      package = python.pkgs.${name} or python.pkgs.${earlier.${name} or name} or null;
      bound = bounds.${name} or null;
      found = if package == null then "none" else package.version;
    in
    assert lib.assertMsg (package != null)
      "hyperhive needs the Python library ${name}, which this nixpkgs does not have. Update the input nixpkgs.";
    assert lib.assertMsg (bound == null || lib.versionAtLeast found bound.atLeast)
      "hyperhive needs ${name} ${bound.atLeast} or newer, because ${bound.reason}; this nixpkgs has ${found}. Update the input nixpkgs.";
    package;

  # Only the endpoint for assistants needs it. Where it is too old, the hive has no such endpoint.
  hasAssistant = lib.versionAtLeast (python.pkgs.mcp.version or "0") bounds.mcp.atLeast;

  harnessLibraries = [
    "aiohttp"
    "claude-agent-sdk"
    "pydantic"
    "sdnotify"
  ];
  hostLibraries = harnessLibraries ++ [
    "click"
    "dbus-next"
    "http-ece"
    "idna"
    "opentelemetry-exporter-otlp-proto-http"
    "opentelemetry-sdk"
    "prometheus-client"
    "py-vapid"
    "systemd-python"
    "uvicorn"
    "webauthn"
  ]
  ++ lib.optional hasAssistant "mcp";

  # The services, their command line and the harness are one distribution. The names of its packages
  # are generic ones, such as `services`, so it never goes into an environment of others.
  module = python.pkgs.buildPythonPackage {
    pname = if harnessOnly then "hyperhive-harness" else "hyperhive";
    inherit version;
    pyproject = true;

    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../pyproject.toml
        ../README.md
        ../docs
        ../LICENSE
        ../wire
        ../services
        ../harness
        ../hivectl
        ../installer/upgrade.py
        ../man
      ];
    };

    # git ignores these files, so the source has none of them.
    postPatch = lib.optionalString (!harnessOnly) ''
      mkdir -p services/dashboard/vendor
      cp ${import ./vendor.nix { inherit lib fetchurl runCommand; }}/* services/dashboard/vendor/
    '';

    build-system = [ python.pkgs.hatchling ];
    dependencies = map checked (if harnessOnly then harnessLibraries else hostLibraries);

    # install-data.sh changes paths in the manual pages, too.
    dontGzipMan = true;

    # The data is installed into the prefix, whose path it contains.
    outputs = [
      "out"
      "data"
    ];
    postInstall = ''
      mkdir -p "$data/lib"
      mv "$out/share" "$data/share"
      for folder in systemd sysctl.d sysusers.d tmpfiles.d; do
        mv "$out/lib/$folder" "$data/lib/$folder"
      done
    ''
    + lib.optionalString harnessOnly ''
      rm -r "$out/bin" "$out/${python.sitePackages}"/{hivectl,services,wire}
      rm -r "$data/lib" "$data/share/man" "$data/share/dbus-1" "$data/share/doc"
    '';

    # The tests need a bus and a systemd: `make test` runs them.
    doCheck = false;
    pythonImportsCheck =
      if harnessOnly then
        [ "harness.config" ]
      else
        [
          "wire"
          "services.unit"
          "hivectl"
          "harness.config"
        ];
  };

  meta = {
    description =
      if harnessOnly then
        "The part of Hyperhive that runs in the containers of agents"
      else
        "Runs a swarm of Claude Code agents on one Linux host";
    longDescription = ''
      Each agent has a container of its own, a durable broker delivers their messages, and the
      operator approves every change to the swarm.
    '';
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
    maintainers = [ ];
  };

  # An environment as `python.withPackages` makes it, with the data beside the packages. Its Python
  # has the environment as sys.prefix, also with -I, and needs no PYTHONPATH, which the programs that
  # it starts would inherit. `withPackages` itself cannot add files.
  prefix =
    (python.buildEnv.override {
      extraLibs = [ module ];
      postBuild = ''
        systemd=${systemd} util_linux=${util-linux} coreutils=${coreutils} shell=${bash}/bin/sh \
          ${bash}/bin/sh ${./install-data.sh} ${module.data} "$out"
        # The Agent SDK of nixpkgs comes without Claude Code.
        ln -s ${lib.getExe claude-code} "$out/share/hyperhive/claude"
      '';
    }).overrideAttrs
      { name = "${module.pname}-prefix-${version}"; };
in
# Only our own files: a profile with the whole prefix would get its Python and its libraries.
runCommand "${module.pname}-${version}"
  {
    pname = module.pname;
    inherit version;
    nativeBuildInputs = [ installShellFiles ];
    passthru = {
      inherit
        hasAssistant
        module
        prefix
        python
        ;
      claude = claude-code;
    };
    meta =
      meta
      // lib.optionalAttrs (!harnessOnly) {
        mainProgram = "hivectl";
      };
  }
  (
    ''
      (cd ${module.data} && find . -type f) | while IFS= read -r file; do
        mkdir -p "$out/$(dirname "$file")"
        ln -s "${prefix}/$file" "$out/$file"
      done
      ln -s ${prefix}/share/hyperhive/claude "$out/share/hyperhive/claude"
    ''
    + (
      if harnessOnly then
        ''
          # systemd.packages looks for units here.
          mkdir -p "$out/lib/systemd"
          ln -s ${prefix}/share/hyperhive/container "$out/lib/systemd/system"
        ''
      else
        ''
          mkdir -p "$out/bin"
          ln -s ${prefix}/bin/hivectl "$out/bin/hivectl"
        ''
        + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
          for shell in bash fish zsh; do
            ${prefix}/bin/hivectl completion "$shell" > "hivectl.$shell"
            installShellCompletion --cmd hivectl "--$shell" "hivectl.$shell"
          done
        ''
    )
  )

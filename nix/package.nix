{
  lib,
  python3,
}:

let
  # dbus-next needs modules that Python 3.15 drops.
  python = python3;

  # The services, their command line and the harness are one distribution. `services` is a generic
  # name for a Python package, so nothing here goes into a shared environment.
  application = python.pkgs.buildPythonApplication {
    pname = "hyperhive";
    version = "0.1.0";
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
        ../man
      ];
    };

    build-system = [ python.pkgs.hatchling ];

    dependencies = with python.pkgs; [
      aiohttp
      claude-agent-sdk
      click
      dbus-next
      http-ece
      idna
      mcp
      opentelemetry-exporter-otlp-proto-http
      opentelemetry-sdk
      prometheus-client
      py-vapid
      pydantic
      sdnotify
      systemd-python
      uvicorn
      webauthn
    ];

    # The tests need a bus and a systemd: `make test` runs them.
    doCheck = false;
    pythonImportsCheck = [
      "wire"
      "services.unit"
      "hivectl"
    ];

    # Units name the prefix of an ordinary installation.
    postFixup = ''
      for file in $out/lib/systemd/system/*; do
        substituteInPlace "$file" \
          --replace-quiet /usr/lib/hyperhive/bin/python ${placeholder "out"}/libexec/hyperhive/python \
          --replace-quiet /usr/lib/hyperhive "$out"
      done
      mkdir -p $out/libexec/hyperhive
      makeWrapper ${python.interpreter} $out/libexec/hyperhive/python \
        --prefix PYTHONPATH : "$out/${python.sitePackages}:$PYTHONPATH"
    '';

    meta = {
      description = "Runs a swarm of Claude Code agents on one Linux host";
      longDescription = ''
        Each agent has a container of its own, a durable broker delivers their messages, and the
        operator approves every change to the swarm.
      '';
      license = lib.licenses.mit;
      mainProgram = "hivectl";
      platforms = lib.platforms.linux;
      maintainers = [ ];
    };
  };
in
application

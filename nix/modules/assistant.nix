{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.assistant;
in
{
  options.services.hyperhive.assistant = {
    enable = lib.mkEnableOption "the MCP endpoint for assistants, which listens once there is a token" // {
      default = true;
      example = false;
    };

    port = lib.mkOption {
      description = ''
        TCP port on which the endpoint listens, on this host's loopback only, if
        `hivectl assistant create` has made a token.
      '';
      type = lib.types.port;
      default = 7001;
      example = 8081;
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    # The socket starts the service.
    systemd.sockets.hive-assistant = {
      wantedBy = [ "hive.target" ];
      # The empty entry removes the address in the package's unit.
      listenStreams = [
        ""
        "127.0.0.1:${toString cfg.port}"
      ];
    };

    users.users.hive-assistant = {
      isSystemUser = true;
      group = "hive-assistant";
      description = "Hyperhive assistant";
    };
    users.groups.hive-assistant = { };
  };

  meta.maintainers = [ ];
}

{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.assistant;
  triggers = import ../triggers.nix { inherit lib; };
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.assistant = {
    enable = lib.mkEnableOption "the MCP endpoint for assistants, which listens once there is a token" // {
      default = hive.package.hasAssistant or true;
      defaultText = lib.literalExpression "config.services.hyperhive.package.hasAssistant";
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
    assertions = [
      {
        assertion = hive.package.hasAssistant or true;
        message = "services.hyperhive.assistant needs mcp 2 or newer, which this nixpkgs does not have for Python. Update the input nixpkgs, or leave services.hyperhive.assistant.enable off.";
      }
      {
        assertion = !(hive.dashboard.enable or false) || cfg.port != hive.dashboard.port;
        message = "services.hyperhive.assistant.port and services.hyperhive.dashboard.port are both ${toString cfg.port}. Choose another port for one of them.";
      }
    ];

    systemd.services.hive-assistant.restartTriggers = triggers.of hive.settings [ "assistant" ];
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

# The receiver of the events of a forge, which its socket starts, and the tokens of the agents' accounts.
{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.forge;
  listening = import ../listening.nix { inherit lib; };
  triggers = import ../triggers.nix { inherit lib; };
  credentials = import ../credentials.nix { inherit lib; };

  linkOf = name: file: "L+ /etc/hyperhive/credentials/forge/${name} - - - - ${toString file}";
  # The name of an encrypted credential (systemd-creds) ends with .cred, there as here.
  encrypted = file: lib.optionalString (lib.hasSuffix ".cred" (toString file)) ".cred";
  accounts = if hive.settings.forge.agents == null then { } else hive.settings.forge.agents;
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.forge = {
    enable = lib.mkEnableOption "the receiver of the events of a forge, which listens once there is a secret" // {
      default = true;
      example = false;
    };

    address = lib.mkOption {
      description = "Loopback address on which the forge, or a proxy with TLS, delivers events.";
      type = lib.types.str;
      default = "127.0.0.1";
      example = "127.0.0.7";
    };

    port = lib.mkOption {
      description = "TCP port on which the forge, or a proxy with TLS, delivers events.";
      type = lib.types.port;
      default = 7003;
      example = 8083;
    };

    webhookSecretFile = lib.mkOption {
      description = ''
        File with the secret of the forge's webhook, outside the Nix store. Without it, nobody listens.
      '';
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/keys/forge-webhook";
    };

    tokenFiles = credentials.files {
      description = ''
        Files with the tokens of the agents' accounts in the forge, outside the Nix store, by the names
        of the agents. The gateways get them as systemd credentials; no container does. A name that ends
        with `.cred` is a file that {manpage}`systemd-creds(1)` encrypted.
      '';
      example.alice = "/run/keys/forge-alice";
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    assertions = [
      {
        assertion = listening.isLoopback cfg.address;
        message = "services.hyperhive.forge.address = ${cfg.address} can be reached by other hosts: texts of private repositories would cross the network unencrypted. Listen on 127.0.0.1, and let a forge elsewhere reach it through a proxy with TLS.";
      }
    ]
    ++ map (name: {
      assertion = false;
      message = "services.hyperhive.forge.tokenFiles.${name}: settings.forge.agents has no agent of this name. Add the agent, or remove the token.";
    }) (lib.filter (name: !(accounts ? ${name})) (lib.attrNames cfg.tokenFiles));

    services.hyperhive.secretFiles =
      credentials.named "forge.tokenFiles" cfg.tokenFiles
      // lib.optionalAttrs (cfg.webhookSecretFile != null) {
        "forge.webhookSecretFile" = cfg.webhookSecretFile;
      };

    # L+: a changed file is the one that counts at the next start. A copy would be stale.
    systemd.tmpfiles.rules =
      lib.mapAttrsToList (name: file: linkOf "agents/${name}${encrypted file}" file) cfg.tokenFiles
      ++ lib.optional (cfg.webhookSecretFile != null) (linkOf "webhook" cfg.webhookSecretFile);

    systemd.services.hive-forge.restartTriggers = triggers.of hive.settings [ "forge" ];
    # The socket starts the service.
    systemd.sockets.hive-forge = {
      wantedBy = [ "hive.target" ];
      # The empty entry removes the address in the package's unit.
      listenStreams = [
        ""
        (listening.socketAddress cfg.address cfg.port)
      ];
    };

    users.users.hive-forge = {
      isSystemUser = true;
      group = "hive-forge";
      description = "Hyperhive forge";
      home = "/var/lib/hyperhive/forge";
    };
    users.groups.hive-forge = { };
  };

  meta.maintainers = [ ];
}

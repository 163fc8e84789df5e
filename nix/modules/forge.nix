# A forge beside the hive: Forgejo, with the history of the agents' configurations, an account for each
# agent, and its events for the agents. `services.hive-forge.enable = true` on a host with a hive is enough.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  hive = config.services.hyperhive;
  cfg = config.services.hive-forge;
  forgejo = config.services.forgejo;

  listening = import ../listening.nix { inherit lib; };
  confined = import ../confined.nix;

  isLoopback = listening.isLoopback cfg.address;
  listens = "http://${listening.socketAddress cfg.address cfg.port}";
  events = "http://${listening.socketAddress hive.forge.address hive.forge.port}/hooks/forge";
  tokens = "/var/lib/hive-forge/tokens";
in
{
  imports = [
    ./hive.nix
    ./forge-events.nix
  ];

  options.services.hive-forge = {
    enable = lib.mkEnableOption "a forge (Forgejo) for the hive";

    package = lib.mkPackageOption pkgs "forgejo" { };

    address = lib.mkOption {
      description = ''
        Address on which the forge listens. Another one than a loopback needs {option}`behindProxy`.
      '';
      type = lib.types.str;
      default = "127.0.0.1";
      example = "192.0.2.1";
    };

    port = lib.mkOption {
      description = "TCP port on which the forge listens.";
      type = lib.types.port;
      default = 7002;
      example = 3000;
    };

    url = lib.mkOption {
      description = "URL under which browsers and git reach the forge.";
      type = lib.types.str;
      default = "${listens}/";
      defaultText = lib.literalExpression ''"http://127.0.0.1:7002/"'';
      example = "https://forge.example.org/";
    };

    behindProxy = lib.mkOption {
      description = "Whether a proxy with TLS is in front of the forge.";
      type = lib.types.bool;
      default = false;
      example = true;
    };

    trustedProxies = lib.mkOption {
      description = "Addresses and networks from which the proxy connects.";
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "192.0.2.2" ];
    };

    userHeader = lib.mkOption {
      description = ''
        Header in which the proxy names the user who has logged in to the proxy. The proxy must remove
        the header from the requests of browsers. Without it, users log in to the forge.
      '';
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "Remote-User";
    };

    agents = lib.mkOption {
      description = ''
        Agents with an account in the forge. The host keeps the token of each in
        {file}`/var/lib/hive-forge/tokens`, and the gateway adds it to the agent's requests; no container
        sees it.
      '';
      type = lib.types.listOf lib.types.str;
      default = lib.attrNames hive.agents;
      defaultText = lib.literalExpression "lib.attrNames config.services.hyperhive.agents";
      example = [
        "manager"
        "alice"
      ];
    };

    mirror = lib.mkOption {
      description = ''
        Whether the configurations of the agents and the log of all deploys (`meta`) are pushed to
        private repositories of the forge, after each deploy.
      '';
      type = lib.types.bool;
      default = true;
      example = false;
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = hive.enable;
        message = "services.hive-forge needs services.hyperhive.enable: it has the accounts and the configurations of the hive's agents. For a forge alone, use services.forgejo.";
      }
      (listening.onlyThroughProxy {
        option = "services.hive-forge";
        what = "the forge";
        inherit (cfg) address behindProxy;
      })
      {
        assertion = cfg.userHeader == null || (cfg.behindProxy && cfg.trustedProxies != [ ]);
        message = "services.hive-forge.userHeader needs behindProxy and trustedProxies: otherwise everybody who reaches the forge could name any user.";
      }
      {
        assertion = !(lib.elem "hive" cfg.agents);
        message = "services.hive-forge.agents has an agent called hive: that account owns the mirrored repositories. Leave the agent out.";
      }
      {
        assertion = !(lib.elem "webhook" cfg.agents);
        message = "services.hive-forge.agents has an agent called webhook: the file of its token would be that of the secret with which the forge signs its events. Leave the agent out.";
      }
    ];

    services.forgejo = {
      enable = true;
      package = lib.mkDefault cfg.package;
      settings = {
        DEFAULT.APP_NAME = lib.mkDefault "Forge of the hive";
        server = {
          HTTP_ADDR = cfg.address;
          HTTP_PORT = cfg.port;
          ROOT_URL = cfg.url;
          DISABLE_SSH = lib.mkDefault true;
        };
        service = {
          DISABLE_REGISTRATION = lib.mkDefault true;
          REQUIRE_SIGNIN_VIEW = lib.mkDefault true;
          ENABLE_REVERSE_PROXY_AUTHENTICATION = cfg.userHeader != null;
        };
        session.COOKIE_SECURE = lib.mkDefault (lib.hasPrefix "https:" cfg.url);
        repository = {
          ENABLE_PUSH_CREATE_USER = true;
          DEFAULT_PUSH_CREATE_PRIVATE = true;
        };
        # Webhooks of users may lead to the receiver's address alone. Services that listen on 0.0.0.0 or ::
        # answer there, too.
        webhook.ALLOWED_HOST_LIST = lib.mkDefault hive.forge.address;
        # Agents could have the host run programs.
        actions.ENABLED = lib.mkDefault false;
        security = lib.mkIf (cfg.userHeader != null) {
          REVERSE_PROXY_AUTHENTICATION_USER = cfg.userHeader;
          REVERSE_PROXY_TRUSTED_PROXIES = lib.concatStringsSep "," cfg.trustedProxies;
        };
      };
    };

    services.hyperhive = {
      forge = {
        address = lib.mkDefault "127.0.0.7";
        webhookSecretFile = lib.mkDefault "${tokens}/webhook";
        tokenFiles = lib.genAttrs cfg.agents (name: lib.mkDefault "${tokens}/${name}");
      };
      settings.forge = {
        url = lib.mkDefault listens;
        agents = lib.genAttrs cfg.agents (name: {
          account = lib.mkDefault name;
        });
      };
    };

    systemd.services.hive-forge-accounts = {
      description = "Hyperhive: the accounts of agents in the forge, and its webhook";
      wantedBy = [ "hive.target" ];
      requires = [ "forgejo.service" ];
      after = [ "forgejo.service" ];
      path = [
        cfg.package
        config.systemd.package
        pkgs.curl
        pkgs.gawk
        pkgs.gnugrep
        pkgs.jq
        pkgs.util-linux
      ];
      environment = {
        HOME = forgejo.stateDir;
        USER = forgejo.user;
        FORGEJO_WORK_DIR = forgejo.stateDir;
        FORGEJO_CUSTOM = forgejo.customDir;
        inherit tokens events;
        forge = listens;
        forge_user = forgejo.user;
        forge_group = forgejo.group;
      };
      # Root, because systemd reads the tokens as root: who could replace one by a link would get any file
      # of the host sent to the forge. The programs of Forgejo run as its user.
      serviceConfig = confined // {
        ExecStart = "${pkgs.runtimeShell} ${../forge/accounts.sh} ${lib.escapeShellArgs cfg.agents}";
        RemainAfterExit = true;
        CapabilityBoundingSet = "CAP_SETUID CAP_SETGID";
        StateDirectory = "hive-forge hive-forge/tokens";
        StateDirectoryMode = "0700";
        ReadWritePaths = [ forgejo.stateDir ];
        RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6";
      };
    };

    systemd.services.hive-forge-mirror = lib.mkIf cfg.mirror {
      description = "Hyperhive: push the agents' configurations to the forge";
      wantedBy = [ "hive.target" ];
      requires = [ "hive-forge-accounts.service" ];
      after = [ "hive-forge-accounts.service" ];
      path = [
        pkgs.coreutils
        pkgs.git
      ];
      serviceConfig = confined // {
        ExecStart = "${pkgs.runtimeShell} ${../forge/mirror.sh} /var/lib/hyperhive/git ${listens}";
        DynamicUser = true;
        SupplementaryGroups = [ "hive-git" ];
        LoadCredential = [ "token:${tokens}/hive" ];
        ReadOnlyPaths = [ "/var/lib/hyperhive/git" ];
        RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6";
        IPAddressDeny = lib.mkIf isLoopback "any";
        IPAddressAllow = lib.mkIf isLoopback "localhost";
      };
    };
    # Each deploy ends with a commit in meta.
    systemd.paths.hive-forge-mirror = lib.mkIf cfg.mirror {
      description = "Hyperhive: a deploy has ended";
      wantedBy = [ "hive.target" ];
      pathConfig.PathChanged = "/var/lib/hyperhive/git/meta/.git/refs/heads";
    };
  };

  meta.maintainers = [ ];
}

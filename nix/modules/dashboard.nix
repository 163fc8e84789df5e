{ config, lib, ... }:

let
  hive = config.services.hyperhive;
  cfg = hive.dashboard;
  listening = import ../listening.nix { inherit lib; };
  triggers = import ../triggers.nix { inherit lib; };

  set = value: value != null && value != [ ];
in
{
  imports = [ ./hive.nix ];

  options.services.hyperhive.dashboard = {
    enable = lib.mkEnableOption "the operator's web dashboard" // {
      default = true;
      example = false;
    };

    address = lib.mkOption {
      description = ''
        Address on which the dashboard listens. Users of other hosts reach the default one through a
        tunnel. Another one than a loopback needs {option}`behindProxy`.
      '';
      type = lib.types.str;
      default = "127.0.0.1";
      example = "192.0.2.1";
    };

    port = lib.mkOption {
      description = "TCP port on which the dashboard listens.";
      type = lib.types.port;
      default = 7000;
      example = 8080;
    };

    openFirewall = lib.mkOption {
      description = "Whether to open the port in the firewall, for a proxy on another host.";
      type = lib.types.bool;
      default = false;
      example = true;
    };

    behindProxy = lib.mkOption {
      description = ''
        Whether a proxy with TLS is in front of the dashboard. It also needs
        `settings.dashboard.trusted_proxies` and `settings.dashboard.url`.
      '';
      type = lib.types.bool;
      default = false;
      example = true;
    };

    metricsTokenFile = lib.mkOption {
      description = ''
        File with the token that reads `/metrics`, outside the Nix store. Without it, only a logged-in
        page reads the metrics.
      '';
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/keys/hive-metrics";
    };

    proxyTokenFile = lib.mkOption {
      description = ''
        File with the token that the proxy sends in the header `Hyperhive-Proxy`, outside the Nix store.
      '';
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/run/keys/hive-proxy";
    };
  };

  config = lib.mkIf (hive.enable && cfg.enable) {
    assertions = [
      (listening.onlyThroughProxy {
        option = "services.hyperhive.dashboard";
        what = "the dashboard";
        inherit (cfg) address behindProxy;
      })
      {
        assertion =
          !cfg.behindProxy
          || (set hive.settings.dashboard.trusted_proxies && set hive.settings.dashboard.url);
        message = "services.hyperhive.dashboard.behindProxy needs settings.dashboard.trusted_proxies and settings.dashboard.url: the addresses of the proxy, and the address that browsers open.";
      }
      {
        assertion = !(cfg.openFirewall && listening.isLoopback cfg.address);
        message = "services.hyperhive.dashboard.openFirewall has no effect while the dashboard listens on ${cfg.address}. Set dashboard.address, or leave openFirewall off.";
      }
    ];

    services.hyperhive.secretFiles =
      lib.optionalAttrs (cfg.metricsTokenFile != null) {
        "dashboard.metricsTokenFile" = cfg.metricsTokenFile;
      }
      // lib.optionalAttrs (cfg.proxyTokenFile != null) {
        "dashboard.proxyTokenFile" = cfg.proxyTokenFile;
      };
    services.hyperhive.settings.dashboard.behind_proxy = lib.mkIf cfg.behindProxy true;

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ cfg.port ];

    systemd.sockets.hive-dashboard = {
      wantedBy = [ "hive.target" ];
      # The empty entry removes the address in the package's unit.
      listenStreams = [
        ""
        (listening.socketAddress cfg.address cfg.port)
      ];
    };
    systemd.services.hive-dashboard = {
      wantedBy = [ "hive.target" ];
      restartTriggers = triggers.of hive.settings [ "dashboard" ];
      serviceConfig.LoadCredential =
        lib.optional (cfg.metricsTokenFile != null) "dashboard_metrics:${toString cfg.metricsTokenFile}"
        ++ lib.optional (cfg.proxyTokenFile != null) "dashboard_proxy:${toString cfg.proxyTokenFile}";
    };

    users.users.hive-dashboard = {
      isSystemUser = true;
      group = "hive-dashboard";
      description = "Hyperhive dashboard";
      home = "/var/lib/hyperhive/dashboard";
    };
    users.groups.hive-dashboard = { };
  };

  meta.maintainers = [ ];
}

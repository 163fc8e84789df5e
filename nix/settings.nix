# Made by `make man` from services/config.py: change that file, not this one.
{ lib, freeform }:

let
  inherit (lib) types;
  inherit (import ./setting-types.nix { inherit lib freeform; })
    above
    atLeast
    between
    required
    section
    sections
    setting
    size
    withOptions
    ;
in
rec {
  sendLimits = {
    may_send_to = setting (types.listOf types.str) "The recipients to which this agent may send messages and questions: names of agents, `manager` or `operator`; `*` allows all of them. Default: `[\"*\"]`.";
    messages_per_hour = setting (atLeast 1) "The messages that this agent may send in an hour.";
    bytes_per_hour = setting (atLeast 1) "The bytes of text that this agent may send in an hour.";
    max_body_bytes = setting (types.ints.between 1 8388608) "The longest message of this agent, in bytes of UTF-8.";
  };

  brokerConfig = {
    max_body_bytes = setting (types.ints.between 1 8388608) "The longest message, in bytes of UTF-8. Default: `1048576`.";
    agent_messages_per_hour = setting (atLeast 1) "The messages that one agent may send in an hour, all at once or spread over the hour. Each message stays on the disk. Default: `3600`.";
    agent_bytes_per_hour = setting (atLeast 1) "The bytes of text that one agent may send in an hour. Default: `67108864`.";
    hive_messages_per_hour = setting (atLeast 1) "The messages that each service of the hive may send in an hour. Default: `36000`.";
    max_redeliveries = setting (types.ints.between 0 1000) "The redeliveries of a message after which it is a dead letter. Default: `5`.";
    agents = sections sendLimits "A section `[broker.agents.NAME]` for each agent that has limits of its own.";
    loop_messages = setting (types.ints.between 0 100000) "The messages, questions and answers between the same two agents within `loop_minutes`, without a message of the operator to either of them, above which those in the loop are held and the operator is asked whether they are in a loop; 0: never. Default: `120`.";
    loop_repeats = setting (types.ints.between 2 100000) "The messages with the same text between the same two agents within `loop_minutes` at which those in the loop are held, too. A message to all agents counts once, for its sender. Default: `20`.";
    loop_minutes = setting (types.ints.between 1 1440) "The minutes in which `loop_messages` and `loop_repeats` count. Default: `10`.";
    max_open_questions = setting (types.ints.between 1 10000) "The questions that an agent, or the operator, may have open at once. Default: `100`.";
    max_pending_reminders = setting (types.ints.between 1 10000) "The reminders that an agent, or the operator, may have pending at once. Default: `100`.";
    max_queued_per_sender = setting (types.ints.between 1 1000000) "The messages of one agent that may wait in one inbox. Messages of the operator and of the hive are not limited. Default: `1000`.";
    max_queued_per_inbox = setting (types.ints.between 1 1000000) "The messages of all agents that may wait in one inbox. When they do, agents with less than their share of it may still send to it. Default: `10000`.";
    keep_days = setting (types.ints.between 1 36500) "The days after which completed messages, questions and reminders are deleted. Default: `30`.";
  };

  resourceLimits = {
    memory_high = setting (size 16777216) "The memory above which the container is slowed down: bytes, at least 16 MiB, or a string such as `512M`.";
    memory_max = setting (size 16777216) "The memory above which processes of the container are killed: bytes, at least 16 MiB, or a string such as `4G`.";
    cpu_weight = setting (types.ints.between 1 10000) "The share of processor time relative to the other agents; 100 is average.";
    cpu_quota = setting (types.ints.between 1 100000) "The most processor time, in percent of one processor: 200 is two processors.";
    tasks_max = setting (types.ints.between 64 4000000) "The most processes and threads.";
    io_weight = setting (types.ints.between 1 10000) "The share of disk bandwidth relative to the other agents; 100 is average.";
    disk_max = setting (size 16777216) "The disk space of the agent's files, above which the agent is stopped: bytes, at least 16 MiB, or a string such as `16G`. The manager and the operator are warned at 80 %.";
  };

  agentSettings = {
    resources = section resourceLimits "The limits of this agent's container.";
    network = setting (types.enum [ "gateway" "host" "none" ]) "The network of this agent's container, whatever its agent.toml says.";
    network_deny = setting (types.listOf types.str) "The addresses that this agent's container may not reach with the network `host`.";
    network_allow = setting (types.listOf types.str) "Exceptions from `network_deny`.";
    image = setting types.str "The source of this container's /usr.";
    toplevel = setting types.str "The NixOS system of this agent while its configuration has none.";
    sleep_after = setting (types.ints.between 0 2592000) "The idle seconds after which this agent is put to sleep; 0: never.";
  };

  lifecycleConfig = {
    resources = section resourceLimits "The limits of each container.";
    agents = sections agentSettings "A section `[lifecycle.agents.NAME]` for each agent that has settings of its own.";
    sleep_after = setting (types.ints.between 0 2592000) "The idle seconds after which an agent is put to sleep: its container stops until a message, or `hivectl start`, wakes the agent; 0: never. Default: `0`.";
    create_manager = setting types.bool "Whether lifecycle creates the manager when it starts, unless a manager exists or the data of a destroyed one were kept. Default: `true`.";
    auto_update = setting types.bool "Whether the agents are updated automatically after an update of Hyperhive: one after the other, each when it is idle. Default: `true`.";
    start_timeout = setting (types.ints.between 1 3600) "The seconds within which a starting container must become ready. Default: `60`.";
    stop_timeout = setting (types.ints.between 1 3600) "The seconds after which a container that does not stop is killed. Default: `30`.";
    network = setting (types.enum [ "gateway" "host" "none" ]) "The network of the containers: `gateway` is a network of its own, with nothing but a loopback, from which the gateway leads to the model and to the names of the egress list; `none` leads to the model only; `host` is the network of the host, without the addresses of `network_deny`. Default: `\"gateway\"`.";
    network_deny = setting (types.listOf types.str) "The addresses that no container with the host's network may reach, as `IPAddressDeny=` takes them: networks, `any`, `localhost`, `link-local` or `multicast`. The host's own addresses are added, as they come and go, unless this list is empty. Default: `[\"localhost\", \"link-local\", \"multicast\", \"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"100.64.0.0/10\", \"fc00::/7\", \"168.63.129.16\", \"192.0.0.0/24\"]`.";
    network_allow = setting (types.listOf types.str) "Exceptions from `network_deny`. The host's name servers are always allowed on port 53; they are on all ports if this list contains them.";
    require_filter = setting types.bool "Whether agents must not start on a host that cannot enforce `network_deny`. Default: `false`.";
    image = setting types.str "The source of the containers' /usr: `/` for the host's own, or the absolute path of a directory that contains a /usr. Default: `\"/\"`.";
    backend = setting (types.enum [ "nspawn" "nixos" ]) "The system in the containers: `nspawn` is the host's own /usr, or an `image`; `nixos` is a NixOS system of each agent, which Nix has built. The NixOS module sets `nixos`. Default: `\"nspawn\"`.";
    toplevel = setting types.str "The NixOS system of agents whose configuration has none, with the backend `nixos`: a path directly in /nix/store. The NixOS module sets it. Default: `\"\"`.";
  };

  gatewayAgent = {
    upstream = setting types.str "The address of the Messages API for this agent; the credential for all agents does not go to another one than that of `[gateway]`.";
    auth = setting (types.enum [ "auto" "key" "bearer" ]) "How this agent's credential goes to the upstream.";
    egress = setting (types.listOf types.str) "The rules for this agent, in place of those of `[gateway]`; those of its agent.toml are added.";
  };

  gatewayConfig = {
    upstream = setting types.str "The address of the Messages API, or of a service that is compatible with it. Default: `\"https://api.anthropic.com\"`.";
    auth = setting (types.enum [ "auto" "key" "bearer" ]) "How a credential goes to the upstream: `key` as x-api-key, `bearer` as a bearer token, `auto` by the form of the credential. Default: `\"auto\"`.";
    egress = setting (types.listOf types.str) "The names and addresses that each agent with the network `gateway` may reach, at most 100, in addition to those of its agent.toml: `github.com`, `*.pythonhosted.org`, `crates.io:443`, `10.1.2.3:8080`, or `*` for all names with a dot. A rule without a port is for the ports 80 and 443. By default these are registries of packages. Default: `[\"pypi.org\", \"files.pythonhosted.org\", \"registry.npmjs.org\", \"crates.io\", \"index.crates.io\", \"static.crates.io\", \"proxy.golang.org\", \"sum.golang.org\", \"deb.debian.org\", \"security.debian.org\"]`.";
    agents = sections gatewayAgent "A section `[gateway.agents.NAME]` for each agent that has settings of its own.";
    max_body = setting (size 16777216) "The longest request to the model: bytes, at least 16 MiB, or a string such as `32M`. Default: `33554432`.";
    idle_timeout = setting (types.ints.between 1 86400) "The seconds after which a connection on which nothing passes is closed. Default: `300`.";
    max_connections = setting (types.ints.between 1 1024) "The connections that one agent may have at once to the model, and as many to other hosts. Default: `64`.";
    max_transfer = setting (size 1048576) "The bytes that one connection to another host may carry, both ways together: bytes, at least 1 MiB, or a string such as `16G`. Default: `17179869184`.";
  };

  approvalsConfig = {
    max_pending = setting (types.ints.between 1 1000) "The requests that may wait for the operator at once. Default: `100`.";
    requests_per_hour = setting (types.ints.between 1 10000) "The requests that the manager may make in an hour, including refused ones. Each request stays on the disk. Default: `60`.";
  };

  flakeInput = {
    path = required (types.strMatching "(/[A-Za-z0-9+._=-]+)+") "The directory of the input in the Nix store.";
    nar_hash = required (types.strMatching "sha256-[A-Za-z0-9+/]{43}=") "The hash of the directory, as `nix hash path` prints it.";
    last_modified = setting (atLeast 1) "The time of the last change of the input, in seconds since 1970. Default: `1`.";
  };

  nixosConfig = {
    system = setting (types.strMatching "[a-z0-9_]+-linux") "The type of the host, as Nix names it. Default: `\"x86_64-linux\"`.";
    inputs = sections flakeInput "A section `[nixos.inputs.NAME]` for `hyperhive`, and for each input of its flake. Without `hyperhive`, no systems are built.";
    allowed_uris = setting (types.listOf (types.strMatching "[!-&(-~]{1,256}")) "The beginnings of addresses from which the Nix code of an agent may fetch, in addition to the inputs of its flake: `github:`, `https://example.org/`.";
    keep_builds = setting (types.ints.between 0 1000) "The systems of an agent that are kept for a way back, in addition to the deployed one. Default: `3`.";
    keep_days = setting (types.ints.between 1 36500) "The days after which these are removed. Default: `30`.";
  };

  dashboardConfig = {
    url = setting (types.strMatching "https?://[^/?#]+/?") "The URL with which login links begin, such as `https://hive.example.org`; by default the address of the dashboard's socket.";
    preview_domain = setting (types.strMatching "[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?") "The domain of the host names of previews, such as alice-3000.localhost. Browsers find names below `localhost` on their own host; another domain needs a wildcard that leads to the dashboard. Default: `\"localhost\"`.";
    allowed_hosts = setting (types.listOf types.str) "The host names, without a port, under which browsers may open the dashboard, in addition to the addresses of the loopback.";
    terminal = setting types.bool "Whether an operator may open a terminal in an agent's container, as its root, on the agent's page. Default: `false`.";
    terminal_idle = setting (types.ints.between 10 86400) "The seconds without a key stroke after which a terminal ends. Default: `900`.";
    behind_proxy = setting types.bool "Whether a proxy with TLS is in front of the dashboard. If so, the dashboard's socket may be on an address that other hosts can reach, and accepts only connections from `trusted_proxies`. Default: `false`.";
    trusted_proxies = setting (types.listOf types.str) "The addresses and networks from which the proxy connects. The dashboard trusts their `X-Forwarded-For` and `user_header`.";
    user_header = setting types.str "The header in which the proxy names the user who has logged in to the proxy, such as `Remote-User`; by default users log in to the dashboard. The proxy must remove the header from the requests of browsers.";
    push_services = setting (types.listOf types.str) "The hosts to which notifications for browsers may be sent, `*.` for all hosts below one: the push services of the browsers. An empty list turns the notifications off. Default: `[\"fcm.googleapis.com\", \"updates.push.services.mozilla.com\", \"web.push.apple.com\", \"*.push.apple.com\", \"*.notify.windows.com\"]`.";
    users = setting (types.attrsOf (types.enum [ "operator" "reviewer" "guest" ])) "The roles of the users whom `user_header` names; the key `*` is for all others, who otherwise may not log in.";
  };

  harnessConfig = {
    model = setting types.str "The model of agents that were spawned without one; by default, Claude Code's default.";
    scripted_model_url = setting types.str "The URL of a stand-in for the Messages API, which agents without credentials use.";
    session_idle = setting (types.ints.between 1 2592000) "The idle seconds after which Claude Code is ended; the next turn resumes its session. Default: `600`.";
    turn_timeout = setting (types.ints.between 10 86400) "The seconds after which a turn is aborted. Default: `1800`.";
    start_timeout = setting (types.ints.between 10 600) "The seconds that Claude Code has to start, with its MCP servers and a session to resume; after them it is ended, and the start is tried again. Default: `60`.";
    notes_limit = setting (types.ints.between 1000 1000000) "The bytes of an agent's /state/notes.md above which it is condensed between two turns. Default: `40000`.";
    environment = setting (types.attrsOf types.str) "The environment variables of Claude Code. Variables of proxies, such as `HTTPS_PROXY`, apply only to agents with the network `host`.";
  };

  webhook = {
    name = required (types.strMatching "[a-z0-9-]{1,32}") "The name of the webhook, of a-z, 0-9 and hyphens; required. The token in /etc/hyperhive/credentials/notify/NAME is sent to the webhook.";
    type = required (types.enum [ "ntfy" "json" ]) "The kind of the webhook; required.";
    url = required types.str "The address to which posts go, without user and password; required. The last part of an ntfy address is the topic.";
    events = setting (types.listOf (types.enum [ "approval" "question" "crash" "deploy-failed" "budget" "egress" "notice" "message" ])) "The events that are posted to the webhook; by default all but `message`, which is a message of an agent to the operator. Default: `[\"approval\", \"question\", \"crash\", \"deploy-failed\", \"budget\", \"egress\", \"notice\"]`.";
    details = setting types.bool "Whether posts contain texts that agents wrote. Otherwise they only name the event and the agent. Default: `true`.";
  };

  notifyConfig = {
    webhooks = setting (types.listOf (withOptions webhook)) "The sections `[[notify.webhooks]]`, at most 16.";
    attempt_timeout = setting (types.ints.between 1 60) "The seconds within which a webhook must answer a request. Default: `10`.";
    give_up_after = setting (types.ints.between 1 2592000) "The seconds for which a post that the webhook does not accept is retried. Default: `86400`.";
    agent_posts_per_hour = setting (types.ints.between 1 1000) "The posts that one agent may cause in an hour. Default: `20`.";
  };

  budgetLimits = {
    day = setting (above 0 10000000) "The most dollars in a day.";
    week = setting (above 0 10000000) "The most dollars in a week.";
    total = setting (above 0 10000000) "The most dollars in all.";
    day_tokens = setting (types.ints.between 1 1000000000000000) "The most tokens in a day.";
    week_tokens = setting (types.ints.between 1 1000000000000000) "The most tokens in a week.";
    total_tokens = setting (types.ints.between 1 1000000000000000) "The most tokens in all.";
  };

  budgets = {
    hive = section budgetLimits "The limits of all agents together.";
    agent = section budgetLimits "The limits of each agent, as far as its agent.toml and `[ledger.budgets.agents.NAME]` set none.";
    agents = sections budgetLimits "A section `[ledger.budgets.agents.NAME]` for each agent that has limits of its own, which take precedence over those of its agent.toml.";
    credentials = sections budgetLimits "A section `[ledger.budgets.credentials.NAME]` for each credential that has limits: `default` or `\"agent:NAME\"`.";
  };

  modelPrice = {
    input = required (between 0 10000) "The price of tokens that the model reads.";
    output = required (between 0 10000) "The price of tokens that the model writes.";
    cache_read = setting (between 0 10000) "The price of tokens that the model reads from its cache; by default a tenth of `input`.";
    cache_write = setting (between 0 10000) "The price of tokens that are kept in the cache for five minutes; by default 1.25 times `input`. For an hour it is 1.6 times as much.";
  };

  ledgerConfig = {
    budgets = section budgets "The limits of what may be spent.";
    prices = sections modelPrice "A section `[ledger.prices.\"NAME\"]` for each model, or beginning of names of models, that has another price than Hyperhive knows.";
    keep_days = setting (types.ints.between 1 36500) "The days after which turns, requests and hosts are deleted. Default: `90`.";
    agent_requests_per_hour = setting (types.ints.between 1 1000000) "The requests to the model API that one agent may make in an hour, including those that cost nothing. Default: `20000`.";
    max_requests_per_agent = setting (types.ints.between 1 10000000) "The requests that are kept of one agent; beyond it the oldest are deleted every hour. Default: `200000`.";
    agent_turns_per_hour = setting (types.ints.between 1 100000) "The turns that one agent may record in an hour. Default: `3600`.";
    max_turns_per_agent = setting (types.ints.between 1 10000000) "The turns that are kept of one agent; beyond it the oldest are deleted every hour, so that no agent can fill the disk. Default: `100000`.";
  };

  telemetryConfig = {
    endpoint = setting types.str "The address of the collector that takes OTLP over HTTP, to which `/v1/traces` is appended. Without it no traces are made. Each file in /etc/hyperhive/credentials/telemetry is a header of the requests: its name and its value.";
    agent_spans_per_minute = setting (types.ints.between 64 1000000) "The spans that one agent may export in a minute. Default: `3000`.";
  };

  assistantConfig = {
    allowed_hosts = setting (types.listOf types.str) "The host names, without a port, under which a proxy reaches the endpoint, in addition to the addresses of the loopback.";
  };

  forgeAgent = {
    account = setting types.str "The name of the account; by default that of the agent.";
  };

  forgeConfig = {
    url = setting types.str "The address of the forge, as this host reaches it. Agents with an account reach it as http://forge.hive.internal, where the gateway adds the token of the account.";
    agents = sections forgeAgent "A section `[forge.agents.NAME]` for each agent that has an account in the forge.";
    messages_per_hour = setting (types.ints.between 1 10000) "The most events of the forge of which one agent is told in an hour. Default: `60`.";
  };

  operatorConfig = {
    name = setting types.str "The name by which agents call the operator.";
    pronouns = setting types.str "The operator's pronouns, such as she/her; without them agents write they/them.";
  };

  file = {
    broker = section brokerConfig "The messages, questions and reminders.";
    lifecycle = section lifecycleConfig "The containers.";
    gateway = section gatewayConfig "The way of the agents to the model, and to the names that they may reach.";
    approvals = section approvalsConfig "The requests for approval.";
    nixos = section nixosConfig "The systems of the agents with the backend `nixos`. The NixOS module sets this section.";
    dashboard = section dashboardConfig "The operator's page.";
    harness = section harnessConfig "The harness, which runs Claude Code inside the containers.";
    notify = section notifyConfig "The notifications that are posted to webhooks.";
    ledger = section ledgerConfig "The record of turns, requests and their costs, and the budgets.";
    telemetry = section telemetryConfig "The export of traces to an OpenTelemetry collector.";
    assistant = section assistantConfig "The MCP endpoint for assistants of the operator.";
    forge = section forgeConfig "The forge (Forgejo or Gitea) in which agents have accounts.";
    operator = section operatorConfig "The operator, the person who runs the hive; agents are told.";
  };
}

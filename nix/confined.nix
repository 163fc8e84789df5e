# The sandbox of the units that only the modules have: short programs that read some files and talk to
# some services. Each adds the network and the directories that it needs.
{
  Type = "oneshot";
  Slice = "hive-services.slice";
  UMask = "0077";
  CapabilityBoundingSet = "";
  NoNewPrivileges = true;
  ProtectSystem = "strict";
  ProtectHome = true;
  PrivateTmp = true;
  PrivateDevices = true;
  ProtectProc = "invisible";
  ProtectKernelTunables = true;
  ProtectControlGroups = true;
  RestrictNamespaces = true;
  RestrictSUIDSGID = true;
  LockPersonality = true;
  SystemCallArchitectures = "native";
}

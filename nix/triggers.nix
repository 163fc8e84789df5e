# The values of settings, as the modules pass them on.
{ lib }:

rec {
  # A value without the keys that are not set, which TOML cannot express.
  withoutNull =
    value:
    if lib.isAttrs value then
      lib.mapAttrs (_: withoutNull) (lib.filterAttrs (_: one: one != null) value)
    else if lib.isList value then
      map withoutNull value
    else
      value;

  # The sections of a table in which a key is set, with these keys.
  given =
    sections: lib.filterAttrs (_: section: section != { }) (lib.mapAttrs (_: withoutEmpty) sections);

  withoutEmpty =
    value:
    lib.filterAttrs (_: one: one != { } && one != null) (
      lib.mapAttrs (_: one: if lib.isAttrs one then withoutEmpty one else one) value
    );

  # What restarts a service when one of these sections of the settings changes, and only then.
  of =
    settings: sections:
    map (
      section: "${section}-${builtins.hashString "sha256" (builtins.toJSON (withoutNull settings.${section}))}"
    ) sections;
}

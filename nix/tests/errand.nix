# The agent.nix that the manager proposes in the VM of host.nix.
{ ... }:
{
  environment.etc.errand.text = "done";
}

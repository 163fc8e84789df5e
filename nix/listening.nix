# The addresses on which services listen.
{ lib }:

rec {
  isLoopback = address: address == "localhost" || address == "::1" || lib.hasPrefix "127." address;

  # The address and the port as one text.
  socketAddress =
    address: port:
    "${if lib.hasInfix ":" address then "[${address}]" else address}:${toString port}";

  # The assertion that a service without TLS is reached by other hosts through a proxy only.
  onlyThroughProxy =
    {
      option,
      what,
      address,
      behindProxy,
    }:
    {
      assertion = isLoopback address || behindProxy;
      message = "${option}.address = ${address} can be reached by other hosts, and ${what} has no TLS. Set behindProxy and put a proxy in front of it, or listen on 127.0.0.1.";
    };
}

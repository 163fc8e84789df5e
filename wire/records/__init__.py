"""The structs and dictionaries that cross the bus, each as one frozen, typed record.

    message = decode(Message, row)          # from the values of a struct
    report = decode(Report, {"model": "x"}) # from an a{sv}
    signature(Message)                      # "(tssssxubtssbbss)", derived from the fields

Both ends use the same record, and the contract test compares its signature with the introspection
document. A record is a `NamedTuple`: it is as cheap to import and to encode as a row, and
`wire.encoding` takes a record wherever its signature is expected. Read its fields by name only.

`codec` has the rules; `broker`, `lifecycle`, `approvals`, `ledger`, `telemetry`,
`projects` and `changes` the records of each interface.
docs/decisions/0012-typed-records.md says why the records are named tuples.
"""

from wire.records.codec import (
    decode,
    decode_all,
    dictionary,
    keys,
    signature,
    struct,
    to_dict,
    updated,
)

__all__ = [
    "decode",
    "decode_all",
    "dictionary",
    "keys",
    "signature",
    "struct",
    "to_dict",
    "updated",
]

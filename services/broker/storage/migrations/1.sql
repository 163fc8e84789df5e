-- The messages.
-- What changes is small and apart from the text: sqlite writes a whole row whenever a part of
-- it changes, and a message changes twice (handed out, acknowledged).
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  kind TEXT NOT NULL,
  queued INTEGER NOT NULL,               -- microseconds since 1970
  urgent INTEGER NOT NULL,
  in_reply_to INTEGER NOT NULL,          -- 0: nothing
  dedupe_key TEXT,                       -- unique for a sender
  deliveries INTEGER NOT NULL DEFAULT 0, -- how often it was handed out
  acknowledged INTEGER                   -- microseconds since 1970
) STRICT;
CREATE TABLE body (id INTEGER PRIMARY KEY REFERENCES message(id), text TEXT NOT NULL) STRICT;
CREATE TABLE agent (name TEXT PRIMARY KEY, registered INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX message_dedupe ON message(sender, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX message_inbox ON message(recipient, id) WHERE acknowledged IS NULL;
CREATE INDEX message_open ON message(id) WHERE acknowledged IS NULL;
CREATE INDEX message_to ON message(recipient, id);
CREATE INDEX message_from ON message(sender, id);
CREATE INDEX message_kind ON message(kind, id);

-- Urgent messages reach running turns; messages are taken back or cancelled; inboxes are held.
ALTER TABLE message ADD COLUMN interrupt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN copy_of INTEGER NOT NULL DEFAULT 0;    -- the first copy of a message to *
ALTER TABLE message ADD COLUMN ending TEXT NOT NULL DEFAULT '';       -- retracted or cancelled
ALTER TABLE message ADD COLUMN uncounted INTEGER NOT NULL DEFAULT 0;  -- deliveries that were given back
ALTER TABLE message ADD COLUMN reason TEXT NOT NULL DEFAULT '';       -- why it was released last

-- Within a round, urgent messages are handed out first.
DROP INDEX message_round;
CREATE INDEX message_round ON message(recipient, round, urgent DESC, id)
  WHERE acknowledged IS NULL AND parked IS NULL;
CREATE INDEX message_urgent ON message(recipient, round, id)
  WHERE acknowledged IS NULL AND parked IS NULL AND urgent = 1;
CREATE INDEX message_urgent_origin ON message(recipient, origin, round)
  WHERE acknowledged IS NULL AND parked IS NULL AND urgent = 1;
CREATE INDEX message_ending ON message(id) WHERE ending <> '';

ALTER TABLE agent ADD COLUMN max_redeliveries INTEGER;                -- NULL: that of [broker]

-- The agents that are held: their inboxes hand out nothing.
CREATE TABLE hold (
  agent TEXT PRIMARY KEY,
  kind TEXT NOT NULL,                    -- loop or operator
  text TEXT NOT NULL,
  since INTEGER NOT NULL,                -- microseconds since 1970
  peer TEXT NOT NULL DEFAULT '',         -- loop: the other agent
  question INTEGER NOT NULL DEFAULT 0    -- loop: the question to the operator
) STRICT, WITHOUT ROWID;

-- The order of an inbox: the operator and the hive come first, then senders take turns.
ALTER TABLE message ADD COLUMN origin TEXT NOT NULL DEFAULT '';   -- whose turn it takes
ALTER TABLE message ADD COLUMN round INTEGER NOT NULL DEFAULT 0;  -- handed out by round, then id
UPDATE message SET origin = sender, round = ranked.round FROM (
  SELECT id, CASE sender WHEN 'operator' THEN -2 WHEN 'system' THEN -1
    ELSE row_number() OVER (PARTITION BY recipient, sender ORDER BY id) - 1 END AS round
  FROM message WHERE acknowledged IS NULL
) AS ranked WHERE message.id = ranked.id;
CREATE INDEX message_round ON message(recipient, round, id)
  WHERE acknowledged IS NULL AND parked IS NULL;
CREATE INDEX message_origin ON message(recipient, origin, round)
  WHERE acknowledged IS NULL AND parked IS NULL;

-- The last round in which an inbox handed out a message of each origin.
CREATE TABLE served (
  recipient TEXT NOT NULL,
  origin TEXT NOT NULL,
  round INTEGER NOT NULL,
  PRIMARY KEY (recipient, origin)
) STRICT, WITHOUT ROWID;

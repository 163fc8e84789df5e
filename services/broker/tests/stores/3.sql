-- Version 2 did not have all of these from the beginning; an early one is made whole.
DROP INDEX message_inbox;
CREATE INDEX message_inbox ON message(recipient, id) WHERE acknowledged IS NULL AND parked IS NULL;
CREATE INDEX IF NOT EXISTS question_open_from ON question(asker, id) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS question_open_to ON question(recipient, id) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS reminder_pending ON reminder(owner, id) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS message_clock (id INTEGER PRIMARY KEY) STRICT;
INSERT OR IGNORE INTO message_clock SELECT id FROM (
  SELECT id, queued, lag(queued) OVER (ORDER BY id) AS before FROM message
) WHERE queued < before;
CREATE TRIGGER IF NOT EXISTS message_clock_set_back AFTER INSERT ON message
WHEN new.queued < (SELECT queued FROM message WHERE id < new.id ORDER BY id DESC LIMIT 1)
BEGIN INSERT INTO message_clock VALUES (new.id); END;

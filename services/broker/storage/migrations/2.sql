-- Conversations: dead letters, earlier lives, questions, reminders, full-text search.
ALTER TABLE message ADD COLUMN invocation TEXT NOT NULL DEFAULT '';  -- the container it was handed to
ALTER TABLE message ADD COLUMN parked INTEGER;        -- microseconds since 1970: a dead letter since
ALTER TABLE message ADD COLUMN forgiven INTEGER NOT NULL DEFAULT 0;  -- deliveries before a requeue
DROP INDEX message_inbox;
CREATE INDEX message_inbox ON message(recipient, id) WHERE acknowledged IS NULL AND parked IS NULL;
CREATE INDEX message_dead ON message(id) WHERE parked IS NOT NULL AND acknowledged IS NULL;

-- From which message on the clock was set back; between two of them times only rise (span.py).
CREATE TABLE message_clock (id INTEGER PRIMARY KEY) STRICT;
INSERT INTO message_clock SELECT id FROM (
  SELECT id, queued, lag(queued) OVER (ORDER BY id) AS before FROM message
) WHERE queued < before;
CREATE TRIGGER message_clock_set_back AFTER INSERT ON message
WHEN new.queued < (SELECT queued FROM message WHERE id < new.id ORDER BY id DESC LIMIT 1)
BEGIN INSERT INTO message_clock VALUES (new.id); END;

-- What has a deadline has it twice: on the wall clock, and, when it was given as a span of time,
-- on the clock of the boot it was given in, which nobody can set.
CREATE TABLE question (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  asker TEXT NOT NULL,
  recipient TEXT NOT NULL,
  text TEXT NOT NULL,
  choices TEXT NOT NULL,                 -- a JSON array of texts; empty: any text
  multi INTEGER NOT NULL,
  asked INTEGER NOT NULL,                -- microseconds since 1970
  due INTEGER,                           -- microseconds since 1970; NULL: it has time
  boot TEXT,                             -- the boot that boot_due counts from
  boot_due INTEGER,                      -- microseconds since that boot
  dedupe_key TEXT,                       -- unique for an asker
  state TEXT NOT NULL DEFAULT 'open',
  answer TEXT NOT NULL DEFAULT '[]',     -- a JSON array of texts
  answered_by TEXT NOT NULL DEFAULT '',
  resolved INTEGER                       -- microseconds since 1970
) STRICT;
CREATE UNIQUE INDEX question_dedupe ON question(asker, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX question_due ON question(due) WHERE state = 'open' AND due IS NOT NULL;
CREATE INDEX question_boot_due ON question(boot, boot_due) WHERE state = 'open' AND boot IS NOT NULL;
CREATE INDEX question_asker ON question(asker, id);
CREATE INDEX question_recipient ON question(recipient, id);
CREATE INDEX question_open ON question(id) WHERE state = 'open';
CREATE INDEX question_open_from ON question(asker, id) WHERE state = 'open';
CREATE INDEX question_open_to ON question(recipient, id) WHERE state = 'open';

CREATE TABLE reminder (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  owner TEXT NOT NULL,
  body TEXT NOT NULL,
  file TEXT NOT NULL,                    -- a path in the owner's container, or nothing
  created INTEGER NOT NULL,              -- microseconds since 1970
  due INTEGER NOT NULL,
  boot TEXT,
  boot_due INTEGER,
  dedupe_key TEXT,                       -- unique for an owner
  state TEXT NOT NULL DEFAULT 'pending',
  message INTEGER NOT NULL DEFAULT 0,    -- what it has become
  resolved INTEGER                       -- microseconds since 1970
) STRICT;
CREATE UNIQUE INDEX reminder_dedupe ON reminder(owner, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX reminder_due ON reminder(due) WHERE state = 'pending';
CREATE INDEX reminder_boot_due ON reminder(boot, boot_due) WHERE state = 'pending' AND boot IS NOT NULL;
CREATE INDEX reminder_owner ON reminder(owner, id);
CREATE INDEX reminder_pending ON reminder(owner, id) WHERE state = 'pending';

-- External content: the index keeps no second copy of the texts. Whoever writes a text writes here.
CREATE VIRTUAL TABLE message_search USING fts5(
  text, content='body', content_rowid='id', tokenize="unicode61 remove_diacritics 2"
);
CREATE VIRTUAL TABLE question_search USING fts5(
  text, answer, content='question', content_rowid='id', tokenize="unicode61 remove_diacritics 2"
);
INSERT INTO message_search(message_search) VALUES ('rebuild');

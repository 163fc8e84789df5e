BEGIN TRANSACTION;
CREATE TABLE agent (name TEXT PRIMARY KEY, registered INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "agent" VALUES('alice',1795237500496460);
INSERT INTO "agent" VALUES('bob',1795237500496662);
INSERT INTO "agent" VALUES('manager',1795237500496144);
CREATE TABLE body (id INTEGER PRIMARY KEY REFERENCES message(id), text TEXT NOT NULL) STRICT;
INSERT INTO "body" VALUES(1,'ask bob for six times seven');
INSERT INTO "body" VALUES(2,'six times seven');
INSERT INTO "body" VALUES(3,'42 – or häßlich 💩');
INSERT INTO "body" VALUES(4,'alice has crashed');
INSERT INTO "body" VALUES(5,'unread');
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
INSERT INTO "message" VALUES(1,'operator','manager','message',1795237500496910,0,0,'first',1,1795237500498913);
INSERT INTO "message" VALUES(2,'manager','bob','message',1795237500497284,1,0,NULL,1,NULL);
INSERT INTO "message" VALUES(3,'bob','manager','message',1795237500497560,0,2,NULL,2,NULL);
INSERT INTO "message" VALUES(4,'system','manager','container-crash',1795237500497808,0,0,NULL,0,NULL);
INSERT INTO "message" VALUES(5,'alice','operator','message',1795237500498091,0,0,NULL,0,NULL);
CREATE UNIQUE INDEX message_dedupe ON message(sender, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX message_inbox ON message(recipient, id) WHERE acknowledged IS NULL;
CREATE INDEX message_open ON message(id) WHERE acknowledged IS NULL;
CREATE INDEX message_to ON message(recipient, id);
CREATE INDEX message_from ON message(sender, id);
CREATE INDEX message_kind ON message(kind, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('message',5);
COMMIT;
PRAGMA application_id = 1212765765;
PRAGMA user_version = 1;

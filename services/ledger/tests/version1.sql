-- A store of version 1, with one turn.
CREATE TABLE turn (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    turn INTEGER NOT NULL,             -- the harness's number
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL,
    model TEXT NOT NULL,
    session TEXT NOT NULL,
    first_request INTEGER NOT NULL,
    first_token INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    context_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,             -- millionths of a US dollar
    tool_calls INTEGER NOT NULL,
    tools TEXT NOT NULL,               -- JSON: calls by the name of the tool
    open_threads INTEGER NOT NULL,
    open_reminders INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX turn_once ON turn (agent, started, turn);
CREATE INDEX turn_agent ON turn (agent);
CREATE INDEX turn_started ON turn (started);
INSERT INTO turn VALUES (41, 'alice', 1764417600000000, 7, 1764417540000000, 1764417541000000, 'done', '', 'opus', 's-1',
    40000, 900000, 10, 20, 30, 40, 50, 12345, 3, '{"Bash": 3}', 4, 5);
PRAGMA user_version = 1;

-- Questions about a tool call: its key, and the rule that "Always allow" adds to agent.toml.
ALTER TABLE question ADD COLUMN permission TEXT NOT NULL DEFAULT '';
ALTER TABLE question ADD COLUMN rule TEXT NOT NULL DEFAULT '';

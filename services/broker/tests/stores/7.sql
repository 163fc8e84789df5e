-- The spans that send messages and ask questions, so that a trace goes from agent to agent.
ALTER TABLE message ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
ALTER TABLE question ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';

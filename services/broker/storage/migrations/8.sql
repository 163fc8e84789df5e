-- The answers to a message, so that a whole thread is found.
CREATE INDEX message_answers ON message(in_reply_to) WHERE in_reply_to > 0;

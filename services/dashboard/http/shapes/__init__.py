"""The shapes of answers, for the OpenAPI document: one module for each subject."""

"""Train, validation and test, by patient; and the audit that nothing leaks."""

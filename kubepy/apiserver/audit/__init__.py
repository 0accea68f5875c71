"""Auditing: `policy` says what is recorded of a request, `event` makes the records, `log` and `webhook` keep them."""

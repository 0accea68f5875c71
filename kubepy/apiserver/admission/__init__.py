"""What is changed or refused before it is stored: built-in plugins, webhooks, policies."""

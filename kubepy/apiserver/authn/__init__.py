"""Who is asking: certificates, tokens, impersonation."""

"""Admission webhooks: who is asked about a request (`match`), what they are told and answer (`review`), the two plugins (`plugin`)."""

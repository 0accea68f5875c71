"""Service-account tokens in Secrets, as they were before TokenRequest (`pkg/controller/serviceaccount`).

    sign.py     tokens that do not end (pure)
    secret.py   filling and removing the Secrets
    cleanup.py  invalidating and removing Secrets that nobody has used for a year
"""

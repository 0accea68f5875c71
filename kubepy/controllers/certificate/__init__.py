"""Certificate signing requests (`pkg/controller/certificates`): approving kubelets' own, signing, cleaning.

    request.py   what a request asks for, and whether a signer may grant it (pure)
    approve.py   approving kubelet client certificates
    sign.py      the kubernetes.io signers
    clean.py     removing old requests
"""

"""Admission policies: requests judged by CEL expressions (`k8s.io/apiserver/pkg/admission/plugin/policy`)."""

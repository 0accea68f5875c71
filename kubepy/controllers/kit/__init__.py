"""What controllers share: environment, expectations, adoption, batches, pods from templates, conditions, revisions."""

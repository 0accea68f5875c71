"""The controller manager: one module or package for each controller, all on the same kit."""

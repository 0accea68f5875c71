"""The memory manager's static policy: guaranteed containers get memory of NUMA nodes of their own."""

"""The CPU manager's static policy: containers of guaranteed pods that ask for whole CPUs get CPUs of their own."""

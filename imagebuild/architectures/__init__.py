"""The architectures of hosts: what each is called, what boots it, and how a guest of it is emulated.

- architecture: what a record says; one module for each architecture
- registry: all of them by name, and what is asked of them

To add one: a module with its record, and a line in registry. One that lacks `loader` and `guest` has names
and metadata only: releases of it can be named, promoted and verified, and nothing is built.
"""

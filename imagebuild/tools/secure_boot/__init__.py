"""Whether a machine with Secure Boot would start what is to be started: asked of the files, before any boot.

program     a UEFI program: its sections, signatures and digest (PE/COFF)
signature   who signed one, proved by openssl
enrolled    the keys that a firmware knows: db and dbx of its variables
sbat        generations of components, against the levels that shim holds
chain       all of it together: shim, what shim starts, the kernel
"""

"""The only door to libostree: repositories, their commits, and what a server has.

What comes in: paths, refs and checksums; what goes out: records and bytes, never libostree's own objects
(`ObjectStore.handle` is for the modules here and for tests).

- repository: `Repo`, which everybody uses, in layers: object_store, commit_reader, commit_writer
- pull (`Remote`), with pull_progress, pull_errors, damage and recovery (objects that a killed pull left)
- signatures, summary: what is signed, and what clients read first
- server, server_damage: a repository looked at over HTTP
- history: the commits behind one; succession: a next release
- binding (what a serialised commit says), kernel (its boot files), paths (links followed inside a commit)
- writer: one writer at a time, with a GLib main context per thread; library: the GObject binding itself
"""

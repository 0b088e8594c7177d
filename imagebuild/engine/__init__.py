"""Steps, the graph that they make, the store of what they made, and who runs them when. Knows no images.

`dispatch` says where steps run: threads of this machine, or a cluster (imagebuild.cluster). `store` says
what a store is; `directory` is one of this machine. `shared` is a directory with a remote, which `remote`
speaks to, patiently, wherever it lies (`addresses`: `mounted_drive`, `object_drive`). An artifact goes
there as `packs` that a result names (`publishing`, `results`) and comes from there checked (`fetching`),
with what it has elsewhere (`carrying`); `shelf` shares small things, `sweep` removes what nobody needs.
"""

"""Many machines build one graph: dask.distributed carries, imagebuild decides.

    keys            a certificate authority, and certificates of head, workers and clients
    security        those certificates in use: what is wrong with them, and who is refused
    settings        how dask is set up on all sides
    head            the scheduler: dask's, work stealing off
    abilities       what a machine can do and puts into keys: measured where a worker starts
    worker          a worker's process, and the steps that run in it
    preload         the same in a worker that something else has started
    steps_plugin    what dask tells of them
    remote_step     what a worker does with a step, and what it sends back
    evidence        what a failed step left, as it travels to the client
    choice          which worker takes a step
    connection      a client's connection to a head
    dispatcher      runs the steps of a build on workers
    status          what a cluster does now

Comes in: steps of a graph. Goes out: records of artifacts in the store. A worker's death, a head's or a
client's loses nothing but time: what is right is decided by the store and its keys. `distributed` is an extra
(imagebuild[cluster]) and is imported by what needs it only.
"""

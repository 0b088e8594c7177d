"""What a build service has to stand: killed anywhere, full and strange disks, clocks that jump, two at once,
load.

    python -m tests.faults [--seed N] [--only NAME]…    the whole amount, and docs/reliability.md
    pytest tests/faults                                 a reduced, seeded set

`small` is imagebuild with a disk and guests that take a second, everything else being the product's own;
`bench` a machine with a small repository; `leftovers` looks for what must not be left; the others are the
faults.
"""

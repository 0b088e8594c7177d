"""What QEMU says of processors (`info registers`)."""

# of a firmware that has given up
HALTED = (
    "\nCPU#0\nEIP=0000b7b9 EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\nCPU#1\nEIP=000fd09a"
    " EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\n"
)

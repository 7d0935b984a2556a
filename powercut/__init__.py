"""What a power cut leaves of a data folder, and the proof that recovery loses nothing of it.

`make powercut` runs the long form, `tests/durability/test_power_cuts.py` the short one. Read
`disk.py` for what is assumed of a disk, `workload.py` for what is done under trace, and
`aftermath.py` for what is proven of every folder that a cut could leave.
"""

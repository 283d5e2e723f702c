"""How long the threads of torch's products wait for each other at full speed."""

import os

_SPINS = 1000  # tens of microseconds; a product ends later on one core than on another


def spin_briefly() -> None:
    """Have torch's threads sleep soon after a product, unless the user has said what they do.

    OpenMP reads it when torch is imported. By default threads wait for each other at full speed,
    for milliseconds: where another program wants their core, a service had a quarter of the rate,
    and an evaluation took more than ten minutes instead of half of one.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(_SPINS)

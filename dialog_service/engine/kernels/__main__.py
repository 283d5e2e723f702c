"""``python -m dialog_service.engine.kernels``: compile beside the source, for an image to carry."""

import platform
import sys

from dialog_service.compiled import BuildError, build
from dialog_service.engine.kernels.kernels import SOURCE

if __name__ == "__main__":
    # An image for other processors is built all the same: there the engine multiplies by torch.
    if platform.machine().lower() not in ("x86_64", "amd64"):
        print(f"no kernels for {platform.machine()}")
        sys.exit()
    try:
        print(build(SOURCE, SOURCE.folder))
    except BuildError as error:
        sys.exit(f"kernels not compiled: {error}")

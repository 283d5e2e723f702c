"""``python -m dialog_service.engine.kernels``: compile beside the source, for an image to carry."""

import sys
from pathlib import Path

from dialog_service.engine.kernels.build import BuildError, build

if __name__ == "__main__":
    try:
        print(build(Path(__file__).parent))
    except BuildError as error:
        sys.exit(f"kernels not compiled: {error}")

"""python -m shared.cli: the same as the command `transcribe`."""

import sys

from shared.cli.files import main

if __name__ == "__main__":
    sys.exit(main())

"""python -m shared.cli: the same as the command `transcribe`."""

from shared.cli.entry import main

if __name__ == "__main__":
    main()

"""`python -m wsikit`, the same as `wsikit`."""

from wsikit.cli.app import main

if __name__ == "__main__":
    main()

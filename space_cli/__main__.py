"""`python -m space_cli` is `space`."""

from space_cli.cli.app import main

if __name__ == "__main__":
    main()

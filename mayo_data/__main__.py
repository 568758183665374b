"""`python -m mayo_data` is the command `mayo-data`."""

from mayo_data.cli import main

if __name__ == "__main__":
    main()

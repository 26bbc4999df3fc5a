"""Lets `python -m searcher.cli` do what the `searcher` command does."""

from searcher.cli import main

if __name__ == "__main__":
    main()

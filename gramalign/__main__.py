"""`python -m gramalign`: the command line where its script is not on the path."""

from gramalign.cli.main import main

if __name__ == "__main__":
    main()

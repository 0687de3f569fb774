"""``python -m kvengine``: the command line, as the script ``kvengine``."""

from kvengine.cli.__main__ import main

if __name__ == "__main__":
    main()

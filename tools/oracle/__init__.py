"""Compare this checkout with release 0.1.0, which stays as an oracle for what the engine does.

0.1.0 kept rows as objects, was slow and was right. Since then rows stay encoded bytes. The
same programs, crash images and clocks run on both releases, and what they answer must be equal:

    make oracle                                        5,000 programs and 1,000 crash images
    make oracle ORACLE_ARGS="--seed 7 --programs 200"
    python -m tools.oracle --programs 5000 --images 1000 --seed 1

It ends with 1 where an answer differs without a reason in `explained.py`. It then prints the
seed, the options, and the shortest program found that still differs.

The parts:

- `install.py` makes `.venv-oracle` with 0.1.0 in it, from `git archive` of its commit. Nothing
  but the dependencies of the package comes from the network.
- `programs.py` makes random programs from a seed: lists of verbs and their arguments.
- `driver.py` runs programs on the release that it is started with, and prints a line of JSON
  for each answer. It uses the public API alone and imports nothing from the checkout.
- `releases.py` keeps one driver for each release, and feeds both.
- `compare.py` compares the answers line by line, and shortens a program that differs.
- `images.py` judges crash images. Files of the two releases have different formats, so an image
  is not handed from one to the other. Each release recovers its own images, and what it finds
  must be an exact prefix of its own commits with every synced one among them. Where nothing is
  left open (all is synced, or all that was written survives), both must recover the same.
- `explained.py` lists the differences that are meant, each with its reason.
"""

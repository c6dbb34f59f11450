"""`python -m onehop` is `onehop`."""

from onehop.cli.main import main

main()

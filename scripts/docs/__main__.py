"""Write every page and file that is made from its source: `python -m scripts.docs`, or `make docs`."""

from scripts.docs.pages import main

main()

"""The command line of the gallery; `main.py` lists its commands."""

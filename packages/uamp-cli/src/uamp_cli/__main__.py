"""`python -m uamp_cli` is `uamp`; launchers of several processes (accelerate, torchrun) start it so."""

from uamp_cli.main import main

if __name__ == "__main__":
    main()

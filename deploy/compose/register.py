"""Registers the public key of every site with the SuperLink; a key that is registered already stays as it is."""

from flower import OPERATOR, CommandFailed, connect, flwr

ALREADY = "Public key already in use"


def main() -> None:
    connect()
    for key in sorted(OPERATOR.glob("*.pub")):
        try:
            flwr("supernode", "register", str(key), "--name", key.stem)
        except CommandFailed as failure:
            if ALREADY not in str(failure):
                raise
        print(f"{key.stem}: registered")


if __name__ == "__main__":
    main()

"""Registers the public key of every site with the SuperLink; a key that is registered already stays as it is."""

from flower import OPERATOR, connect, flwr


def main() -> None:
    connect()
    known = {node.get("name") for node in flwr("supernode", "list")["nodes"]}
    for key in sorted(OPERATOR.glob("*.pub")):
        if key.stem not in known:
            flwr("supernode", "register", str(key), "--name", key.stem)
        print(f"{key.stem}: registered")


if __name__ == "__main__":
    main()

"""Exit status 0 if the SuperLink on this machine answers over TLS under its own name."""

import ssl
import sys
import urllib.request

URL = "https://localhost:9443/health"


def main() -> int:
    trust = ssl.create_default_context(cafile="/link/ca.crt")
    try:
        with urllib.request.urlopen(URL, context=trust, timeout=3) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

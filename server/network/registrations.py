"""The hospitals' keys at the SuperLink: those of the enrolled are registered there, and no other."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from common.files import write_atomic
from common.network.documents import SiteRequest
from server.network.flower import CONNECTION, FlowerFailed, flwr
from server.network.home import Home

_ALREADY = "already in use"


class Registrations:
    """Of one life of the SuperLink, which forgets them when it ends."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known: dict[str, tuple[str, int]] = {}

    @property
    def nodes(self) -> dict[str, int]:
        """Site -> its node's identifier."""
        return {site: node for site, (_, node) in self._known.items()}

    def follow(self, enrolled: Iterable[SiteRequest], say: Callable[[str], None]) -> list[str]:
        """Register who is new and unregister who is not enrolled any more. Raises ConsiliumError if Flower refuses.

        Returns sites that came back with a key which is not registered any more: a SuperLink takes a key once in its
        life, so that only another SuperLink takes it again.
        """
        wanted = {site.site: site for site in enrolled}
        for name, (key, node) in list(self._known.items()):
            if name in wanted and wanted[name].node_key == key:
                continue
            flwr(self._home, "supernode", "unregister", str(node), CONNECTION)
            del self._known[name]
            say(f"{name}: its key is no longer registered.")
        new = [site for name, site in wanted.items() if name not in self._known]
        with ThreadPoolExecutor(max_workers=4) as several:
            back = [site.site for site, gone in zip(new, several.map(self._register, new), strict=True) if gone]
        if new and not back:
            say(f"registered: {', '.join(site.site for site in new)}.")
        return back

    def _register(self, site: SiteRequest) -> bool:
        """Whether its key was registered once, and is not any more."""
        file = self._home.state / "nodes" / f"{site.site}.pub"
        write_atomic(file, f"{site.node_key}\n".encode())
        gone = False
        try:
            answer = flwr(self._home, "supernode", "register", str(file), CONNECTION, "--name", site.site)
            node = int(answer["node-id"])
        except FlowerFailed as failure:
            if _ALREADY not in str(failure):
                raise
            from server.network.registered import GONE, node_with  # Flower's client: large, and seldom needed

            node, status = node_with(self._home, site.node_key)  # of an earlier try whose answer was lost
            gone = status == GONE
        if not gone:
            self._known[site.site] = (site.node_key, node)
        return gone

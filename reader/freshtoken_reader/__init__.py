"""For programs that use a token which freshtoken keeps current.

auth = TokenAuth.from_file("/run/freshtoken/tiki.json")
requests.get("https://api.tiki.vn/...", auth=auth, timeout=10)
httpx.Client(auth=auth.httpx())
urllib.request.Request("https://api.tiki.vn/...", headers={"Authorization": auth.header()})
"""

from freshtoken_reader.auth import TokenAuth
from freshtoken_reader.cache import TokenUnavailable

__all__ = ["TokenAuth", "TokenUnavailable"]
__version__ = "0.1.0"

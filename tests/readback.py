"""Reads back from servers over HTTP, until what is found is as expected or ten seconds have passed."""

import base64
import json
import time
import urllib.request

from difference import difference

FIELDS = "core,basic,time,io,metadata,model,usage,metrics,trace_context"
SANDBOX_KEYS = "Basic " + base64.b64encode(b"pk-lf-sandbox:sk-lf-sandbox").decode()


def get(url, authorization=None):
    """The JSON that a server has at a URL."""
    headers = {"Authorization": authorization} if authorization else {}
    return json.load(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10))


def observations(sandbox, trace):
    """The rows of a trace in `langspan sandbox`."""
    return get(f"{sandbox}/api/public/v2/observations?traceId={trace}&fields={FIELDS}", SANDBOX_KEYS)["data"]


def differing_rows(want, found):
    """What differs in the two rows of a trace, each named by its type; `both` is expected of each. The one that is no span
    is a generation, unless another type is expected."""
    by_type = {row["type"]: row for row in found}
    call = next((kind for kind in want if kind not in ("both", "SPAN", "calls")), "GENERATION")
    if len(found) != 2 or set(by_type) != {"SPAN", call}:
        return [f"expected a SPAN and a {call}, got {[row['type'] for row in found]}"]
    lines = [
        line
        for kind, row in by_type.items()
        for line in difference({**want.get("both", {}), **want.get(kind, {})}, row, kind)
    ]
    span, call = by_type["SPAN"], by_type[call]
    lines += difference(span["id"], call["parentObservationId"], "parent of the call")
    return lines + difference(None, span["parentObservationId"], "parent of the span")


def until_right(differing):
    """The lines that `differing` gives at last: none, once what is sent has been taken in."""
    deadline = time.monotonic() + 10
    while (lines := differing()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return lines

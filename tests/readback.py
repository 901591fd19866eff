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
    """What differs in the two rows of a trace, each named by its type; `both` is expected of each."""
    by_type = {row["type"]: row for row in found}
    if len(found) != 2 or len(by_type) != 2:
        return [f"expected a SPAN and a GENERATION, got {[row['type'] for row in found]}"]
    lines = [
        line
        for kind, row in by_type.items()
        for line in difference({**want.get("both", {}), **want.get(kind, {})}, row, kind)
    ]
    span, generation = by_type["SPAN"], by_type["GENERATION"]
    lines += difference(span["id"], generation["parentObservationId"], "parent of the generation")
    return lines + difference(None, span["parentObservationId"], "parent of the span")


def until_right(differing):
    """The lines that `differing` gives at last: none, once what is sent has been taken in."""
    deadline = time.monotonic() + 10
    while (lines := differing()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return lines

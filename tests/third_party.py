"""What aimock was asked, and which rows came out of the collector; tests/third_party.sh runs it.

Each command prints how what is found differs from what is expected, and nothing when it does not.
"""

import json
import sys
from collections import Counter

from difference import difference
from readback import SANDBOX_KEYS, differing_rows, get, observations, until_right


def journal(model, key):
    """The requests that aimock got."""
    return get(f"{model}/__aimock/journal", "Bearer " + key)


def rows(sandbox, model, key, trace):
    """The rows are as stdin says; `calls` is how often the model was asked within the trace, 1 unless given."""
    want = json.load(sys.stdin)

    def differing():
        found = observations(sandbox, trace)
        lines = differing_rows(want, found)
        if lines:
            return lines
        asked = [call["headers"].get("traceparent", "") for call in journal(model, key)]
        asked = [parent for parent in asked if trace in parent]
        lines = difference(want.get("calls", 1), len(asked), "calls")
        if asked:
            call = next(row["id"] for row in found if row["type"] != "SPAN")
            lines += difference([f"00-{trace}-{call}-01"], sorted(set(asked)), "traceparent")
        return lines

    return until_right(differing)


def request(model, key, file):
    """The latest request's body is that of the file, and as long."""
    want, call = open(file).read(), journal(model, key)[-1]
    body = {name: value for name, value in call["body"].items() if name != "_endpointType"}
    lines = [] if list(json.loads(want).items()) == list(body.items()) else [f"expected {want}, got {body}"]
    return lines + difference(str(len(want.encode())), call["headers"]["content-length"], "content-length")


def session(sandbox, name):
    """The types of a session's calls, each with its number, are as stdin says; every trace is there once."""
    want = json.load(sys.stdin)

    def differing():
        url = f"{sandbox}/api/public/v2/observations?sessionId={name}&fields=core&limit=1000"
        calls = [row for row in get(url, SANDBOX_KEYS)["data"] if row["type"] != "SPAN"]
        lines = difference(want, Counter(row["type"] for row in calls), "calls")
        return lines + difference(len(calls), len({row["traceId"] for row in calls}), "traces")

    return until_right(differing)


def ids(sandbox, trace):
    """No comparison: what the rows of a trace are known by."""
    return [f"{row['type']} {row['id']} {row['startTime']} {row['endTime']}" for row in observations(sandbox, trace)]


COMMANDS = [rows, request, session, ids]
name, *arguments = sys.argv[1:]
command = next(command for command in COMMANDS if command.__name__ == name)
print("\n".join(command(*arguments)))

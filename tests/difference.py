"""How what is found differs from what is expected. As a script: of the JSON in a file, from the JSON on stdin."""

import json
import sys


def difference(want, got, place=""):
    """A line for each difference.

    An object may hold more than is expected. "*" stands for anything but null, "~text" for a string with that text in
    it, null also for a missing key. A string that holds JSON is compared as JSON where an object or a list is expected.
    """
    if want == "*":
        return [] if got is not None else [f"{place}: expected something, got null"]
    if isinstance(want, str) and want.startswith("~") and isinstance(got, str) and want[1:] in got:
        return []
    if isinstance(want, (dict, list)) and isinstance(got, str) and got[:1] in ("{", "["):
        got = json.loads(got)
    if isinstance(want, dict) and isinstance(got, dict):
        return [line for key in want for line in difference(want[key], got.get(key), f"{place}.{key}")]
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [line for n in range(len(want)) for line in difference(want[n], got[n], f"{place}[{n}]")]
    equal = want == got and isinstance(want, bool) == isinstance(got, bool)
    return [] if equal else [f"{place}: expected {want!r}, got {got!r}"]


if __name__ == "__main__":
    print("\n".join(difference(json.load(sys.stdin), json.load(open(sys.argv[1])))))

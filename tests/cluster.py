"""What the scripts of clusters ask of a merged output and of `langspan sandbox`; prints what is wrong.

    cluster.py input COUNT                   an input of that many lines
    cluster.py lines FILE COUNT              each line once, in order, with a trace of its own
    cluster.py traces SANDBOX COUNT SESSION  each trace has its two spans once, in one session
"""

import json
import sys
from collections import Counter
from urllib.parse import quote

from readback import SANDBOX_KEYS, get, until_right

PAGE = 1000


def input_lines(count):
    for number in range(1, count + 1):
        print(json.dumps({"custom_id": f"q{number}", "prompt": f"line {number}"}))


def differing_lines(path, count):
    with open(path) as lines:
        facts = [json.loads(line)["langspan"] for line in lines]
    found = [fact["line"] for fact in facts]
    wrong = []
    if found != list(range(1, count + 1)):
        missing = sorted(set(range(1, count + 1)) - set(found))
        twice = [line for line, times in Counter(found).items() if times > 1]
        wrong.append(f"{len(found)} lines; missing {missing[:9]}, twice {twice[:9]}, in order {found == sorted(found)}")
    if len({fact["trace_id"] for fact in facts}) != count:
        wrong.append("not every line has a trace of its own")
    return wrong


def rows(sandbox):
    """All rows of the sandbox, page by page."""
    cursor = ""
    while True:
        url = f"{sandbox}/api/public/v2/observations?limit={PAGE}&fields=core,basic"
        page = get(url + (f"&cursor={quote(cursor)}" if cursor else ""), SANDBOX_KEYS)
        yield from page["data"]
        cursor = page["meta"].get("cursor")
        if not cursor:
            return


def differing_traces(sandbox, count, session):
    found = list(rows(sandbox))
    traces = Counter(row["traceId"] for row in found)
    spans = Counter(row["id"] for row in found)
    wrong = []
    if len(traces) != count or len(found) != 2 * count:
        wrong.append(f"{len(traces)} traces with {len(found)} rows, but {count} lines")
    if odd := [trace for trace, times in traces.items() if times != 2]:
        wrong.append(f"{len(odd)} traces do not have two spans, such as {odd[0]}")
    if twice := [span for span, times in spans.items() if times > 1]:
        wrong.append(f"{len(twice)} spans are there twice, such as {twice[0]}")
    if {row.get("sessionId") for row in found} != {session}:
        wrong.append(f"sessions: {sorted({str(row.get('sessionId')) for row in found})[:5]}")
    return wrong


def main(command, *arguments):
    match command, arguments:
        case "input", [count]:
            input_lines(int(count))
        case "lines", [path, count]:
            print(*differing_lines(path, int(count)), sep="\n", end="")
        case "traces", [sandbox, count, session]:
            print(*until_right(lambda: differing_traces(sandbox, int(count), session)), sep="\n", end="")
        case _:
            sys.exit(__doc__)


main(*sys.argv[1:])

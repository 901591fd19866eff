"""What differs between the rows of a run and what is right: one trace, an identity on each row, one generation a call.

rows.py SANDBOX TRACE MODEL CALLS plain|stream [USER SESSION TAG...]
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from readback import observations, until_right  # noqa: E402


def differing(rows, model, calls, mode, user, session, tags):
    lines = []
    roots = [row["name"] for row in rows if row["parentObservationId"] is None]
    if len(roots) != 1 or sum(row["isRootObservation"] for row in rows) != 1:
        lines.append(f"expected one root, got {roots}")
    ids = {row["id"] for row in rows}
    lines += [f"{row['name']}: its parent is not there" for row in rows if row["parentObservationId"] not in ids | {None}]
    for row in rows:
        if (row["userId"], row["sessionId"]) != (user, session) or not set(tags) <= set(row["tags"]):
            lines.append(f"{row['name']}: user {row['userId']}, session {row['sessionId']}, tags {row['tags']}")
    generations = [row for row in rows if row["type"] == "GENERATION"]
    if len(generations) != calls:
        lines.append(f"expected {calls} generation(s), got {[row['name'] for row in generations]}")
    for row in generations:
        if not (row["model"] or "").startswith(model):
            lines.append(f"{row['name']}: model {row['model']}")
        if not row["input"] or not row["output"]:
            lines.append(f"{row['name']}: input {row['input']}, output {row['output']}")
        if mode == "plain" and not row["usageDetails"].get("total"):
            lines.append(f"{row['name']}: usage {row['usageDetails']}")
    return lines


if __name__ == "__main__":
    sandbox, trace, model, calls, mode, user, session, *tags = sys.argv[1:]
    print("\n".join(until_right(lambda: differing(observations(sandbox, trace), model, int(calls), mode, user, session, tags))))

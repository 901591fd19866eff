"""Langfuse's own Python SDK as a client of the sandbox; tests/langfuse_sdk.sh runs it, with the server's URL and keys in
the environment that the SDK reads.

Each command prints the differences between what the SDK reads and what is expected; none: it prints nothing.
"""

import base64
import json
import logging
import sys
from datetime import datetime, timedelta, timezone

from difference import difference
from langfuse import Langfuse, propagate_attributes
from langfuse.api import NotFoundError, UnauthorizedError
from langfuse.api.core import ApiError
from langfuse.media import LangfuseMedia

FIELDS = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"


def read(client, **query):
    """Every observation of a query, page by page."""
    rows, cursor = [], None
    while True:
        page = client.api.observations.get_many(fields=FIELDS, limit=1, cursor=cursor, **query)
        rows += page.data
        cursor = page.meta.cursor
        if not cursor:
            return rows


def keys(client):
    return difference(True, client.auth_check(), "auth_check")


def refused_keys(client):
    """The SDK reports a refusal."""
    try:
        client.auth_check()
    except UnauthorizedError as error:
        lines = difference(401, error.status_code, "status")
        return lines + difference({"message": "*"}, error.body, "body")
    return ["auth_check did not fail"]


def health(client, major):
    answer = client.api.health.health()
    return difference("OK", answer.status, "status") + difference(major, answer.version.split(".")[0], "version")


def projects(client):
    projects = [project.model_dump() for project in client.api.projects.get().data]
    organization = {"id": "*", "name": "*"}
    return difference([{"id": "sandbox", "name": "Sandbox", "organization": organization, "metadata": {}}], projects)


def models(client):
    """The price table, page by page: the project's own model first, prices by usage, tiers with conditions."""
    found, page = [], 1
    while True:
        got = client.api.models.list(page=page, limit=2)
        found += got.data
        if page >= got.meta.total_pages:
            break
        page += 1
    lines = difference(got.meta.total_items, len(found), "models")
    lines += difference(False, found[0].is_langfuse_managed, "the first is the project's own")
    mini = next(model for model in found if model.model_name == "gpt-4o-mini")
    lines += difference(1.5e-07, mini.prices["input"].price, "input price")
    default, fast = mini.pricing_tiers
    lines += difference((True, 6e-07), (default.is_default, default.prices["output"]), "default tier")
    return lines + difference((1, 1), (fast.priority, len(fast.conditions)), "second tier")


def url(client, trace, want):
    return difference(want, client.get_trace_url(trace_id=trace), "get_trace_url")


def seed(_, text, want):
    return difference(want, Langfuse.create_trace_id(seed=text), "create_trace_id")


def rows(client, trace):
    """The observations of a trace, by their type, are as stdin says; `both` is expected of each."""
    found = read(client, trace_id=trace)
    by_type = {row.type: row.model_dump() for row in found}
    if len(found) != 2 or len(by_type) != 2:
        return [f"expected a SPAN and a GENERATION of trace {trace}, got {[row.type for row in found]}"]
    want = json.load(sys.stdin)
    lines = [
        line
        for kind, row in by_type.items()
        for line in difference({**want.get("both", {}), **want.get(kind, {})}, row, kind)
    ]
    lines += difference(by_type["SPAN"]["id"], by_type["GENERATION"]["parent_observation_id"], "parent of the generation")
    for row in found:
        lines += difference(True, row.end_time >= row.start_time, f"{row.type} ends after it starts")
        # Null also where the SDK looked under another name than the server's.
        lines += [f"{row.type}.{name} is null" for name in ("latency", "created_at", "updated_at") if getattr(row, name) is None]
    return lines


def queries(client, trace, user, session):
    """Each parameter of the SDK selects the right ones of two observations."""
    found = read(client, trace_id=trace)
    parent = next(row for row in found if row.type == "SPAN")
    generation = next(row for row in found if row.type == "GENERATION")
    both, minute = {parent.id, generation.id}, timedelta(minutes=1)
    expected = [
        ({"user_id": user}, both),
        ({"user_id": "nobody"}, set()),
        ({"session_id": session}, both),
        ({"session_id": "none"}, set()),
        ({"type": "GENERATION"}, {generation.id}),
        ({"name": parent.name}, {parent.id}),
        ({"level": "DEFAULT"}, both),
        ({"level": "ERROR"}, set()),
        ({"environment": parent.environment}, both),
        ({"environment": ["elsewhere", parent.environment]}, both),
        ({"environment": "elsewhere"}, set()),
        ({"parent_observation_id": parent.id}, {generation.id}),
        ({"is_root_observation": True}, {parent.id}),
        ({"is_root_observation": False}, {generation.id}),
        ({"from_start_time": parent.start_time - minute, "to_start_time": parent.start_time + minute}, both),
        ({"from_start_time": parent.start_time + minute}, set()),
        ({"to_start_time": parent.start_time - minute}, set()),
    ]
    lines = []
    for query, want in expected:
        got = {row.id for row in read(client, trace_id=trace, **query)}
        lines += difference(want, got, str(query))
    return lines


def unknown(client):
    """An unknown trace has no observations, which is not an error."""
    return difference([], read(client, trace_id="0" * 31 + "1"), "observations")


def invalid(client):
    """A query that the server refuses."""
    try:
        client.api.observations.get_many(limit=0)
    except ApiError as error:
        return difference(400, error.status_code, "status") + difference({"message": "*"}, error.body, "body")
    return ["a limit of 0 was accepted"]


def hour():
    """An hour around now, as metrics queries name it."""
    now = datetime.now(timezone.utc)
    return {"fromTimestamp": (now - timedelta(minutes=30)).isoformat(), "toTimestamp": (now + timedelta(minutes=30)).isoformat()}


def metrics_of_session(session, **parts):
    """A metrics query about one session."""
    of_session = {"column": "sessionId", "operator": "=", "value": session, "type": "string"}
    return json.dumps({"filters": [of_session], **hour(), **parts})


def session(client, session, *traces):
    """The traces of a session by metrics, and their observations by a parameter and by a structured filter."""
    metrics = [{"measure": "traceId", "aggregation": "uniq"}, {"measure": "count", "aggregation": "count"}]
    query = metrics_of_session(session, view="observations", metrics=metrics)
    want = [{"uniq_traceId": len(traces), "count_count": 2 * len(traces)}]
    lines = difference(want, client.api.metrics.metrics(query=query).data, "metrics")
    structured = json.dumps([{"type": "string", "column": "sessionId", "operator": "=", "value": session}])
    for way in ({"session_id": session}, {"filter": structured}):
        found = read(client, **way)
        lines += difference(2 * len(traces), len(found), str(way))
        lines += difference(set(traces), {row.trace_id for row in found}, str(way))
    return lines


def invalid_metrics(client):
    """A metrics query that the server refuses."""
    try:
        client.api.metrics.metrics(query=metrics_of_session("any", view="observations", metrics=[{"measure": "weight", "aggregation": "sum"}]))
    except ApiError as error:
        want = {"message": "*", "error": "InvalidRequestError"}
        return difference(400, error.status_code, "status") + difference(want, error.body, "body")
    return ["an unknown measure was accepted"]


def legacy_session(client, session, *traces):
    """The traces of a session as servers before v4 count and list them."""
    query = metrics_of_session(session, view="traces", metrics=[{"measure": "count", "aggregation": "count"}])
    lines = difference([{"count_count": str(len(traces))}], client.api.metrics.metrics(query=query).data, "metrics")
    listed = []
    for page in range(1, len(traces) + 1):
        got = client.api.trace.list(session_id=session, limit=1, page=page, order_by="timestamp.asc", fields="core,observations")
        lines += difference((len(traces), len(traces)), (got.meta.total_items, got.meta.total_pages), "meta")
        listed += got.data
    lines += difference(list(traces), [trace.id for trace in listed], "list")
    return lines + difference([2] * len(traces), [len(trace.observations) for trace in listed], "observations")


def legacy_trace(client, trace):
    """The trace as servers before v4 give it is as stdin says, its observations by their type."""
    got = client.api.trace.get(trace).dict()
    got["observations"] = {row["type"]: row for row in got["observations"]}
    return difference(json.load(sys.stdin), got)


def legacy_unknown(client):
    try:
        client.api.trace.get("0" * 31 + "1")
    except NotFoundError as error:
        return difference({"message": "*"}, error.body, "body")
    return ["a trace was found"]


def export(client):
    """Traces a call as a program would; prints the id of the trace."""
    with client.start_as_current_observation(name="a program", input={"question": "Who?"}) as parent:
        with propagate_attributes(user_id="ada", session_id="morning", tags=["one", "two"], metadata={"team": "blue"}):
            with client.start_as_current_observation(
                name="an answer",
                as_type="generation",
                model="gpt-4o-mini",
                model_parameters={"temperature": 0.5},
                input=[{"role": "user", "content": "Who?"}],
            ) as generation:
                generation.update(
                    output={"role": "assistant", "content": "Ada."},
                    usage_details={"input": 12, "output": 5},
                    cost_details={"total": 0.25},
                    completion_start_time=datetime.now(timezone.utc),
                )
            with client.start_as_current_observation(name="a look-up", as_type="tool", level="ERROR", status_message="it broke"):
                pass
        parent.update(output="Ada.")
        print(client.get_current_trace_id())
    client.flush()
    return []


def generated_export(client, trace):
    """The same by the client that is generated from the API's definition, which reads the answer too."""
    span = {
        "trace_id": trace, "span_id": "00000000000000a1", "name": "by hand", "kind": 1, "status": {},
        "start_time_unix_nano": "1790000000000000000", "end_time_unix_nano": "1790000001000000000",
        "attributes": [{"key": "langfuse.user.id", "value": {"string_value": "grace"}}],
    }
    scope = {"scope": {"name": "by-hand", "version": "1"}, "spans": [span]}
    client.api.opentelemetry.export_traces(resource_spans=[{"resource": {"attributes": []}, "scope_spans": [scope]}])
    found = read(client, trace_id=trace)
    return difference([("by hand", "grace")], [(row.name, row.user_id) for row in found], "rows")


def data_uri(content_type, content):
    return f"data:{content_type};base64,{base64.b64encode(content).decode()}"


def media(client, trace, file):
    """The reference in the trace leads to the picture that was sent."""
    row = next(row for row in read(client, trace_id=trace) if row.type == "GENERATION")
    part = json.loads(row.input)[0]["content"][1]
    lines = difference(True, part["image_url"]["url"].startswith("@@@langfuseMedia:type=image/png|id="), "is a reference")
    with open(file, "rb") as picture:
        want = data_uri("image/png", picture.read())
    resolved = client.resolve_media_references(obj=part, resolve_with="base64_data_uri")
    return lines + difference(want, resolved["image_url"]["url"], "resolved")


def media_upload(client):
    """The SDK's upload is stored, once."""
    content = b"%PDF-1.7 by the SDK"
    for _ in range(2):
        file = LangfuseMedia(content_bytes=content, content_type="application/pdf")
        with client.start_as_current_observation(name="with a file", input={"file": file}):
            pass
        client.flush()
    reference = file._reference_string
    resolved = client.resolve_media_references(obj={"file": reference}, resolve_with="base64_data_uri")
    known = client.api.media.get(LangfuseMedia.parse_reference_string(reference)["media_id"])
    return difference({"file": data_uri("application/pdf", content)}, resolved) + difference(
        len(content), known.content_length, "content_length"
    )


def shown(_):
    """The output of `langspan show -o json`, on stdin, is the trace of `export`."""
    rows = {row["name"]: row for row in json.load(sys.stdin)["rows"]}
    common = {"userId": "ada", "sessionId": "morning", "tags": ["one", "two"]}
    want = {
        "a program": {"type": "SPAN", "parentObservationId": None, "input": {"question": "Who?"}, "output": "Ada."},
        "an answer": {
            **common, "type": "GENERATION", "parentObservationId": "*", "model": "gpt-4o-mini",
            "modelParameters": {"temperature": 0.5}, "usageDetails": {"input": 12, "output": 5}, "totalCost": 0.25,
            "input": [{"role": "user", "content": "Who?"}], "output": {"role": "assistant", "content": "Ada."},
            "completionStartTime": "*", "level": "DEFAULT",
        },
        "a look-up": {**common, "type": "TOOL", "level": "ERROR", "statusMessage": "it broke"},
    }
    return difference(want, rows)


def prompts(client):
    """Prompts that the SDK creates, reads and fills; a label that it moves."""
    made = client.create_prompt(name="sdk/made", prompt="Hi {{who}}", labels=["production"], config={"model": "m"})
    lines = difference((1, ["production", "latest"]), (made.version, made.labels), "created")
    read = client.get_prompt("sdk/made", cache_ttl_seconds=0)
    lines += difference(("Hi Ada", {"model": "m"}), (read.compile(who="Ada"), read.config), "read")
    client.create_prompt(name="sdk/made", prompt="Hello {{who}}")
    client.update_prompt(name="sdk/made", version=2, new_labels=["production"])
    lines += difference(2, client.get_prompt("sdk/made", cache_ttl_seconds=0).version, "after its label moved")
    parts = [{"role": "system", "content": "You are {{who}}."}, {"type": "placeholder", "name": "history"}]
    client.create_prompt(name="sdk/chat", type="chat", prompt=parts, labels=["production"])
    chat = client.get_prompt("sdk/chat", type="chat", cache_ttl_seconds=0)
    history = [{"role": "user", "content": "Hi"}]
    want = [{"role": "system", "content": "You are Ada."}, *history]
    lines += difference(want, chat.compile(who="Ada", history=history), "chat")
    try:
        client.api.prompts.get("none")
    except NotFoundError as error:
        return lines + difference({"message": "*", "error": "LangfuseNotFoundError"}, error.body, "body")
    return [*lines, "a prompt was found"]


def day():
    """From a day ago: every query of experiments needs a time to begin at."""
    return datetime.now(timezone.utc) - timedelta(days=1)


def read_items(client, experiment, fields="core,dataset,io,itemMetadata,experimentMetadata,scores"):
    """Every item of an experiment, page by page, by the ids of the items."""
    found, cursor = {}, None
    while True:
        page = client.api.experiments.list_items(
            from_start_time=day(), experiment_id=experiment, fields=fields, limit=1, cursor=cursor
        )
        found |= {item.experiment_item_id: item.model_dump() for item in page.data}
        cursor = page.meta.cursor
        if not cursor:
            return found


def datasets(client):
    """A dataset that the SDK creates and changes, its items, and the same as it was before."""
    made = client.create_dataset(name="sdk/sums", description="Sums", metadata={"team": "blue"})
    for n in range(3):
        client.create_dataset_item(
            dataset_name="sdk/sums", id=f"sum-{n}", input={"topic": f"{n} + {n}"}, expected_output=f"{n}", metadata={"n": n}
        )
    read = client.get_dataset("sdk/sums", fetch_items_page_size=2)
    lines = difference((made.id, "Sums", {"team": "blue"}), (read.id, read.description, read.metadata), "dataset")
    lines += difference(["sum-2", "sum-1", "sum-0"], [item.id for item in read.items], "items")
    before = read.items[0].created_at
    client.create_dataset_item(dataset_name="sdk/sums", id="sum-1", status="ARCHIVED")
    client.create_dataset_item(dataset_name="sdk/sums", id="sum-0", input={"topic": "0"})
    lines += difference(["sum-0", "sum-2"], [item.id for item in client.get_dataset("sdk/sums").items], "after")
    then = client.get_dataset("sdk/sums", version=before)
    lines += difference(["sum-2", "sum-1", "sum-0"], [item.id for item in then.items], "as it was")
    names = [dataset.name for dataset in client.api.datasets.list(limit=1).data]
    lines += difference(["sdk/sums"], names, "the newest")
    lines += difference("ARCHIVED", client.api.dataset_items.get("sum-1").status, "an archived one")
    client.create_dataset_item(dataset_name="sdk/sums", id="sum-1", status="ACTIVE")
    client.api.dataset_items.delete("sum-2")
    lines += difference(["sum-1", "sum-0"], [item.id for item in client.get_dataset("sdk/sums").items], "at last")
    for ask in (lambda: client.get_dataset("none"), lambda: client.api.dataset_items.get("none")):
        try:
            ask()
            lines.append("something was found")
        except NotFoundError as error:
            lines += difference({"message": "*", "error": "LangfuseNotFoundError"}, error.body, "body")
    return lines


def run_experiment(client):
    """An experiment that the SDK runs over the dataset, as it reads it back; one of its two items fails."""

    def answer(*, item, **_):
        if item.id == "sum-1":
            raise ValueError("too hard")
        with client.start_as_current_observation(name="ask", as_type="generation", model="m"):
            return "It is 0."

    # The SDK reports the item that fails.
    logging.disable(logging.ERROR)
    dataset = client.get_dataset("sdk/sums")
    result = dataset.run_experiment(
        name="sums", run_name="by the SDK, once", description="Two sums", task=answer, metadata={"model": "m"}
    )
    url = f"{client._base_url}/project/sandbox/experiments/results?baseline={result.experiment_id}"
    lines = difference(url, result.experiment_url, "URL")
    found = client.api.experiments.list(from_start_time=day(), id=result.experiment_id, fields="core,metadata,scores")
    want = [{
        "id": result.experiment_id, "name": "by the SDK, once", "description": "Two sums", "item_count": 2,
        "dataset_id": dataset.id, "metadata": {"model": "m"}, "scores": [],
    }]
    lines += difference(want, [experiment.model_dump() for experiment in found.data], "experiment")
    both = {
        "environment": "sdk-experiment", "experiment_name": "by the SDK, once", "experiment_dataset_id": dataset.id,
        "experiment_description": "Two sums", "experiment_metadata": {"model": "m"}, "scores": [],
    }
    want = {
        "sum-0": {**both, "level": "DEFAULT", "input": {"topic": "0"}, "output": "It is 0.", "expected_output": "0"},
        "sum-1": {**both, "level": "ERROR", "input": {"topic": "1 + 1"}, "output": "~too hard", "expected_output": "1"},
    }
    found = read_items(client, result.experiment_id)
    lines += difference(sorted(want), sorted(found), "items") + difference(want, found)
    # The name has a comma, which divides the list that the parameter is.
    named = [{"type": "string", "column": "name", "operator": "=", "value": "by the SDK, once"}]
    for query, count in (({"name": "by the SDK, once"}, 0), ({"filter": json.dumps(named)}, 1)):
        lines += difference(count, len(client.api.experiments.list(from_start_time=day(), **query).data), str(query))
    return lines


def read_experiment(client, name):
    """An experiment that langspan made: `experiment` and, by their ids, `items` are as stdin says."""
    named = [{"type": "string", "column": "name", "operator": "=", "value": name}]
    found = client.api.experiments.list(
        from_start_time=day(), filter=json.dumps(named), fields="core,metadata,scores"
    ).data
    if len(found) != 1:
        return [f"expected one experiment, got {found}"]
    want = json.load(sys.stdin)
    items = read_items(client, found[0].id)
    lines = difference(want["experiment"], found[0].model_dump(), "experiment")
    for item in items.values():
        item["scores"] = {score["name"]: score["value"] for score in item["scores"]}
    lines += difference(sorted(want["items"]), sorted(items), "items") + difference(want["items"], items)
    # The rule by which the SDK would continue the same experiment.
    dataset = found[0].dataset_id
    rule = client._create_experiment_id(project_id="sandbox", dataset_id=dataset, run_name=name)
    return lines + (difference(rule, found[0].id, "id") if dataset else [])


def refused_experiment(client):
    """An experiment without a time to begin at."""
    answer = client.api._client_wrapper.httpx_client.request("api/public/experiments", method="GET")
    return difference(400, answer.status_code, "status") + difference({"message": "*"}, answer.json(), "body")


def read_scores(client, trace):
    """The scores of a trace, by name, are as stdin says."""
    found = client.api.scores.get_many(trace_id=trace, fields="core,details,subject").data
    found = {score.name: [score.data_type, score.value, score.comment, score.subject.kind] for score in found}
    return difference(json.load(sys.stdin), found)


def score_list(client, trace):
    """The list that this SDK posts is refused, as by a Langfuse 4.16."""
    from langfuse.api import CreateScoreRequest

    try:
        client.api.scores.create(request=[CreateScoreRequest(name="n", value=1, trace_id=trace)])
    except ApiError as error:
        return difference(400, error.status_code, "status")
    return ["a list was accepted"]


def create_score(client, trace):
    """A score that the SDK of a v3 sends as an event stands with the trace."""
    client.create_score(name="sdk", value=0.5, trace_id=trace, comment="by the SDK")
    client.flush()
    scores = client.api.trace.get(trace).dict()["scores"]
    return difference([("sdk", 0.5, "by the SDK")], [(s["name"], s["value"], s["comment"]) for s in scores])


COMMANDS = [
    keys, refused_keys, health, projects, models, url, seed, rows, queries, unknown, invalid, session, invalid_metrics,
    legacy_session, legacy_trace, legacy_unknown, export, generated_export, media, media_upload, shown, prompts, read_scores,
    score_list, create_score, datasets, run_experiment, read_experiment, refused_experiment,
]


def main(name, *arguments):
    command = next(command for command in COMMANDS if command.__name__ == name)
    client = Langfuse()
    lines = command(client, *arguments)
    if lines:
        print("\n".join(lines))
    client.shutdown()


main(*sys.argv[1:])

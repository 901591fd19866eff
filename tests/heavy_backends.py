"""What MLflow, Phoenix and the sandbox make of a trace; tests/heavy_backends.sh runs it.

MLflow and Phoenix each translate the GenAI conventions into terms of their own, which their APIs give back. Here those
terms are read into one form, so that the same is expected of both. Each command prints how what is found differs from
the JSON on stdin, and nothing when it does not.
"""

import json
import sys
import time
import urllib.error
import urllib.request

from difference import difference
from readback import differing_rows, get, observations, until_right


def one(name, spans):
    """The value of an attribute that all spans agree on."""
    found = {json.dumps(span["attributes"].get(name)) for span in spans}
    return json.loads(found.pop()) if len(found) == 1 else {"not the same everywhere": sorted(found)}


def reading(spans, user, session, generation):
    """A trace in the common form: what stands on both spans, and what each of them says."""
    root = next(span for span in spans if not span["parent"])
    child = next(span for span in spans if span["parent"] == root["id"])
    return {
        "spans": len(spans),
        "user": user,
        "session": session,
        "tags": one("langfuse.tags", spans),
        "name": root["name"],
        "input": root["attributes"].get("input.value"),
        "output": root["attributes"].get("output.value"),
        "failed": root["failed"],
        "generation": {
            "name": child["name"],
            "kind": child["kind"],
            "failed": child["failed"],
            **generation(child["attributes"]),
        },
    }


# MLflow


def plain_value(value):
    """An attribute of OTLP's JSON; MLflow has parsed what was JSON text."""
    (kind, inner), = value.items()
    if kind == "array_value":
        return [plain_value(item) for item in inner.get("values", [])]
    if kind == "kvlist_value":
        return {item["key"]: plain_value(item["value"]) for item in inner.get("values", [])}
    return inner


def mlflow_message(message):
    """Messages are kept in the parts of the conventions."""
    parts = message["parts"]
    texts = [part.get("content", part.get("response")) for part in parts if part["type"] in ("text", "tool_call_response")]
    calls = [{"name": part["name"], "arguments": part["arguments"]} for part in parts if part["type"] == "tool_call"]
    images = [part["uri"] for part in parts if part["type"] == "uri"]
    return {"role": message["role"], "text": "\n".join(texts), "calls": calls, "images": images}


def mlflow_generation(attributes):
    answers = attributes.get("mlflow.spanOutputs") or []
    tokens = attributes.get("mlflow.chat.tokenUsage")
    return {
        "model": attributes.get("mlflow.llm.model"),
        "provider": attributes.get("mlflow.llm.provider"),
        "messages": [mlflow_message(message) for message in attributes["mlflow.spanInputs"]],
        "answers": [mlflow_message(message) for message in answers],
        "finish_reasons": [message["finish_reason"] for message in answers],
        "tools": [tool["name"] for tool in attributes.get("mlflow.chat.tools") or []],
        "tokens": tokens and {
            "input": tokens["input_tokens"],
            "output": tokens["output_tokens"],
            "total": tokens["total_tokens"],
            "cached": tokens.get("cache_read_input_tokens"),
        },
    }


def mlflow_span(span):
    attributes = {item["key"]: plain_value(item["value"]) for item in span["attributes"]}
    return {
        "id": span["span_id"],
        "parent": span.get("parent_span_id"),
        "name": span["name"],
        "kind": attributes["mlflow.spanType"],
        "failed": span["status"].get("message") if span["status"].get("code") == "STATUS_CODE_ERROR" else None,
        "attributes": attributes,
    }


def mlflow(url, trace):
    found = get(f"{url}/api/3.0/mlflow/traces/get?trace_id=tr-{trace}")["trace"]
    spans = [mlflow_span(span) for span in found["spans"]]
    about = found["trace_info"]["trace_metadata"]
    return reading(spans, about.get("mlflow.trace.user"), about.get("mlflow.trace.session"), mlflow_generation)


# Phoenix


def nested(attributes):
    """Dotted keys as objects, and objects whose keys are numbers as lists."""
    tree = {}
    for key, value in attributes.items():
        *path, last = key.split(".")
        place = tree
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    return listed(tree)


def listed(tree):
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.isdigit() for key in tree):
        return [listed(tree[key]) for key in sorted(tree, key=int)]
    return {key: listed(value) for key, value in tree.items()}


def phoenix_message(message):
    message = message["message"]
    contents = [content["message_content"] for content in message.get("contents", [])]
    texts = [message["content"]] if "content" in message else [content["text"] for content in contents if "text" in content]
    functions = [call["tool_call"]["function"] for call in message.get("tool_calls", [])]
    calls = [{"name": function["name"], "arguments": json.loads(function["arguments"])} for function in functions]
    images = [content["image"]["image"]["url"] for content in contents if "image" in content]
    return {"role": message["role"], "text": "\n".join(texts), "calls": calls, "images": images}


def phoenix_generation(attributes):
    """What Phoenix derived itself; what was sent stands beside it under the names of the conventions."""
    llm = nested({key: value for key, value in attributes.items() if key.startswith("llm.")})["llm"]
    answers, tokens = llm.get("output_messages", []), llm.get("token_count")
    return {
        "model": llm.get("model_name"),
        "provider": llm.get("provider"),
        "messages": [phoenix_message(message) for message in llm["input_messages"]],
        "answers": [phoenix_message(message) for message in answers],
        "finish_reasons": [message["message"]["finish_reason"] for message in answers],
        "tools": [json.loads(tool["tool"]["json_schema"])["function"]["name"] for tool in llm.get("tools", [])],
        "tokens": tokens and {
            "input": tokens["prompt"],
            "output": tokens["completion"],
            "total": tokens["total"],
            "cached": tokens.get("prompt_details", {}).get("cache_read"),
        },
    }


def phoenix_span(span):
    return {
        "id": span["context"]["span_id"],
        "parent": span["parent_id"],
        "name": span["name"],
        "kind": span["span_kind"],
        "failed": span["status_message"] if span["status_code"] == "ERROR" else None,
        "attributes": span["attributes"],
    }


def phoenix(url, trace):
    found = get(f"{url}/v1/projects/default/spans?trace_id={trace}")["data"]
    spans = [phoenix_span(span) for span in found]
    sessions = get(f"{url}/v1/projects/default/sessions?limit=1000")["data"]
    session = [each["session_id"] for each in sessions if trace in [of["trace_id"] for of in each["traces"]]]
    return reading(spans, one("user.id", spans), session[0] if session else None, phoenix_generation)


# Commands


def up(url):
    """The server answers, which may take a while after it takes connections."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=10)
            return []
        except OSError as error:
            if time.monotonic() > deadline:
                return [f"{url}: {error}"]
        time.sleep(0.5)


def read_by(backend, url, trace):
    """The backend reads the trace as is expected."""
    want = json.load(sys.stdin)

    def differing():
        try:
            return difference(want, {"mlflow": mlflow, "phoenix": phoenix}[backend](url, trace))
        except (urllib.error.HTTPError, StopIteration) as error:
            return [f"the trace cannot be read yet: {error!r}"]

    return until_right(differing)


def rows(sandbox, trace):
    """The two rows of the trace in the sandbox are as is expected."""
    want = json.load(sys.stdin)
    return until_right(lambda: differing_rows(want, observations(sandbox, trace)))


COMMANDS = [up, read_by, rows]
name, *arguments = sys.argv[1:]
command = next(command for command in COMMANDS if command.__name__ == name)
print("\n".join(command(*arguments)))

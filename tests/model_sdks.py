"""Asks the sandbox's model through the providers' own SDKs; tests/model_sdks.sh runs it.

The SDKs read leniently, so what arrives is validated by their types once more: every required field is there with its
type, and there is no field that the types do not name. Prints a line for each call: its name, a tab and what is wrong.
"""

import base64
import json
import math
import re
import struct
import sys
import urllib.request

import anthropic
import openai
from anthropic.types import ErrorResponse, Message, ModelInfo, RawMessageStreamEvent
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.shared import ErrorObject
from pydantic import BaseModel, TypeAdapter, ValidationError

URL = sys.argv[1]
OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key="sk-any", max_retries=0, _strict_response_validation=True)
# Its own decoding of base64 breaks its types.
LENIENT = openai.OpenAI(base_url=URL + "/v1", api_key="sk-any", max_retries=0)
ANTHROPIC = anthropic.Anthropic(base_url=URL, api_key="sk-any", max_retries=0, _strict_response_validation=True)
QUESTION = "Why trace LLM calls? — é, 日本, 🚀"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
VERSION = {"anthropic-version": "2023-06-01"}


def fields(value, path=""):
    """The fields that the types do not name."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            yield f"{path}.{name} is no field of {type(value).__name__}"
        for name in value.model_fields_set:
            yield from fields(getattr(value, name, None), f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from fields(item, f"{path}[{index}]")


def check(kind, data):
    """Validates what came over the wire."""
    try:
        value = TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        raise AssertionError(f"{error}\n{json.dumps(data)}") from None
    unknown = list(fields(value))
    assert not unknown, unknown
    return value


def raw(path, body, headers=None):
    """Status and body of a request without an SDK: a GET if it has no body."""
    headers = {"content-type": "application/json", **(headers or {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def events(path, body, kind, headers=None):
    """The events of a stream, each checked; an event's name is the type in its data."""
    found = []
    for text in raw(path, {**body, "stream": True}, headers)[1].strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in text.split("\n"))
        if lines["data"] == "[DONE]":
            continue
        data = json.loads(lines["data"])
        assert lines.get("event") == data.get("type"), text
        if data.get("type") != "ping":
            found.append(check(kind, data))
    return found


def same(want, got):
    """Ids are made of the request's bytes, which differ by `stream`."""
    want, got = (re.sub(r"\b([a-z-]+[_-])[0-9a-f]{24}\b", r"\1ID", repr(value)) for value in (want, got))
    assert want == got, f"expected {want}, got {got}"


def refused(call, kind, status, *words):
    try:
        call()
    except kind as error:
        same(status, error.status_code)
        for word in words:
            assert word in str(error), error
        return error
    raise AssertionError("it was not refused")


# Chat completions

def chat(**more):
    return {"model": "some-model", "messages": [{"role": "user", "content": QUESTION}], **more}


def chat_whole():
    answer = check(ChatCompletion, OPENAI.chat.completions.create(**chat()).to_dict())
    assert QUESTION in answer.choices[0].message.content
    same("stop", answer.choices[0].finish_reason)


def chat_streamed():
    options = {"stream_options": {"include_usage": True}}
    whole = OPENAI.chat.completions.create(**chat())
    with OPENAI.chat.completions.stream(**chat(**options)) as stream:
        final = stream.get_final_completion()
    same(whole.choices[0].message.content, final.choices[0].message.content)
    same(whole.usage, final.usage)
    events("/v1/chat/completions", chat(**options), ChatCompletionChunk)


def chat_tools():
    tool = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": SCHEMA}}
    asked = chat(tools=[tool], tool_choice="required")
    answer = check(ChatCompletion, OPENAI.chat.completions.create(**asked).to_dict())
    same("tool_calls", answer.choices[0].finish_reason)
    with OPENAI.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls[0].function
    same(answer.choices[0].message.tool_calls[0].function.arguments, streamed.arguments)
    same({"city": "example"}, json.loads(streamed.arguments))
    events("/v1/chat/completions", asked, ChatCompletionChunk)


def chat_cut():
    answer = OPENAI.chat.completions.create(**chat(max_completion_tokens=3))
    same(("length", 3), (answer.choices[0].finish_reason, answer.usage.completion_tokens))


def chat_refused():
    error = refused(lambda: OPENAI.chat.completions.create(model="m", messages=[]), openai.BadRequestError, 400, "messages")
    check(ErrorObject, error.body)


# Responses

def responses(**more):
    return {"model": "some-model", "input": QUESTION, **more}


def responses_whole():
    items = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    for asked in [responses(), responses(input=items, instructions="Be brief.", metadata={"a": "b"}, temperature=0.5)]:
        answer = check(Response, OPENAI.responses.create(**asked).to_dict())
        same("completed", answer.status)
        assert QUESTION in answer.output_text
        same(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)


def responses_stream(asked, *names):
    """Streamed as whole; the named events are among those that came."""
    whole = OPENAI.responses.create(**asked)
    with OPENAI.responses.stream(**asked) as stream:
        seen = [event.type for event in stream]
        final = stream.get_final_response()
    sent = events("/v1/responses", asked, ResponseStreamEvent)
    same(list(range(len(sent))), [event.sequence_number for event in sent])
    same([f"response.{name}" for name in names], [f"response.{name}" for name in names if f"response.{name}" in seen])
    same(whole.output, Response.model_validate(sent[-1].response.to_dict()).output)
    same(whole.output_text, final.output_text)
    same(whole.usage, final.usage)
    return final


def responses_streamed():
    responses_stream(responses(), "created", "in_progress", "output_item.added", "content_part.added",
                     "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed")


def responses_reasoning():
    asked = responses(reasoning={"effort": "low", "summary": "auto"})
    final = responses_stream(asked, "reasoning_summary_part.added", "reasoning_summary_text.delta",
                             "reasoning_summary_text.done", "reasoning_summary_part.done", "completed")
    same(["reasoning", "message"], [item.type for item in final.output])
    assert final.output[0].summary[0].text and final.usage.output_tokens_details.reasoning_tokens


def responses_tools():
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    asked = responses(tools=[tool], tool_choice={"type": "function", "name": "weather"})
    check(Response, OPENAI.responses.create(**asked).to_dict())
    final = responses_stream(asked, "function_call_arguments.delta", "function_call_arguments.done", "completed")
    call = final.output[0]
    same(("weather", {"city": "example"}), (call.name, json.loads(call.arguments)))
    item = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    turn = [{"role": "user", "content": QUESTION}, item, output]
    again = OPENAI.responses.create(**responses(input=turn, tools=[tool], previous_response_id=final.id))
    assert QUESTION in again.output_text


def responses_format():
    text = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    same('{"city":"example"}', responses_stream(responses(text=text)).output_text)


def responses_cut():
    final = check(Response, OPENAI.responses.create(**responses(max_output_tokens=16)).to_dict())
    same(("incomplete", "max_output_tokens"), (final.status, final.incomplete_details.reason))
    same("response.incomplete", events("/v1/responses", responses(max_output_tokens=16), ResponseStreamEvent)[-1].type)


def responses_refused():
    for body, word in [({"model": "m"}, "'input'"), ({"model": "m", "messages": []}, "'messages'"),
                       ({"input": "x"}, "'model'"), (responses(previous_response_id="x"), "'x'"),
                       (responses(tool_choice="required"), "'tool_choice'")]:
        error = refused(lambda: OPENAI.post("/responses", body=body, cast_to=Response), openai.BadRequestError, 400, word)
        check(ErrorObject, error.body)


# Messages

def messages(**more):
    return {"model": "some-model", "max_tokens": 1000, "messages": [{"role": "user", "content": QUESTION}], **more}


def messages_whole():
    answer = check(Message, ANTHROPIC.messages.create(**messages(system="Be brief.")).to_dict())
    assert QUESTION in answer.content[0].text
    same(("end_turn", 0, 0), (answer.stop_reason, answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens))


def messages_stream(asked):
    whole = check(Message, ANTHROPIC.messages.create(**asked).to_dict())
    with ANTHROPIC.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    same([block.to_dict() for block in whole.content], [block.to_dict() for block in final.content])
    same(whole.stop_reason, final.stop_reason)
    same(whole.usage.to_dict(), final.usage.to_dict())
    sent = events("/v1/messages", asked, RawMessageStreamEvent, VERSION)
    same(["message_start", "message_delta", "message_stop"], [sent[0].type, sent[-2].type, sent[-1].type])
    return final


def messages_streamed():
    messages_stream(messages())


def messages_thinking():
    final = messages_stream(messages(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2048))
    same(["thinking", "text"], [block.type for block in final.content])
    assert final.content[0].signature


def messages_tools():
    tool = {"name": "weather", "description": "The weather", "input_schema": SCHEMA}
    final = messages_stream(messages(tools=[tool], tool_choice={"type": "any"}))
    call = final.content[0]
    same(("tool_use", "weather", {"city": "example"}), (final.stop_reason, call.name, call.input))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turn = [*messages()["messages"], {"role": "assistant", "content": [call.to_dict()]}, {"role": "user", "content": [result]}]
    ANTHROPIC.messages.create(**messages(messages=turn, tools=[tool]))


def messages_cache():
    system = [{"type": "text", "text": "Be brief. " * 40, "cache_control": {"type": "ephemeral"}}]
    first = messages_stream(messages(system=system))
    same((100, 0), (first.usage.cache_creation_input_tokens, first.usage.cache_read_input_tokens))
    turn = [*messages()["messages"], {"role": "assistant", "content": "A"}, {"role": "user", "content": "B"}]
    second = messages_stream(messages(system=system, messages=turn))
    same((0, 100), (second.usage.cache_creation_input_tokens, second.usage.cache_read_input_tokens))


def messages_cut():
    final = messages_stream(messages(max_tokens=3))
    same(("max_tokens", 3), (final.stop_reason, final.usage.output_tokens))


def messages_refused():
    system = {"role": "system", "content": "Be brief."}
    for body, word in [({"model": "m", "max_tokens": 1}, "messages"), ({"model": "m", "messages": []}, "max_tokens"),
                       (messages(messages=[]), "messages"), (messages(messages=[system]), "system"),
                       (messages(tool_choice={"type": "any"}), "tool_choice")]:
        error = refused(lambda: ANTHROPIC.post("/v1/messages", body=body, cast_to=Message), anthropic.BadRequestError, 400, word)
        same("invalid_request_error", check(ErrorResponse, error.body).error.type)
    status, body = raw("/v1/messages", messages())
    same(400, status)
    assert "anthropic-version" in check(ErrorResponse, json.loads(body)).error.message


# Embeddings

def embeddings_float():
    answer = OPENAI.embeddings.create(model="some-model", input=[QUESTION, "b", "b"], encoding_format="float")
    check(CreateEmbeddingResponse, answer.to_dict())
    vectors = [item.embedding for item in answer.data]
    assert vectors[0] != vectors[1] == vectors[2]
    for vector in vectors:
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5), math.hypot(*vector)


def embeddings_base64():
    """The SDK asks for base64 unless told otherwise."""
    plain = OPENAI.embeddings.create(model="m", input="b", encoding_format="float").data[0].embedding
    same(plain, LENIENT.embeddings.create(model="m", input="b").data[0].embedding)
    body = json.loads(raw("/v1/embeddings", {"model": "m", "input": "b", "encoding_format": "base64", "dimensions": 3})[1])
    data = base64.b64decode(body["data"][0]["embedding"])
    same(3, len(struct.unpack("<3f", data)))


def embeddings_tokens():
    for tokens, count in [([1, 2, 3], 1), ([[1, 2], [3]], 2)]:
        answer = OPENAI.embeddings.create(model="m", input=tokens, encoding_format="float")
        same((count, 3), (len(answer.data), answer.usage.total_tokens))


def embeddings_refused():
    for more, word in [({"input": ""}, "'input'"), ({"input": []}, "'input'"), ({}, "'input'"),
                       ({"input": "x", "dimensions": 0}, "'dimensions'"), ({"input": "x", "encoding_format": "hex"}, "'encoding_format'")]:
        body = {"model": "m", **more}
        error = refused(lambda: OPENAI.post("/embeddings", body=body, cast_to=Response), openai.BadRequestError, 400, word)
        check(ErrorObject, error.body)


# Models

def models():
    for kind, headers, ids in [(Model, {}, LENIENT.models.list()), (ModelInfo, VERSION, ANTHROPIC.models.list())]:
        listed = json.loads(raw("/v1/models", None, headers)[1])["data"]
        same([check(kind, model).id for model in listed], [model.id for model in ids])


CALLS = [
    chat_whole, chat_streamed, chat_tools, chat_cut, chat_refused,
    responses_whole, responses_streamed, responses_reasoning, responses_tools, responses_format, responses_cut, responses_refused,
    messages_whole, messages_streamed, messages_thinking, messages_tools, messages_cache, messages_cut, messages_refused,
    embeddings_float, embeddings_base64, embeddings_tokens, embeddings_refused,
    models,
]
for call in CALLS:
    try:
        call()
        wrong = ""
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    print(call.__name__.replace("_", ", "), wrong.replace("\n", " "), sep="\t")
print("the end\t")

"""One chat completion traced by Langfuse's Python SDK: the drop-in client, with user, session and tags."""

import sys

from langfuse import get_client, propagate_attributes
from langfuse.openai import OpenAI

langfuse = get_client()
with langfuse.start_as_current_observation(name="chat-completion", as_type="span"):
    with propagate_attributes(user_id="user-123", session_id="demo", tags=["smoke"]):
        answer = OpenAI().chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": sys.argv[1]}]
        )
print(answer.choices[0].message.content)
print(f"trace: {langfuse.get_trace_url()}", file=sys.stderr)
langfuse.flush()

"""The Python clients of Anthropic's API: the official SDK and LangChain's integration.

Reads one request per line, has the conversation that conversation.mjs describes, and writes what it saw as one line.
"""

import json
import sys

TIMEOUT = 15.0


def official(ask):
    import anthropic

    client = anthropic.Anthropic(
        base_url=ask["baseUrl"], api_key=ask["key"], max_retries=ask.get("retries", 0), timeout=TIMEOUT
    )
    if ask["what"] == "count":
        messages = [{"role": "user", "content": ask["prompt"]}]
        return client.messages.count_tokens(model=ask["model"], messages=messages).input_tokens
    if ask["what"] == "models":
        return [{"id": model.id, "name": model.display_name} for model in client.models.list()]

    heard = {"text": "", "calls": [], "thought": "", "output": 0}
    messages = [{"role": "user", "content": ask["prompt"]}]
    body = {"model": ask["model"], "max_tokens": 2000, "messages": messages}
    if ask.get("tools"):
        body["tools"] = described(ask)
    if ask.get("thinking"):
        body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    try:
        for _ in range(ask["maxTurns"]):
            heard["text"] = ""
            if ask.get("stream"):
                with client.messages.stream(**body) as stream:
                    for delta in stream.text_stream:
                        heard["text"] += delta
                    message = stream.get_final_message()
            else:
                message = client.messages.create(**body)
            messages.append({"role": "assistant", "content": message.content})
            heard["output"] = message.usage.output_tokens
            heard["text"] = "".join(block.text for block in message.content if block.type == "text")
            thoughts = (block.thinking for block in message.content if block.type == "thinking")
            heard["thought"] = heard["thought"] or "".join(thoughts)
            calls = [block for block in message.content if block.type == "tool_use"]
            if not calls:
                break
            heard["calls"] += [{"name": call.name, "input": call.input} for call in calls]
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": result(ask, call.name)} for call in calls
            ]
            messages.append({"role": "user", "content": results})
    except Exception as error:
        heard["error"] = failure(error)
    return heard


def langchain(ask):
    from langchain_anthropic import ChatAnthropic
    from langchain_core.messages import HumanMessage, ToolMessage

    heard = {"text": "", "calls": [], "thought": "", "output": 0}
    try:
        model = ChatAnthropic(
            model=ask["model"],
            base_url=ask["baseUrl"],
            api_key=ask["key"],
            max_retries=ask.get("retries", 0),
            max_tokens=2000,
            timeout=TIMEOUT,
            **({"thinking": {"type": "enabled", "budget_tokens": 1024}} if ask.get("thinking") else {}),
        )
        if ask.get("tools"):
            model = model.bind_tools(described(ask))
        messages = [HumanMessage(ask["prompt"])]
        for _ in range(ask["maxTurns"]):
            heard["text"] = ""
            if ask.get("stream"):
                message = None
                for chunk in model.stream(messages):
                    heard["text"] += chunk.text if isinstance(chunk.text, str) else chunk.text()
                    message = chunk if message is None else message + chunk
            else:
                message = model.invoke(messages)
            messages.append(message)
            blocks = message.content if isinstance(message.content, list) else [{"type": "text", "text": message.content}]
            heard["text"] = "".join(block["text"] for block in blocks if block.get("type") == "text")
            thoughts = (block.get("thinking", "") for block in blocks if block.get("type") == "thinking")
            heard["thought"] = heard["thought"] or "".join(thoughts)
            heard["output"] = (message.usage_metadata or {}).get("output_tokens", 0)
            if not message.tool_calls:
                break
            for call in message.tool_calls:
                heard["calls"].append({"name": call["name"], "input": call["args"]})
                messages.append(ToolMessage(result(ask, call["name"]), tool_call_id=call["id"]))
    except Exception as error:
        heard["error"] = failure(error)
    return heard


def described(ask):
    return [{name: tool[name] for name in ("name", "description", "input_schema")} for tool in ask["toolList"]]


def result(ask, name):
    return next(tool["result"] for tool in ask["toolList"] if tool["name"] == name)


def failure(error):
    return {"status": getattr(error, "status_code", None), "message": str(error), "kind": type(error).__name__}


CLIENTS = {"official": official, "langchain": langchain}

for line in sys.stdin:
    request = json.loads(line)
    try:
        response = {"value": CLIENTS[request["client"]](request)}
    except Exception as error:
        response = {"failure": failure(error)}
    print(json.dumps(response), flush=True)

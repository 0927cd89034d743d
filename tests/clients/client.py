"""The Python clients: Anthropic's SDK, OpenAI's SDK and its Agents SDK for Responses, and LangChain's integrations.

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


ENCRYPTED = "reasoning.encrypted_content"


def responses_body(ask):
    """The fields of a request of Responses that its turns have in common."""
    body = {"model": ask["model"], "store": False}
    if ask.get("tools"):
        body["tools"] = [
            {
                "type": "function",
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["input_schema"],
                "strict": False,
            }
            for tool in ask["toolList"]
        ]
    if ask.get("thinking"):
        body |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": [ENCRYPTED]}
    if ask.get("limit"):
        body["max_output_tokens"] = ask["limit"]
    return body


def shape_of(ask):
    from pydantic import create_model

    return create_model("Shape", **{name: (str, ...) for name in ask["shape"]["required"]})


def hear(ask, heard, input, response):
    """Notes what a response has, and answers its calls; true if there were any."""
    # The text that was streamed is the text of the response.
    if ask.get("stream") and heard["text"] != response.output_text:
        raise ValueError(f"{heard['text']} is not {response.output_text}")
    heard["text"] = response.output_text
    heard["output"] = response.usage.output_tokens
    if response.status != "completed":
        details = response.incomplete_details
        reason = (details and details.reason) or response.status
        heard["error"] = {"message": reason, "kind": response.status}
    thoughts = (part.text for item in response.output if item.type == "reasoning" for part in item.summary)
    heard["thought"] = heard["thought"] or "".join(thoughts)
    input += response.output
    calls = [item for item in response.output if item.type == "function_call"]
    for call in calls:
        heard["calls"].append({"name": call.name, "input": json.loads(call.arguments)})
        input.append({"type": "function_call_output", "call_id": call.call_id, "output": result(ask, call.name)})
    return bool(calls)


def responses(ask):
    import openai

    client = openai.OpenAI(
        base_url=f"{ask['baseUrl']}/v1", api_key=ask["key"], max_retries=ask.get("retries", 0), timeout=TIMEOUT
    )
    if ask["what"] == "models":
        return [{"id": model.id, "name": model.id} for model in client.models.list()]
    heard = {"text": "", "calls": [], "thought": "", "output": 0}
    input = [{"role": "user", "content": ask["prompt"]}]
    body = responses_body(ask)
    try:
        for _ in range(ask["maxTurns"]):
            heard["text"] = ""
            if ask.get("stream"):
                shape = {"text_format": shape_of(ask)} if ask.get("shaped") else {}
                with client.responses.stream(input=input, **body, **shape) as stream:
                    for event in stream:
                        if event.type == "response.output_text.delta":
                            heard["text"] += event.delta
                    response = stream.get_final_response()
            elif ask.get("shaped"):
                response = client.responses.parse(input=input, text_format=shape_of(ask), **body)
            else:
                response = client.responses.create(input=input, **body)
            has_calls = hear(ask, heard, input, response)
            if ask.get("shaped"):
                heard["shape"] = response.output_parsed.model_dump()
            if not has_calls:
                break
    except Exception as error:
        heard["error"] = failure(error)
    return heard


def responses_async(ask):
    import asyncio

    return asyncio.run(converse_async(ask))


async def converse_async(ask):
    import openai

    heard = {"text": "", "calls": [], "thought": "", "output": 0}
    input = [{"role": "user", "content": ask["prompt"]}]
    body = responses_body(ask)
    try:
        async with openai.AsyncOpenAI(
            base_url=f"{ask['baseUrl']}/v1", api_key=ask["key"], max_retries=ask.get("retries", 0), timeout=TIMEOUT
        ) as client:
            for _ in range(ask["maxTurns"]):
                heard["text"] = ""
                if ask.get("stream"):
                    response = None
                    async for event in await client.responses.create(input=input, stream=True, **body):
                        if event.type == "response.output_text.delta":
                            heard["text"] += event.delta
                        elif event.type in ("response.completed", "response.incomplete"):
                            response = event.response
                        elif event.type == "response.failed":
                            raise RuntimeError(event.response.error.message)
                    if response is None:
                        raise RuntimeError("the stream is incomplete")
                elif ask.get("shaped"):
                    response = await client.responses.parse(input=input, text_format=shape_of(ask), **body)
                    heard["shape"] = response.output_parsed.model_dump()
                else:
                    response = await client.responses.create(input=input, **body)
                if not hear(ask, heard, input, response):
                    break
    except Exception as error:
        heard["error"] = failure(error)
    return heard


def agents(ask):
    import asyncio

    return asyncio.run(converse_with_agents(ask))


async def converse_with_agents(ask):
    import openai
    from agents import Agent, FunctionTool, ModelSettings, OpenAIResponsesModel, Runner, set_tracing_disabled
    from openai.types.shared import Reasoning

    set_tracing_disabled(True)
    heard = {"text": "", "calls": [], "thought": "", "output": 0}

    def function(tool):
        async def invoke(_, arguments):
            heard["calls"].append({"name": tool["name"], "input": json.loads(arguments)})
            return tool["result"]

        return FunctionTool(
            name=tool["name"],
            description=tool["description"],
            params_json_schema=tool["input_schema"],
            on_invoke_tool=invoke,
            strict_json_schema=False,
        )

    try:
        async with openai.AsyncOpenAI(
            base_url=f"{ask['baseUrl']}/v1", api_key=ask["key"], max_retries=ask.get("retries", 0), timeout=TIMEOUT
        ) as client:
            settings = {"store": False, "max_tokens": ask.get("limit")}
            if ask.get("thinking"):
                settings |= {"reasoning": Reasoning(effort="low", summary="auto"), "response_include": [ENCRYPTED]}
            agent = Agent(
                name="Tester",
                model=OpenAIResponsesModel(model=ask["model"], openai_client=client),
                tools=[function(tool) for tool in ask["toolList"]] if ask.get("tools") else [],
                model_settings=ModelSettings(**settings),
                output_type=shape_of(ask) if ask.get("shaped") else None,
            )
            if ask.get("stream"):
                run = Runner.run_streamed(agent, ask["prompt"], max_turns=ask["maxTurns"])
                async for event in run.stream_events():
                    data = getattr(event, "data", None)
                    if event.type == "raw_response_event" and data.type == "response.output_text.delta":
                        heard["text"] += data.delta
            else:
                run = await Runner.run(agent, ask["prompt"], max_turns=ask["maxTurns"])
            if ask.get("shaped"):
                heard["shape"] = run.final_output.model_dump()
            else:
                heard["text"] = run.final_output
            heard["output"] = run.raw_responses[-1].usage.output_tokens
            thoughts = [item.raw_item for item in run.new_items if item.type == "reasoning_item"]
            heard["thought"] = "".join(part.text for item in thoughts[:1] for part in item.summary)
    except Exception as error:
        heard["error"] = failure(error)
    return heard


def langchain_openai(ask):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    heard = {"text": "", "calls": [], "thought": "", "output": 0}
    try:
        thinks = {"reasoning": {"effort": "low", "summary": "auto"}, "include": [ENCRYPTED]}
        model = ChatOpenAI(
            model=ask["model"],
            base_url=f"{ask['baseUrl']}/v1",
            api_key=ask["key"],
            max_retries=ask.get("retries", 0),
            timeout=TIMEOUT,
            use_responses_api=True,
            store=False,
            **({"max_tokens": ask["limit"]} if ask.get("limit") else {}),
            **(thinks if ask.get("thinking") else {}),
        )
        if ask.get("shaped"):
            heard["shape"] = model.with_structured_output(shape_of(ask)).invoke(ask["prompt"]).model_dump()
            return heard
        if ask.get("tools"):
            functions = [
                {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]}
                for tool in ask["toolList"]
            ]
            model = model.bind_tools([{"type": "function", "function": function} for function in functions])
        messages = [HumanMessage(ask["prompt"])]
        for _ in range(ask["maxTurns"]):
            heard["text"] = ""
            if ask.get("stream"):
                message = None
                for chunk in model.stream(messages):
                    heard["text"] += chunk.text
                    message = chunk if message is None else message + chunk
            else:
                message = model.invoke(messages)
            messages.append(message)
            heard["text"] = message.text
            thoughts = (block.get("reasoning", "") for block in message.content_blocks if block["type"] == "reasoning")
            heard["thought"] = heard["thought"] or "".join(thoughts)
            heard["output"] = (message.usage_metadata or {}).get("output_tokens", 0)
            details = message.response_metadata.get("incomplete_details")
            if details:
                heard["error"] = {"message": details["reason"], "kind": "incomplete"}
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


CLIENTS = {
    "official": official,
    "langchain": langchain,
    "responses": responses,
    "responses_async": responses_async,
    "agents": agents,
    "langchain_openai": langchain_openai,
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        response = {"value": CLIENTS[request["client"]](request)}
    except Exception as error:
        response = {"failure": failure(error)}
    print(json.dumps(response), flush=True)

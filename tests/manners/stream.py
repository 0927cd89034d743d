"""One streamed chat with a Python client, for stream-errors.test.mjs: prints `complete`, or `error: ` and the exception.

Arguments: client, base URL without /v1, key, model, prompt.
"""

import sys


def openai(base_url, key, model, messages):
    from openai import OpenAI

    client = OpenAI(base_url=base_url + "/v1", api_key=key, max_retries=0)
    return client.chat.completions.create(model=model, messages=messages, stream=True)


def langchain(base_url, key, model, messages):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=base_url + "/v1", api_key=key, model=model, max_retries=0).stream(messages)


def mistral(base_url, key, model, messages):
    from mistralai.client import Mistral

    return Mistral(server_url=base_url, api_key=key).chat.stream(model=model, messages=messages)


_, name, base_url, key, model, prompt = sys.argv
start = {"openai": openai, "langchain": langchain, "mistral": mistral}[name]
try:
    for _chunk in start(base_url, key, model, [{"role": "user", "content": prompt}]):
        pass
    print("complete")
except Exception as error:
    print(f"error: {error}")

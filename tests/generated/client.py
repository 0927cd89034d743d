"""Calls a gateway with the Python client that openapi-generator generates, and prints what it has parsed."""

import json
import os

import openapi_client as api

url = os.environ["GATEWAY"]


def client(key):
    return api.ApiClient(api.Configuration(host=url, access_token=key))


caller = client(os.environ["CALLER_KEY"])
operator = client(os.environ["OPERATOR_KEY"])


def chat(model):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return api.ChatApi(caller).create_chat_completion(api.ChatCompletionRequest.from_dict(body))


try:
    chat("no-such-model")
    error = None
except api.ApiException as failed:
    error = failed.data.error.code.actual_instance
answer = chat("demo/sim-small")
keys = api.APIKeysApi(operator)
print(
    json.dumps(
        {
            "model": api.ModelsApi(caller).list_models().actual_instance.data[0].id,
            "content": answer.choices[0].message.content,
            "tokens": answer.usage.completion_tokens,
            "error": error,
            "created": keys.create_api_key(api.ApiKeyInput(name=os.environ["NAME"])).actual_instance.name,
            "names": [key.name for key in keys.list_api_keys()],
            "requests": len(api.KeyRequestsApi(operator).list_key_requests().data),
            "provider": api.SettingsApi(operator).list_providers()[0].name,
        }
    )
)

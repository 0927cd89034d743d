"""Calls a gateway with the client that openapi-python-client generates, and prints what it has parsed."""

import json
import os

from gatehouse_client import AuthenticatedClient
from gatehouse_client.api.api_keys import create_api_key, list_api_keys
from gatehouse_client.api.chat import create_chat_completion
from gatehouse_client.api.key_requests import list_key_requests
from gatehouse_client.api.models import list_models
from gatehouse_client.api.settings import list_providers
from gatehouse_client.models import ApiKeyInput, ChatCompletionRequest

url = os.environ["GATEWAY"]
caller = AuthenticatedClient(base_url=url, token=os.environ["CALLER_KEY"])
operator = AuthenticatedClient(base_url=url, token=os.environ["OPERATOR_KEY"])


def chat(model):
    body = ChatCompletionRequest.from_dict({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
    return create_chat_completion.sync(client=caller, body=body)


answer = chat("demo/sim-small")
created = create_api_key.sync(client=operator, body=ApiKeyInput.from_dict({"name": os.environ["NAME"]}))
print(
    json.dumps(
        {
            "model": list_models.sync(client=caller).data[0].id,
            "content": answer.choices[0].message.content,
            "tokens": answer.usage.completion_tokens,
            "error": chat("no-such-model").error.code,
            "created": created.name,
            "names": [key.name for key in list_api_keys.sync(client=operator)],
            "requests": len(list_key_requests.sync(client=operator).data),
            "provider": list_providers.sync(client=operator)[0].name,
        }
    )
)

// Calls a gateway with the TypeScript client that openapi-generator generates, and prints what it has parsed.

import {
  APIKeysApi,
  ChatApi,
  Configuration,
  KeyRequestsApi,
  ModelsApi,
  ResponseError,
  SettingsApi,
} from "generated";

const { GATEWAY = "", CALLER_KEY = "", OPERATOR_KEY = "", NAME = "" } = process.env;
const caller = new Configuration({ basePath: GATEWAY, accessToken: CALLER_KEY });
const operator = new Configuration({ basePath: GATEWAY, accessToken: OPERATOR_KEY });

const chat = (model: string) =>
  new ChatApi(caller).createChatCompletion({
    chatCompletionRequest: { model, messages: [{ role: "user", content: "Hi" }] },
  });

const failed = await chat("no-such-model").catch((error: unknown) => error);
const refusal = failed instanceof ResponseError ? await failed.response.json() : undefined;
const answer = await chat("demo/sim-small");
const keys = new APIKeysApi(operator);
const created = await keys.createApiKey({ apiKeyInput: { name: NAME } });
const models = await new ModelsApi(caller).listModels();
const requests = await new KeyRequestsApi(operator).listKeyRequests();
const providers = await new SettingsApi(operator).listProviders();
console.log(
  JSON.stringify({
    model: models.data[0]?.id,
    content: answer.choices[0]?.message.content,
    tokens: answer.usage?.completionTokens,
    error: refusal?.error.code,
    created: created.name,
    names: (await keys.listApiKeys()).map(({ name }) => name),
    requests: requests.data.length,
    provider: providers[0]?.name,
  }),
);

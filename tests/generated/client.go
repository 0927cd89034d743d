// Calls a gateway with the Go client that openapi-generator generates, and prints what it has parsed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	openapi "gatehouse"
)

func client(key string) *openapi.APIClient {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Getenv("GATEWAY")}}
	configuration.AddDefaultHeader("Authorization", "Bearer "+key)
	return openapi.NewAPIClient(configuration)
}

func must[T any](value T, _ any, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	ctx := context.Background()
	caller, operator := client(os.Getenv("CALLER_KEY")), client(os.Getenv("OPERATOR_KEY"))
	chat := func(model string) (*openapi.ChatCompletion, error) {
		var request openapi.ChatCompletionRequest
		body, _ := json.Marshal(map[string]any{
			"model": model, "messages": []any{map[string]string{"role": "user", "content": "Hi"}},
		})
		if err := json.Unmarshal(body, &request); err != nil {
			return nil, err
		}
		answer, _, err := caller.ChatAPI.CreateChatCompletion(ctx).ChatCompletionRequest(request).Execute()
		return answer, err
	}
	var refusal any
	if _, err := chat("no-such-model"); err != nil {
		if failed, ok := err.(*openapi.GenericOpenAPIError); ok {
			if model, ok := failed.Model().(openapi.ErrorEnvelope); ok {
				refusal = model.Error.Code
			}
		}
	}
	answer, err := chat("demo/sim-small")
	if err != nil {
		panic(err)
	}
	input := openapi.ApiKeyInput{Name: os.Getenv("NAME")}
	created := must(operator.APIKeysAPI.CreateApiKey(ctx).ApiKeyInput(input).Execute())
	keys := must(operator.APIKeysAPI.ListApiKeys(ctx).Execute())
	names := []string{}
	for _, key := range keys {
		names = append(names, key.Name)
	}
	models := must(caller.ModelsAPI.ListModels(ctx).Execute())
	requests := must(operator.KeyRequestsAPI.ListKeyRequests(ctx).Execute())
	providers := must(operator.SettingsAPI.ListProviders(ctx).Execute())
	output, err := json.Marshal(map[string]any{
		"model":    models.ModelList.Data[0].Id,
		"content":  answer.Choices[0].Message.Content.Get(),
		"tokens":   answer.Usage.Get().CompletionTokens.Get(),
		"error":    refusal,
		"created":  created.ApiKeyCreated.Name,
		"names":    names,
		"requests": len(requests.Data),
		"provider": providers[0].Name,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(output))
}

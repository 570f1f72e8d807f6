// openai-go's ways to us. Prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func main() {
	ctx, chats, calls := context.Background(), os.Getenv("CHAT_MODEL"), os.Getenv("TOOL_MODEL")
	client := openai.NewClient(
		option.WithBaseURL(os.Getenv("DMRC_URL")+"/engines/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
	hello := openai.ChatCompletionNewParams{
		Model: chats, MaxTokens: openai.Int(64), Temperature: openai.Float(0),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say hello")},
	}
	found := map[string]any{}

	whole := must(client.Chat.Completions.New(ctx, hello))
	found["chat"] = whole.Choices[0].Message.Content
	found["tokens"] = []int64{whole.Usage.PromptTokens, whole.Usage.CompletionTokens}

	stream, text, pieces := client.Chat.Completions.NewStreaming(ctx, hello), "", 0
	for stream.Next() {
		if chunk := stream.Current(); len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			text, pieces = text+chunk.Choices[0].Delta.Content, pieces+1
		}
	}
	must(0, stream.Err())
	found["stream"], found["pieces"] = text, pieces

	object := map[string]any{
		"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}, "legs": map[string]any{"type": "integer"}},
		"required": []string{"name", "legs"}, "additionalProperties": false,
	}
	structured := hello
	structured.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "animal", Schema: object, Strict: openai.Bool(true)},
	}
	var animal map[string]any
	must(0, json.Unmarshal([]byte(must(client.Chat.Completions.New(ctx, structured)).Choices[0].Message.Content), &animal))
	found["structured"] = animal

	asked := openai.ChatCompletionNewParams{
		Model: calls, MaxTokens: openai.Int(64),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What is the weather in Bern?")},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "get_weather",
			Parameters: shared.FunctionParameters{
				"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"},
			},
		})},
	}
	message := must(client.Chat.Completions.New(ctx, asked)).Choices[0].Message
	found["tool"] = [][]any{{message.ToolCalls[0].Function.Name, json.RawMessage(message.ToolCalls[0].Function.Arguments)}}

	accumulated := openai.ChatCompletionAccumulator{}
	for stream = client.Chat.Completions.NewStreaming(ctx, asked); stream.Next(); {
		accumulated.AddChunk(stream.Current())
	}
	must(0, stream.Err())
	streamed := accumulated.Choices[0].Message.ToolCalls[0].Function
	found["tool_stream"] = [][]any{{streamed.Name, json.RawMessage(streamed.Arguments)}}

	second := asked
	second.Messages = append(second.Messages, message.ToParam(), openai.ToolMessage("sunny", message.ToolCalls[0].ID))
	found["second"] = must(client.Chat.Completions.New(ctx, second)).Choices[0].Message.Content

	// The form in which this client itself writes an earlier answer: an item without a type.
	response := must(client.Responses.New(ctx, responses.ResponseNewParams{
		Model: chats, MaxOutputTokens: openai.Int(64), Temperature: openai.Float(0),
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
			responses.ResponseInputItemParamOfMessage("Say hello", responses.EasyInputMessageRoleUser),
			responses.ResponseInputItemParamOfMessage("Hello.", responses.EasyInputMessageRoleAssistant),
			responses.ResponseInputItemParamOfMessage("Again", responses.EasyInputMessageRoleUser),
		}},
	}))
	found["response"] = response.OutputText()

	fmt.Println(string(must(json.Marshal(found))))
}

#!/busybox sh
# A key for OpenAI, of a secret or a variable, means OpenAI; without one the model of the compose file answers.
set -e
if [ -f /run/secrets/openai-key ]; then
    OPENAI_API_KEY=$(/busybox cat /run/secrets/openai-key)
fi
if [ -n "$OPENAI_API_KEY" ]; then
    echo "asks OpenAI"
else
    echo "asks the model runner"
    OPENAI_BASE_URL=$MODEL_RUNNER_URL
    OPENAI_MODEL_NAME=openai/$MODEL_RUNNER_MODEL
    OPENAI_API_KEY=not-empty
fi
# LiteLLM takes the provider's name away.
exec /busybox sh /ask.sh "$OPENAI_BASE_URL" "$OPENAI_API_KEY" "${OPENAI_MODEL_NAME#openai/}"

#!/busybox sh
# Spring adds /v1 itself, so the base URL must end before it.
set -e
if [ -n "$OPENAI_API_KEY" ]; then
    echo "asks OpenAI"
    OPENAI_BASE_URL=https://api.openai.com/v1
else
    echo "asks the model runner"
    OPENAI_BASE_URL=$MODEL_RUNNER_URL
    OPENAI_MODEL_NAME=$MODEL_RUNNER_MODEL
    OPENAI_API_KEY=not-empty
fi
OPENAI_BASE_URL=${OPENAI_BASE_URL%/}
OPENAI_BASE_URL=${OPENAI_BASE_URL%/v1}
exec /busybox sh /ask.sh "$OPENAI_BASE_URL/v1" "$OPENAI_API_KEY" "$OPENAI_MODEL_NAME"

#!/busybox sh
# The program knows OpenAI's variables alone, each with a default that is OpenAI's.
set -e
if [ -n "$OPENAI_API_KEY" ]; then
    echo "asks OpenAI"
    OPENAI_BASE_URL=https://api.openai.com/v1
else
    echo "asks the model runner"
    OPENAI_BASE_URL=$MODEL_RUNNER_URL
    OPENAI_MODEL_NAME=$MODEL_RUNNER_MODEL
fi
exec /busybox sh /ask.sh "${OPENAI_BASE_URL:-https://api.openai.com/v1}" "${OPENAI_API_KEY:-not-empty}" "${OPENAI_MODEL_NAME:-gpt-4o}"

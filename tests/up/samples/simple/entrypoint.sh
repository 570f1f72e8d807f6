#!/busybox sh
# OpenAI's variables where they are set, else Compose's own.
echo "asks the model runner"
exec /busybox sh /ask.sh "${OPENAI_BASE_URL:-$LLM_URL}" "${OPENAI_API_KEY:-none}" "${OPENAI_MODEL:-$LLM_MODEL}"

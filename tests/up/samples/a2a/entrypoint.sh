#!/busybox sh
# The provider is a word that the program looks up; OpenAI's has an address of its own.
set -e
if [ -n "$OPENAI_API_KEY" ]; then
    provider=openai model=$OPENAI_MODEL_NAME
else
    provider=docker model=$MODEL_RUNNER_MODEL
fi
case $provider in
openai)
    echo "asks OpenAI"
    exec /busybox sh /ask.sh https://api.openai.com/v1 "$OPENAI_API_KEY" "$model"
    ;;
docker)
    echo "asks the model runner"
    exec /busybox sh /ask.sh "$MODEL_RUNNER_URL" does-not-matter "$model"
    ;;
esac

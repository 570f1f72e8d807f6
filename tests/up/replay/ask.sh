# A stream, as its bytes come.
exec /busybox wget -qO- --header "Content-Type: application/json" --header "Authorization: Bearer $OPENAI_API_KEY" \
  --post-data '{"model": "'"$OPENAI_MODEL"'", "max_tokens": 24, "stream": true, "messages": [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me of the city of '"$CITY"'."}]}' \
  "$OPENAI_BASE_URL/chat/completions"

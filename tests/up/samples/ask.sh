#!/busybox sh
# ask.sh BASE_URL KEY MODEL: what an application with an OpenAI client does, once.
url=${1%/}/chat/completions
body="{\"model\":\"$3\",\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"
/busybox wget -qO- --header "Content-Type: application/json" --header "Authorization: Bearer $2" --post-data "$body" "$url"
echo
exec /busybox sleep 600

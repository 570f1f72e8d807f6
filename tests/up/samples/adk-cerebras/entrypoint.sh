#!/busybox sh
# The key stands in the program.
echo "asks the model runner"
exec /busybox sh /ask.sh "$DUCK_BASE_URL" quack "$DUCK_MODEL"

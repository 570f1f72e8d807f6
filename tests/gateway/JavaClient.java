import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.io.ByteArrayInputStream;
import java.util.stream.Collectors;

/** Posts each file that is named after a URL, and prints status, protocol and body: `JavaClient.java KEY [URL JSON]…`. */
public class JavaClient {
  public static void main(String[] arguments) throws Exception {
    // As langchain4j and Spring make it: it prefers HTTP/2, so each connection begins with an offer to upgrade.
    HttpClient client = HttpClient.newHttpClient();
    for (int at = 1; at < arguments.length; at += 2) {
      String json = arguments[at + 1];
      HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(arguments[at]))
          .header("authorization", "Bearer " + arguments[0])
          .header("content-type", "application/json");
      if (json.isEmpty()) {
        request.GET();
      } else if (json.contains("\"chunked\"")) {
        byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
        request.POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes)));
      } else {
        request.POST(BodyPublishers.ofString(json));
      }
      var answer = client.send(request.build(), BodyHandlers.ofLines());
      String body = answer.body().collect(Collectors.joining("\n"));
      System.out.println(answer.statusCode() + " " + answer.version() + "\n" + body + "\u0000");
    }
  }
}

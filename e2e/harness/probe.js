/**
 * Answers the request, if there is one, that asks whether the server is there. To a script all failures of a fetch are
 * alike: ours tells a refusal, which is final, from a network error, which is not, by whether the server answers when no
 * consent is asked for. Native knows and does not ask.
 */
export async function answerProbe(server) {
  const probe = await server.request();
  await probe.respond({ status: 204 });
  await probe.end();
}

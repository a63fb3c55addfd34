/**
 * Answers the probe of ours, if it makes one. For a script, all failures of fetch() look the same. So after a failure ours
 * sends a request in mode "no-cors": if the server answers it, the failure was a CORS error, which is final. Otherwise it
 * was a network error, and ours reconnects. Native makes no probe.
 */
export async function answerProbe(server) {
  const probe = await server.request();
  await probe.respond({ status: 204 });
  await probe.end();
}

/** Returns a function that connects with a class like EventSource. It calls back on open and with each message's data, and returns a function that closes the source. */
export const byClass = (Class, init) => (url, receive, opened) => {
  const source = new Class(url, init);
  source.onopen = opened;
  source.onmessage = ({ data }) => receive(data);
  return () => source.close();
};

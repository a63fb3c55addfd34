/** What connects to a URL with a class like EventSource, calls back when it has opened and with the data of every message, and returns what closes it. */
export const byClass = (Class, init) => (url, receive, opened) => {
  const source = new Class(url, init);
  source.onopen = opened;
  source.onmessage = ({ data }) => receive(data);
  return () => source.close();
};

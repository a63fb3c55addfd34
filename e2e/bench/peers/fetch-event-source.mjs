import { fetchEventSource } from '@microsoft/fetch-event-source';

export default (url, receive, opened) => {
  const controller = new AbortController();
  const { signal } = controller;
  const onopen = async () => opened?.();
  fetchEventSource(url, { signal, openWhenHidden: true, onopen, onmessage: ({ data }) => receive(data) }).catch(() => {});
  return () => controller.abort();
};

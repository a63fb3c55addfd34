// HTML Standard, 9.2.3 Processing model: "announce the connection" and "reestablish the connection".

export default [
  {
    name: 'a stream that ends is opened again',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n', 'data: before\n\n');
      await first.end();
      const second = await server.accept();
      await second.send('data: after\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "before"', 'error CONNECTING', 'GET A', 'open', 'message "after"'],
  },
];

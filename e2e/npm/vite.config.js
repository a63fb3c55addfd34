export default { build: { rollupOptions: { input: ['react.html', 'polyfill.html'] } } };

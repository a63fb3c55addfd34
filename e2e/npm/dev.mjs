// Runs Vite's development server. It prints its address, and ends with its standard input.
import { createServer } from 'vite';

const server = await createServer({ server: { host: '127.0.0.1', port: 0, hmr: false } });
await server.listen();
console.log(`http://127.0.0.1:${server.httpServer.address().port}`);
process.stdin.on('close', () => process.exit()).resume();

/** The engine of this browser, by its User-Agent. Chromium is tested before WebKit because it claims to be WebKit too. */
const browser = () => [['firefox', /Firefox\//], ['chromium', /Chrom(e|ium)\//], ['webkit', /AppleWebKit\//]]
  .find(([, pattern]) => pattern.test(navigator.userAgent))?.[0] ?? 'unknown';

/** Outside of a browser, the engine is the runtime: node, deno or bun. All three have process.versions.node. */
const runtime = ({ versions }) => (versions.deno ? 'deno' : versions.bun ? 'bun' : 'node');

export const engine = globalThis.process?.versions?.node ? runtime(process) : browser();

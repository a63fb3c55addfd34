/** The engine of this browser, by what they call themselves: Chromium also claims to be WebKit, and Firefox does not. */
const browser = () => [['firefox', /Firefox\//], ['chromium', /Chrom(e|ium)\//], ['webkit', /AppleWebKit\//]]
  .find(([, pattern]) => pattern.test(navigator.userAgent))?.[0] ?? 'unknown';

/** Outside of a browser, the engine is the runtime: node, deno or bun. All three tell Node's version. */
const runtime = ({ versions }) => (versions.deno ? 'deno' : versions.bun ? 'bun' : 'node');

export const engine = globalThis.process?.versions?.node ? runtime(process) : browser();

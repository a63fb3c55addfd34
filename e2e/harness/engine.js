/** The engine of this browser, by what they call themselves: Chromium also claims to be WebKit, and Firefox does not. */
export const engine = [['firefox', /Firefox\//], ['chromium', /Chrom(e|ium)\//], ['webkit', /AppleWebKit\//]]
  .find(([, pattern]) => pattern.test(navigator.userAgent))?.[0] ?? 'unknown';

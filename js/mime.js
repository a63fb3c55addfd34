// The MIME type of a response. Must agree with wasm/lifecycle/mime.go.

export const EVENT_STREAM = 'text/event-stream';

const ESSENCE = /^[ \t\r\n]*([\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+)[ \t\r\n]*$/;

/**
 * Returns the type and subtype, in lower case, of the MIME type that the Fetch Standard's "extract a MIME type" finds in a
 * Content-Type header, or '' if there is none. If there are several values, the last valid one counts.
 */
export function essenceOf(contentType) {
  let essence = '';
  for (const value of splitValues(contentType)) {
    const found = ESSENCE.exec(value.split(';', 1)[0])?.[1].toLowerCase();
    if (found && found !== '*/*') essence = found;
  }
  return essence;
}

/** Splits a header at commas outside quoted strings. */
function splitValues(header) {
  return header.match(/(?:[^",]|"(?:[^"\\]|\\[^])*(?:"|\\?$))+/g) ?? [];
}
